"""Guest: code that is no job, such as a view, and takes its part of a limit."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from types import TracebackType

from quaff.errors import ConfigurationError, LimitReached
from quaff.model.limits import LONGEST_KEY, Concurrency, Limit, RateLimit, counted
from quaff.model.placement import limit_name
from quaff.model.times import Seconds, seconds
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.operations import acquire, leave
from quaff.store.transitions import Call

#: Seconds after which to try again where nobody knows when a place becomes free.
_GUESS = 1.0


class Guest:
    """Room in a limit for the length of a ``with`` or ``async with`` block; may be used again, and by several threads.

    Args:
        store: the server.
        home: the partition whose limits are meant.
        key: what the limit is about, such as ``"api:example.com"``.
        limit: its numbers. If it has a key of its own, ``"api:{host}"``, the room is shared with the jobs of tasks
            that declare it like that; otherwise with those whose limit has ``key`` as its key.
        hold: seconds after which a place in a Concurrency is free again, whatever became of its holder.

    Raises:
        ConfigurationError: a limit whose key or cost is a function, or a bad time.
    """

    def __init__(self, store: Store, home: Partition, key: str, limit: Limit, hold: Seconds) -> None:
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
            raise ConfigurationError(f"quaff.limit({key!r}): give a text of 1 to {LONGEST_KEY} characters.")
        if not isinstance(limit, (RateLimit, Concurrency)):
            raise ConfigurationError(f"quaff.limit({key!r}, {limit!r}): give RateLimit(...) or Concurrency(...).")
        if callable(limit.key) or callable(limit.cost):
            raise ConfigurationError("quaff.limit(): outside of a task a limit's key is a text and its cost a number.")
        self._store = store
        self._home = home
        self._key = key
        self._limit = limit
        self._name = limit_name(limit.kind, limit.key or key, key)
        self._cost = counted(limit.cost, {})
        self._lasts_ms = int(seconds("limit(hold=)", hold) * 1000)
        if not self._lasts_ms:
            raise ConfigurationError(f"limit(hold={hold!r}): give at least a millisecond.")
        # The oldest goes first, whoever leaves: what remains lasts as long as those inside were promised.
        self._held: deque[bytes] = deque()

    def __enter__(self) -> None:
        """Raises LimitReached, ServerUnavailable, and NoAnswer where nobody knows."""
        token = os.urandom(12)
        self._entered(token, self._store.run(self._acquire(token)))

    def __exit__(self, *_: object) -> None:
        self._store.run(self._leave())

    async def __aenter__(self) -> None:
        """As ``__enter__``."""
        token = os.urandom(12)
        self._entered(token, await self._store.aio.run(self._acquire(token)))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        # A block that was cancelled gives its place back all the same.
        await asyncio.shield(self._store.aio.run(self._leave()))

    def _acquire(self, token: bytes) -> Call[int]:
        return acquire(
            self._home,
            limit=self._name,
            numbers=self._limit.numbers(),
            cost=self._cost,
            token=token,
            lasts_ms=self._lasts_ms,
        )

    def _leave(self) -> Call[bool]:
        return leave(self._home, limit=self._name, cost=self._cost, token=self._held.popleft())

    def _entered(self, token: bytes, wait_ms: int) -> None:
        if wait_ms:
            after = wait_ms / 1000 if wait_ms > 0 else _GUESS
            raise LimitReached(f"the limit {self._key!r} lets nobody in now; try again in {after:g} s", after)
        self._held.append(token)
