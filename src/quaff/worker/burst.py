"""Finds out that there is nothing to do any more, for a worker that ends then (``--burst``), in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from quaff.errors import QuaffError
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.queries import holds, stats

_LOOK = 0.3


class Burst:
    """Looks until the queues are empty.

    Empty is: nothing waits in line there, but what is paused, and this worker holds nothing. It has to be so at two
    looks, between which nothing was counted: a job that ends may put another one in line.

    Args:
        store: the server.
        partitions: those that the worker serves; more may come.
        processes: gives the ids of its processes.

    Attributes:
        over: they are.
    """

    def __init__(self, store: Store, partitions: Sequence[Partition], processes: Callable[[], Iterable[bytes]]) -> None:
        self._store = store
        self._partitions = partitions
        self._processes = processes
        self.over: bool = False
        threading.Thread(target=self._work, name="quaff-burst", daemon=True).start()

    def _work(self) -> None:
        before: object = None
        while not self.over:
            try:
                now = self._look()
            except QuaffError:  # the chores say it
                now = None
            self.over = now is not None and now == before
            before = now
            time.sleep(_LOOK)

    def _look(self) -> list[tuple[int, ...]] | None:
        """What was counted in each partition; None while there is something to do."""
        homes = [*self._partitions]
        found = self._store.run_many([stats(home) for home in homes])
        if any(each["paused"] < 0 and each["queued"] for each in found):
            return None
        held = self._store.run_many([holds(home, each, b"") for home in homes for each in self._processes()])
        if any(held):
            return None
        return [tuple(each[name] for name in _COUNTED) for each in found]


_COUNTED = ("enqueued", "succeeded", "failed", "cancelled", "expired", "retried", "scheduled", "away")
