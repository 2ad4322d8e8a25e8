"""The tasks that tests of flows send where nobody runs them."""

from __future__ import annotations

from quaff import Quaff, RateLimit


def with_tasks(quaff: Quaff) -> None:
    """Register them."""

    def add(a: int, b: int = 0) -> int:
        return a + b

    def host(name: str) -> str:
        return name

    quaff.task(add, name="add")
    quaff.task(host, name="host", rate=RateLimit(5, key="api:{name}"))


def nothing_sent(quaff: Quaff) -> bool:
    """Whether the queue has never had a job."""
    return quaff.queue("default").stats().enqueued == 0
