"""Every key of a partition, spelled here only. The hash tag keeps them in one slot, for one script to touch."""

from __future__ import annotations

from functools import lru_cache

from redis.crc import key_slot

#: The whole list: an auditor treats any other key under the prefix as a fault.
_WAITING, _ROUTED, _LIMITED, _RUNNING, _FLOWS, _ENDED = (
    "msg ready wake parked sched solo ghosts",
    "route prio uniq lapses heirs sched_def sched_state sched_next sched_seen",
    "turn backlog spot credit waits stalled opens limits rates slots guests blocks",
    "active stop held lease claims prog logs chunks away origin outbox parcels",
    "flows nodes edges values drafts member",
    "res done dead tomb watched followed",
)
_MEMORY = "tries history steps signals"
#: For people: what is counted and listed for screens, and goes by itself.
SEEN = (
    "told recent called_off tasks tasks_until series series_until failures failures_until workers workers_until "
    "requests dumps dumps_until alerts"
)
NAMES = tuple(f"meta audit {_WAITING} {_ROUTED} {_LIMITED} {_RUNNING} {_FLOWS} {_MEMORY} {_ENDED} {SEEN}".split())


class Partition:
    """One hash-tagged slice of a queue.

    Args:
        namespace: what separates two applications on one server.
        queue: the queue's name.
        number: the partition, from 0.

    Attributes:
        slot: where a cluster has it.
    """

    def __init__(self, namespace: str, queue: str, number: int = 0) -> None:
        self.namespace = namespace
        self.queue = queue
        self.number = number
        self.prefix: str = f"quaff:{{{namespace}/{queue}#{number}}}:"
        self._keys = {name: (self.prefix + name).encode() for name in NAMES}
        self.slot: int = key_slot(self.prefix.encode())

    def key(self, name: str) -> bytes:
        """One key by its name."""
        return self._keys[name]

    def keys(self, names: tuple[str, ...]) -> tuple[bytes, ...]:
        """Keys in the order a script declares them."""
        return tuple(self._keys[name] for name in names)

    def __repr__(self) -> str:
        return f"Partition({self.queue}#{self.number})"


@lru_cache(maxsize=1024)
def partition(namespace: str, queue: str, number: int = 0) -> Partition:
    """The partition, made once."""
    return Partition(namespace, queue, number)
