"""The application of ``limits.py``: the same nothing, each time with another wish."""

from __future__ import annotations

from quaff import Concurrency, Quaff, RateLimit, Unique

quaff = Quaff()


def nothing(number: int) -> None:
    """All that is left is the queue."""


TASKS = {
    "plain": quaff.task(nothing, name="plain"),
    "priority": quaff.task(nothing, name="priority", priority=5),
    "unique": quaff.task(nothing, name="unique", unique=Unique()),
    "fair, 10 keys": quaff.task(nothing, name="fair10", fair_by=lambda number: number % 10),
    "fair, 10,000 keys": quaff.task(nothing, name="fair10000", fair_by=lambda number: number % 10_000),
    "concurrency": quaff.task(nothing, name="concurrency", concurrency=Concurrency(1_000_000)),
    "rate": quaff.task(nothing, name="rate", rate=RateLimit(1_000_000, per=0.001, burst=1_000_000)),
}
