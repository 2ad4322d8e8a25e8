"""The application that the tests of the kit test: one task for each thing that a job can do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from quaff import Batch, Cancel, Concurrency, Quaff, RateLimit, Retry, Snooze, Unique, current_job, exponential

#: Of the daily report (UTC): half a day from now, so that a test of an hour never meets it.
HOUR = (datetime.now(UTC).hour + 12) % 24

quaff = Quaff()
ran: list[object] = []


@dataclass
class Order:
    """What travels because a type hint says so."""

    number: int
    lines: list[str]


class OutOfStock(Exception):
    """Of the application's own."""


@quaff.task(name="add")
def add(a: int, b: int = 0) -> int:
    """Plain."""
    return a + b


@quaff.task(name="double", queue="async")
async def double(n: int) -> int:
    """A coroutine."""
    return 2 * n


@quaff.task(name="ship", queue="mail")
def ship(order: Order, urgent: bool = False) -> Order:
    """Takes and gives an object; whether it is the same one shows whether it has travelled."""
    ran.append(order)
    return order


@quaff.task(name="note")
def note(what: str) -> None:
    """Remembers that, and in which thread, it ran."""
    ran.append((what, threading.get_ident()))


@quaff.task(name="flaky", retries=3, backoff=exponential(60, jitter=False))
def flaky(until: int) -> int:
    """Fails before that attempt."""
    if current_job.attempt < until:
        raise OutOfStock(f"attempt {current_job.attempt}")
    return current_job.attempt


@quaff.task(name="at_once", retries=3, backoff=0)
def at_once(until: int) -> int:
    """The same without a pause."""
    return flaky.fn(until)  # type: ignore[no-any-return]


@quaff.task(name="broken")
def broken() -> None:
    """Fails for good."""
    raise OutOfStock("nothing left")


@quaff.task(name="steered")
def steered(how: str) -> None:
    """Ends by an exception that says how."""
    raise {"retry": Retry(in_=5), "snooze": Snooze(5), "cancel": Cancel("enough")}[how]


@quaff.task(name="checks")
def checks(kind: str) -> None:
    """Ends by what is meant for whoever runs the tests."""
    if kind == "fail":
        pytest.fail("this must not be called")
    raise KeyboardInterrupt


@quaff.task(name="told")
def told(job: str) -> None:
    """Hears of jobs that are given up."""
    ran.append(job)


@quaff.task(name="hopeless", on_exhausted=told)
def hopeless() -> None:
    """Is given up."""
    raise OutOfStock("as ever")


@quaff.task(name="forever")
def forever() -> None:
    """Sends itself."""
    forever.delay()


@quaff.task(name="sends")
def sends(n: int) -> str:
    """Sends another one."""
    return add.delay(n, n).id


@quaff.task(name="slow", timeout=0.2)
def slow() -> None:
    """Runs longer than it may."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.01)


@quaff.task(name="talks")
def talks() -> None:
    """Says how far it is, and what it does."""
    current_job.progress(1, 2, "half")
    current_job.log("begun")
    logging.getLogger("shop").warning("half %s", "done")


@quaff.task(name="counts")
def counts(n: int) -> Iterator[int]:
    """Gives values, more of them than wait unsent."""
    yield from range(n)


@quaff.task(name="together", batch=Batch(3))
def together(calls: list[tuple[int]]) -> list[int]:
    """Once for many."""
    ran.append([n for (n,) in calls])
    return [n * 10 for (n,) in calls]


@quaff.task(name="once", unique=Unique(for_=3600, until="start"), rate=RateLimit(1, per=60), concurrency=Concurrency(1))
def once(n: int) -> int:
    """With everything that keeps a job from running."""
    return n


@quaff.task(name="onboard")
def onboard(user: int) -> str:
    """Remembers, sleeps and waits."""
    name = current_job.step("name", lambda: f"user {user}")
    current_job.sleep("2d")
    return f"{name} on {current_job.wait_for('plan')}"


@quaff.cron(f"0 {HOUR} * * *")
@quaff.task(name="report", queue="reports")
def report() -> datetime | None:
    """Once a day."""
    ran.append(current_job.scheduled_for)
    return current_job.scheduled_for
