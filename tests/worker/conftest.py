"""Stages: one a test, or many for scenarios that run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.support import Stage


@pytest.fixture
def new_stage(server_url: str, tmp_path: Path) -> Iterator[Callable[[], Stage]]:
    """Makes stages; all of them are cleared after the test."""
    stages: list[Stage] = []

    def make() -> Stage:
        stages.append(Stage(server_url, tmp_path))
        return stages[-1]

    yield make
    for stage in stages:
        stage.end()


@pytest.fixture
def stage(new_stage: Callable[[], Stage]) -> Stage:
    """One stage."""
    return new_stage()
