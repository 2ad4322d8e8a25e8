"""Tells other partitions what they have to hear, in the supervisor's chores: each worker does, for its queues."""

from __future__ import annotations

from collections.abc import Sequence

from quaff.errors import QuaffError, QueueFull, StoreError
from quaff.store.client import Store
from quaff.store.keys import Partition, partition
from quaff.store.parcels import deliveries, outgoing, sent

#: Milliseconds that a parcel is left to the worker that has taken it up, and after which a journey that is not over is
#: announced again: its other end may have forgotten it (a failover).
_HOLD_MS, _AGAIN_MS = 5_000, 600_000


class Courier:
    """Delivers for the queues of a worker.

    Args:
        store: the server.
        namespace: of the application.
        partitions: those whose parcels it takes.
        window_ms: how long tombstones last.
    """

    def __init__(self, store: Store, namespace: str, partitions: Sequence[Partition], window_ms: int) -> None:
        self._store = store
        self._namespace = namespace
        self._partitions = partitions
        self._window_ms = window_ms

    def deliver(self, place: int) -> float:
        """A page of one partition's parcels; seconds until there is more, infinite if that is not known."""
        left_ms = self._carry(self._partitions[place])
        return float("inf") if left_ms is None else left_ms / 1000 + 0.001

    def _carry(self, home: Partition) -> int | None:
        parcels = self._store.run(outgoing(home, hold_ms=_HOLD_MS))
        names: list[bytes] = []
        troubles: list[QuaffError] = []
        for delivery in deliveries(self._namespace, parcels, window_ms=self._window_ms):
            try:
                heard = self._store.run(delivery.call)
            except (StoreError, QueueFull) as error:
                # One partition that refuses holds up nothing that is for others.
                troubles.append(error)
                continue
            if heard:
                names += delivery.names
        # What was called off comes back at once, and perhaps nobody serves that queue who would bring it.
        for to in {each.to for each in parcels if each.kind == "cancel" and each.name in names}:
            self._carry(partition(self._namespace, *to))
        left_ms = self._store.run(sent(home, again_ms=_AGAIN_MS, names=names))
        if troubles:
            raise troubles[0]
        return left_ms
