"""What the tests of the senders share: both ways of sending, calls, a server of one's own, and deadlines."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quaff.model.states import JobState
from quaff.store import embedded
from quaff.store import transitions as t
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.transitions import Call, Verdict
from tests.store.engine import HOUR, Desk

LATE = 1.0  # seconds that a busy machine may add to a deadline

Send = Callable[[Store, list[Call[Any]]], list[Any]]


def sync(store: Store, calls: list[Call[Any]]) -> list[Any]:
    """As a thread sends."""
    return store.run_many(calls)


def aio(store: Store, calls: list[Call[Any]]) -> list[Any]:
    """As a coroutine sends, in an event loop of its own."""
    return asyncio.run(store.aio.run_many(calls))


both = pytest.mark.parametrize("send", [sync, aio])


class Own:
    """A server that a test may freeze or starve."""

    def __init__(self, home: Path) -> None:
        self.url = f"embedded://{home}"
        self.path = embedded.ensure(home)
        pid = (embedded.server_info(home) or {})["pid"]
        assert isinstance(pid, int)
        self.pid = pid

    def kill(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def store_at(url: str, deadline: float = 10, source: str = "a test") -> Store:
    """A store there; ``deadline`` is long where it is not the point."""
    return Store(Endpoint(url, source, deadline), deadline)


def close(store: Store) -> None:
    """Close the connections of threads; those of event loops are closed with them."""
    store.endpoint.pool().disconnect()
    store.endpoint.tidy()


def enqueue(desk: Desk, id: bytes, message: bytes = b"m") -> Call[list[Any]]:
    """Store one job."""
    return t.enqueue(desk.home, [(id, message)])


def claim(desk: Desk, process: bytes, number: int = 1, count: int = 5) -> Call[t.Claimed]:
    """Take some."""
    return t.claim(
        desk.home,
        process=process,
        number=number,
        claim_id=b"claim%d" % number,
        count=count,
        free=count,
        idle=False,
        lease_ms=30_000,
    )


def settle(desk: Desk, process: bytes, *leases: t.Lease) -> Call[list[Verdict]]:
    """They succeeded."""
    items = [(lease.id, lease.token, JobState.SUCCEEDED, HOUR, b"", b"record") for lease in leases]
    return t.settle(desk.home, process=process, window_ms=HOUR, items=items)


@contextmanager
def within(deadline: float) -> Iterator[None]:
    """What happens inside takes no longer than a deadline."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < deadline + LATE
