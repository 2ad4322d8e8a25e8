"""Stages: one a test, or many for scenarios that run side by side."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quaff.store import embedded
from tests.helpers import end_embedded
from tests.worker.support import Stage, kill


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


@pytest.fixture(scope="module")
def shared_stage(
    request: pytest.FixtureRequest, server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One for a file, with a worker of its ``APP``: for tests that leave both as they found them."""
    stage = Stage(server_url, tmp_path_factory.mktemp("shared"))
    stage.worker("-p", "1", app=request.module.APP)
    yield stage
    stage.end()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[Callable[[], Stage], int]]:
    """A server that may be frozen, with its pid, and what makes stages on it."""
    home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
    url = f"embedded://{home}"
    embedded.ensure(home)
    info = embedded.server_info(home)
    assert info is not None
    stages: list[Stage] = []

    def make() -> Stage:
        stages.append(Stage(url, tmp_path))
        return stages[-1]

    pid = info["pid"]
    assert isinstance(pid, int)
    yield make, pid
    kill(pid, signal.SIGCONT)
    for stage in stages:
        stage.end()
    end_embedded(home)
    shutil.rmtree(home, ignore_errors=True)
