"""What the tests of logs have their workers run."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

from quaff import Batch, Quaff, Retry, current_job
from quaff.telemetry.logs import JobFilter

quaff = Quaff()
library = logging.getLogger("library.deep")
if os.environ.get("OWN_LOGGING"):
    form = "%(job_id)s %(job_task)s %(job_attempt)d %(message)s"
    logging.basicConfig(level=os.environ["OWN_LOGGING"], force=True, format=form)
    logging.getLogger().handlers[0].addFilter(JobFilter())
    library.warning("outside of jobs")


def wait_for(gate: str) -> None:
    """Until there is such a file."""
    while not Path(gate).exists():
        time.sleep(0.01)


class Odd:
    """An argument that cannot be made a text."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@quaff.task(name="talk")
def talk(gate: str = "") -> None:
    """By itself, by a library, by Quaff's own loggers, with an exception, below the level, and what fails no task."""
    current_job.log("by itself")
    library.info("of %s", "a library")
    library.debug("not this")
    logging.getLogger("quaff.worker").warning("nor this")
    try:
        raise ValueError("inside")
    except ValueError:
        library.exception("it failed")
    library.info("%s", Odd())
    library.info("surrogate \ud800 and %s", "x" * 10_000)
    if gate:
        wait_for(gate)
    current_job.log("the last", logging.ERROR)


@quaff.task(name="atalk")
async def atalk(word: str) -> None:
    """Beside others in one loop, and in a thread that the loop lends."""
    for number in range(5):
        library.info("%s %d", word, number)
        await asyncio.sleep(0.001)
    await asyncio.to_thread(library.info, "%s in a thread", word)


@quaff.task(name="many")
def many(count: int) -> None:
    """Lines, as fast as it can."""
    for number in range(count):
        library.info("line %d", number)


@quaff.task(name="threads")
def threads() -> None:
    """Many threads with the context of the task."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit(copy_context().run, current_job.log, f"thread {number}")


@quaff.task(name="again", retries=3)
def again() -> None:
    """Three attempts."""
    current_job.log(f"attempt {current_job.attempt}")
    if current_job.attempt < 3:
        raise Retry(in_=0.01)


@quaff.task(name="broken")
def broken() -> None:
    """Fails with a last word."""
    current_job.log("the last word")
    raise RuntimeError("broken")


@quaff.task(name="unkept", result_ttl=0)
def unkept(gate: str) -> None:
    """Nothing of it is kept."""
    current_job.log("gone soon")
    wait_for(gate)


@quaff.task(name="together", queue="together", batch=Batch(5, within=0.1))
def together(calls: list[tuple[int]]) -> None:
    """Once for all of them."""
    current_job.log(f"{len(calls)} calls")


@quaff.task(name="odd")
def odd() -> None:
    """Gives a level that is none."""
    current_job.log("text", "ERROR")  # type: ignore[arg-type]
