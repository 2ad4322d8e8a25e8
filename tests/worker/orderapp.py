"""What the tests of schedules, limits and turns have their workers run."""

from __future__ import annotations

import os
import time

from quaff import Concurrency, Quaff, RateLimit, Unique, current_job
from tests.chaos import ledger

quaff = Quaff()


def tick() -> None:
    """One instant of a schedule."""
    assert current_job.scheduled_for is not None
    with ledger.run(f"{current_job.scheduled_for.timestamp():.0f}"):
        pass


for number in range(int(os.environ.get("SCHEDULES", "0"))):
    quaff.every(1, name=f"every {number}")(quaff.task(tick, name=f"tick{number}"))

if period := os.environ.get("DEPLOYED"):
    quaff.every(float(period), name="deployed")(quaff.task(tick, name="deployed"))


@quaff.task(name="turn", fair_by="{tenant}")
def turn(tenant: str, seconds: float) -> None:
    """A job of one tenant."""
    with ledger.run(tenant):
        time.sleep(seconds)


@quaff.task(name="gate")
def gate(tag: str, path: str) -> None:
    """Wait for a file."""
    with ledger.run(tag):
        while not os.path.exists(path):
            time.sleep(0.005)


@quaff.task(name="rated", rate=RateLimit(10, per=1, burst=2, key="{key}"))
def rated(key: str) -> None:
    """At most 10 a second of each key."""
    with ledger.run(key):
        pass


@quaff.task(name="capped", concurrency=Concurrency(3, key="{key}"))
def capped(key: str, seconds: float) -> None:
    """At most 3 at a time of each key."""
    with ledger.run(key):
        time.sleep(seconds)


@quaff.task(name="single", unique=Unique(by=("user",)), retries=2, backoff=0.05)
def single(user: int, fails: int = 0) -> int:
    """One of each user."""
    with ledger.run(f"user {user}"):
        time.sleep(0.03)
        if current_job.attempt <= fails:
            raise ValueError(fails)
    return user
