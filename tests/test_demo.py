"""The demo, as ``make demo`` runs it: the main job of all this, on real files, with a kill in the middle."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Program, python, wait_until

DEMO = Path(__file__).parents[1] / "examples" / "demo"
#: As many files as ``make demo`` takes with FULL=1, a third of them without.
FEWER = "" if os.environ.get("FULL") else "run.MOST = 1000; "
RUN = f"import sys; sys.path.insert(0, {str(DEMO)!r}); import run; {FEWER}sys.exit(run.main())"


def of_the_demo(mark: str) -> list[int]:
    """Every process that carries the mark in its environment; the driver's own included."""
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:
            continue
    return found


def start(running: Callable[[Program], Program], folder: Path, *arguments: str) -> tuple[Program, str]:
    """Start it with its temporary files in ``folder``; the mark of all its processes."""
    mark = f"DEMO_MARK={folder.name}-{os.getpid()}"
    name, _, value = mark.partition("=")
    return running(python("-c", RUN, *arguments, env={name: value, "TMPDIR": str(folder)})), mark


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short name: a socket's path has little room."""
    return Path(tempfile.mkdtemp(prefix="qd", dir="/tmp"))


@pytest.mark.early
@pytest.mark.timeout(300)
def test_every_file_is_counted_though_a_process_is_killed_half_way(
    running: Callable[[Program], Program], folder: Path
) -> None:
    """A thousand files (FULL=1: three thousand), all succeeded, none lost, and nothing is left behind."""
    demo, mark = start(running, folder)
    assert demo.wait(280) == 0, demo.output
    told = re.fullmatch(
        r"demo: (\d+) files, (\d+) succeeded, 0 failed, 0 lost, \d+ jobs/s, 1 worker killed", demo.stdout[-1]
    )
    assert told, demo.output
    assert int(told[1]) >= 1000
    assert told[1] == told[2]
    assert any("killed with SIGKILL" in line for line in demo.stdout)
    wait_until(lambda: not of_the_demo(mark), 10, "the end of all its processes")
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    running: Callable[[Program], Program], folder: Path, number: int
) -> None:
    """Ctrl+C or SIGTERM while files are counted: web application, worker and server end, their files go."""
    demo, mark = start(running, folder)
    wait_until(lambda: any("worker" in line for line in demo.stdout), 30, "the worker's start")
    assert len(of_the_demo(mark)) > 3
    code = demo.stop(number)
    assert code in (130, 143), demo.output
    wait_until(lambda: not of_the_demo(mark), 10, "the end of all its processes")
    assert list(folder.iterdir()) == []
    folder.rmdir()
