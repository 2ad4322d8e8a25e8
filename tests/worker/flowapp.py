"""What the tests of flows have their workers run."""

from __future__ import annotations

import os
import random
import signal

from quaff import Concurrency, ConfigurationError, Quaff, RateLimit, current_job
from tests.chaos import ledger

quaff = Quaff()


@quaff.task(name="part")
def part(tag: str, number: int, *before: int) -> int:
    """One of many; what it was given, summed up."""
    with ledger.run(tag):
        return number + sum(before)


@quaff.task(name="limited", concurrency=Concurrency(1, key="at:{tag}"), rate=RateLimit(100, per=1, key="in:{tag}"))
def limited(tag: str, number: int) -> int:
    """One at a time, and not too many."""
    with ledger.run(tag):
        return number


@quaff.task(name="gather")
def gather(values: list[int], tag: str) -> int:
    """What comes of the many."""
    with ledger.run(tag):
        return sum(values)


@quaff.task(name="elsewhere", queue="elsewhere")
def elsewhere(value: int, tag: str) -> int:
    """In another queue."""
    with ledger.run(tag):
        return value + 1


@quaff.task(name="fails")
def fails(tag: str) -> None:
    """Never does."""
    with ledger.run(tag):
        raise ValueError(tag)


@quaff.task(name="mends", retries=0)
def mends(tag: str) -> str:
    """Fails until somebody has put a file there."""
    with ledger.run(tag):
        if not os.path.exists(os.path.join(os.environ[ledger.FOLDER], f"mended-{tag}")):
            raise ValueError("not mended yet")
        return tag


@quaff.task(name="deadly")
def deadly(tag: str, number: int) -> int:
    """As a job in a process that dies now and then."""
    with ledger.run(tag):
        if current_job.attempt == 1 and random.random() < 0.02:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


@quaff.task(name="told")
def told(tag: str, *what: object) -> None:
    """Somebody is told."""
    with ledger.run(tag):
        pass


@quaff.task(name="heard")
def heard(value: object, tag: str) -> None:
    """Somebody is told what came of it."""
    with ledger.run(tag):
        pass


@quaff.task(name="spreads")
def spreads(tag: str, depth: int) -> int:
    """Adds two more of its kind, of which each does the same, as deep as it is told."""
    with ledger.run(tag):
        if depth:
            flow = quaff.flow(current_job.flow or "")
            for side in "lr":
                flow.add(spreads.si(tag + side, depth - 1))
        return depth


@quaff.task(name="aspreads")
async def aspreads(tag: str) -> str:
    """Adds one more, in a coroutine."""
    with ledger.run(tag):
        await quaff.flow(current_job.flow or "").aadd(told.si(f"{tag} added"))
        return tag


@quaff.task(name="circles")
def circles(tag: str) -> str:
    """Adds one that would wait for what waits for this one; then one that waits for this one."""
    with ledger.run(tag):
        flow = quaff.flow(current_job.flow or "")
        flow.add(told.si(f"{tag} between"), after="circles", name="between")
        try:
            flow.add(told.si(f"{tag} never"), after=["told"])
        except ConfigurationError as error:
            return str(error)
        return ""
