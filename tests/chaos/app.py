"""The application of the chaos run: jobs that sign the ledger and return the pid of their process."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from quaff import Quaff, current_job
from tests.chaos import ledger

quaff = Quaff()

#: The queues and which task serves each: two of functions, one of coroutines, one mixed.
QUEUES = {"alpha": ("nap",), "beta": ("nap", "once_more"), "gamma": ("anap",), "delta": ("nap", "anap")}


@quaff.task(name="nap")
def nap(tag: str, seconds: float) -> int:
    """Sleep in a thread."""
    with ledger.run(tag):
        time.sleep(seconds)
    return os.getpid()


@quaff.task(name="anap", queue="gamma")
async def anap(tag: str, seconds: float) -> int:
    """Sleep in the event loop."""
    with ledger.run(tag):
        await asyncio.sleep(seconds)
    return os.getpid()


@quaff.task(name="once_more", queue="beta", retries=5, backoff=0.1)
def once_more(tag: str, seconds: float) -> int:
    """Fail the first time."""
    with ledger.run(tag):
        time.sleep(seconds)
        if current_job.attempt == 1:
            raise OSError("not the first time")
    return os.getpid()


@quaff.task(name="poison")
def poison(tag: str) -> None:
    """End the own process, as a bug in C code would; the ledger is told before."""
    with ledger.run(tag):
        ledger.write(event="dies")
        os.kill(os.getpid(), signal.SIGKILL)
