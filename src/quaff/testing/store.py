"""The senders of an application under test: at the time of its clock, and remembering which partitions it speaks of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from quaff.store.client import AsyncStore, Store
from quaff.store.connect import Endpoint
from quaff.store.keys import Partition
from quaff.store.listener import Listener
from quaff.store.transitions import Call
from quaff.testing.clock import Clock

_listeners: dict[tuple[int, str], Listener] = {}


class Seen:
    """What has been said to the server, so far as a test wants to know it.

    Attributes:
        partitions: in the order they came up.
        apart: queues whose jobs their sender runs, and nobody else.
    """

    def __init__(self, clock: Clock, namespace: str) -> None:
        self.partitions: list[Partition] = []
        self.apart: set[str] = set()
        self._clock = clock
        self._namespace = namespace

    @property
    def shared(self) -> list[Partition]:
        """The partitions that are for everybody."""
        return [home for home in self.partitions if home.queue not in self.apart]

    def look(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        """The calls as they are to be sent."""
        for call in calls:
            self.add(call.partition)
        return [self._clock.at_its_time(call) for call in calls]

    def add(self, home: Partition) -> None:
        """A partition that jobs may be in."""
        if home.namespace == self._namespace and home not in self.partitions:
            self.partitions.append(home)


class KitStore(Store):
    """As ``Store``."""

    def __init__(self, endpoint: Endpoint, deadline: float, seen: Seen) -> None:
        super().__init__(endpoint, deadline)
        self._seen = seen
        self.aio: AsyncStore = _KitAsyncStore(endpoint, deadline, seen)

    @property
    def listener(self) -> Listener:
        """One for all tests of a process: its thread stays."""
        return _listeners.setdefault((os.getpid(), self.endpoint.where), Listener(self.endpoint))

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip."""
        return super().run_many(self._seen.look(calls))


class _KitAsyncStore(AsyncStore):
    def __init__(self, endpoint: Endpoint, deadline: float, seen: Seen) -> None:
        super().__init__(endpoint, deadline)
        self._seen = seen

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return await super().run_many(self._seen.look(calls))
