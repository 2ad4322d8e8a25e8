"""The application of the chaos run: jobs of 0 to 50 ms that sign the ledger."""

from __future__ import annotations

import asyncio
import time

from quaff import Quaff
from tests.chaos import ledger

quaff = Quaff()

#: The queues and which task serves each: two of functions, one of coroutines, one mixed.
QUEUES = {"alpha": ("nap",), "beta": ("nap",), "gamma": ("anap",), "delta": ("nap", "anap")}


@quaff.task(name="nap")
def nap(number: int, seconds: float) -> int:
    """Sleep in a thread."""
    with ledger.run():
        time.sleep(seconds)
    return number


@quaff.task(name="anap", queue="gamma")
async def anap(number: int, seconds: float) -> int:
    """Sleep in the event loop."""
    with ledger.run():
        await asyncio.sleep(seconds)
    return number
