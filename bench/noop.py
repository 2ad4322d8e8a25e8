"""The application of the benchmark: one task that does nothing."""

from __future__ import annotations

from quaff import Quaff

quaff = Quaff()


@quaff.task
def noop(number: int) -> None:
    """All that is left is the queue."""
