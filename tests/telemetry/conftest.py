"""A stage with a worker for the application of traceapp.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quaff import Quaff
from tests.telemetry import traceapp
from tests.worker.support import Stage

APP = "tests.telemetry.traceapp:quaff"


@pytest.fixture
def stage(server_url: str, tmp_path: Path) -> Iterator[Stage]:
    """A namespace of its own, whose sender knows these tasks."""
    stage = Stage(server_url, tmp_path)
    stage.sends(traceapp.quaff)
    yield stage
    stage.end()


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """Sends these tasks."""
    return stage.quaff


def lines(path: Path) -> list[Any]:
    """What is in a file so far, a document each line; without one that is being written."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n") and line.strip()]
