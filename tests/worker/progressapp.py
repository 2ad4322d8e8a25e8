"""What the tests of progress have their workers run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from quaff import Batch, Quaff, Retry, current_job

quaff = Quaff()


def wait_for(gate: str) -> None:
    """Until there is such a file."""
    while not Path(gate).exists():
        time.sleep(0.01)


@quaff.task(name="steps")
def steps(gate: str, total: int = 10) -> int:
    """Three steps, then it waits for a file."""
    for done in range(1, 4):
        current_job.progress(done, total, f"step {done}")
    wait_for(gate)
    current_job.progress(total, total, "done")
    return total


@quaff.task(name="asteps")
async def asteps(gate: str, total: int = 10) -> int:
    """The same as a coroutine."""
    for done in range(1, 4):
        current_job.progress(done, total, f"step {done}")
    await asyncio.to_thread(wait_for, gate)
    current_job.progress(total, total, "done")
    return total


@quaff.task(name="chatty")
def chatty(count: int) -> None:
    """Says it at each step of a tight loop."""
    for done in range(count):
        current_job.progress(done, count)


@quaff.task(name="wrong")
def wrong(how: str) -> None:
    """Says what is no progress."""
    values: dict[str, tuple[object, ...]] = {
        "below": (-1,), "nan": (float("nan"),), "text": ("3",), "total": (1, 0), "huge": (2**70,),
    }  # fmt: skip
    current_job.progress(*values[how])  # type: ignore[arg-type]


@quaff.task(name="twice")
def twice() -> str:
    """Comes half-way, and again."""
    if current_job.attempt == 1:
        current_job.progress(5, 10, "half-way\ud800")
        raise Retry(in_=0.01)
    return "there"


@quaff.task(name="together", queue="together", batch=Batch(5, within=0.1))
def together(calls: list[tuple[int]]) -> None:
    """One for all of them."""
    current_job.progress(len(calls))
