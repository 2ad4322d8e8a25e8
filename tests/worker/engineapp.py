"""What the tests of engines have their workers run: tasks in queues that a cluster has on different nodes."""

from __future__ import annotations

from quaff import Quaff
from tests.chaos import ledger

quaff = Quaff()


@quaff.task(name="add", queue="a")
def add(number: int, *before: int) -> int:
    """One of many; what it was given, summed up."""
    with ledger.run(str(number)):
        return number + sum(before)


@quaff.task(name="total", queue="b")
def total(values: list[int]) -> int:
    """What comes of the many."""
    return sum(values)


@quaff.task(name="over", queue="c")
async def over(value: int) -> int:
    """In another queue again."""
    return value + 1


@quaff.every(1)
@quaff.task(name="beat", queue="b")
def beat() -> None:
    """Fired by its schedule."""
    with ledger.run("beat"):
        pass
