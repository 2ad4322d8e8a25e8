"""What the tests of large results have their workers run: MAX_RESULT is small, so that little is large."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

from quaff import Batch, FileResults, Quaff
from tests.chaos import ledger


class Deadly(FileResults):
    """Ends the process once, after it has put something: as if it were killed before it could settle."""

    def put(self, name: str, data: bytes, seconds: float) -> None:
        """As told."""
        super().put(name, data, seconds)
        once = os.environ.get("DEADLY")
        if once and not Path(once).exists():
            Path(once).touch()
            os.kill(os.getpid(), signal.SIGKILL)


folder = os.environ.get("RESULTS")
quaff = Quaff(results=Deadly(folder) if folder else None, max_result=1000)


@quaff.task(name="big", retries=2, backoff=0.1)
def big(size: int, tag: str = "") -> str:
    """A result of that size."""
    with ledger.run(tag):
        return "x" * size


@quaff.task(name="abig")
async def abig(size: int) -> bytes:
    """The same, in a coroutine."""
    return b"x" * size


@quaff.task(name="gone", result_ttl=0)
def gone(size: int) -> str:
    """One that nobody can ask for."""
    return "x" * size


@quaff.task(name="length", retries=2, backoff=0.1)
def length(text: str | bytes | list[str]) -> int:
    """What the node before has given, measured."""
    return len(text)


@quaff.task(name="alength")
async def alength(texts: dict[str, list[str | bytes]]) -> int:
    """The same, deep inside an argument, in a coroutine."""
    return sum(map(len, texts["all"]))


@quaff.task(name="lengths", queue="batches", batch=Batch(10, within=0.2))
def lengths(calls: list[tuple[str]]) -> list[int]:
    """The same, for many."""
    return [len(text) for (text,) in calls]


@quaff.task(name="mixed", queue="batches2", batch=Batch(10, within=0.2))
def mixed(calls: list[tuple[int]]) -> list[str]:
    """A batch of which some results are large."""
    return ["x" * size for (size,) in calls]


@quaff.task(name="stuck")
def stuck(tag: str, gate: str) -> str:
    """Waits while the gate is empty or has the number of its process."""
    with ledger.run(tag):
        while Path(gate).read_text() in ("", str(os.getpid())):
            time.sleep(0.01)
        return "y" * 5000


@quaff.task(name="spoken")
def spoken() -> Generator[str, None, str]:
    """A stream with a large result."""
    yield "one"
    return "x" * 5000
