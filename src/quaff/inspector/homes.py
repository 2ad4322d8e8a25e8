"""Whose queues an inspector looks into."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from quaff.config import Settings
from quaff.model.ids import check_name
from quaff.store.client import Store
from quaff.store.keys import Partition, partition
from quaff.store.queries import partitions
from quaff.task import Task

#: Seconds for which the number of a queue's partitions is taken as it was; it changes with a deployment, if ever.
_KNOWN = 10.0


class Application(Protocol):
    """What an inspector needs of a ``Quaff``."""

    tasks: dict[str, Task[Any, Any, Any]]

    @property
    def settings(self) -> Settings:
        """Its settings."""
        ...

    @property
    def store(self) -> Store:
        """Its server."""
        ...

    def queue_names(self) -> list[str]:
        """The queues that its tasks name."""
        ...


class Homes:
    """The partitions of an application's queues.

    Args:
        quaff: the application.
        queues: these alone; None: those that its tasks name, as they are when they are asked for.
    """

    def __init__(self, quaff: Application, queues: Sequence[str] | None) -> None:
        self._quaff = quaff
        self._queues = None if queues is None else [check_name("queue", each) for each in queues]
        self._counts: dict[str, int] = {}
        self._known_until = 0.0

    @property
    def store(self) -> Store:
        """The server."""
        return self._quaff.store

    @property
    def settings(self) -> Settings:
        """The application's."""
        return self._quaff.settings

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any, Any]]:
        """Those that it knows, by all of their names."""
        return self._quaff.tasks

    @property
    def queues(self) -> list[str]:
        """Their names."""
        return self._quaff.queue_names() if self._queues is None else self._queues

    def of(self, queue: str | None = None) -> list[Partition]:
        """The partitions of one queue, or of all; a new one is seen within seconds."""
        names = self.queues if queue is None else [queue]
        counts = self._learned(names)
        return [partition(self.settings.namespace, name, n) for name in names for n in range(counts[name])]

    def _learned(self, names: Sequence[str]) -> Mapping[str, int]:
        """How many partitions these have, asked now and then in one round trip."""
        now = time.monotonic()
        if now > self._known_until:
            self._counts, self._known_until = {}, now + _KNOWN
        # Another thread may begin anew at any moment: what was learned here goes on with this one.
        counts = self._counts
        new = [name for name in names if name not in counts]
        calls = [partitions(partition(self.settings.namespace, name)) for name in new]
        for name, known in zip(new, self.store.run_many(calls) if calls else [], strict=True):
            counts[name] = max(known, self.settings.partitions.of(name))
        return counts
