"""Which node of a cluster serves which slot, as far as is known here. A wrong entry costs a redirection, never more."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import MovedError

from quaff.store.urls import Address

_SLOTS = 16384


class Slots:
    """The map of a cluster, learned from any of its nodes and corrected by their redirections.

    redis-py's own map comes with pools, retries and locks that are not ours.

    Args:
        seeds: some nodes.

    Attributes:
        doubtful: a node did not answer, or knew nothing: the whole map is to be asked for.
    """

    def __init__(self, seeds: Sequence[Address]) -> None:
        self._seeds = frozenset(seeds)
        self._known = set(seeds)
        self._owners: list[Address | None] = [None] * _SLOTS
        self.doubtful: bool = True

    def owner(self, slot: int) -> Address | None:
        """The node that serves a slot; None where nobody is known to."""
        return self._owners[slot]

    def nodes(self) -> list[Address]:
        """All that are known, in random order, replicas too: each can say who serves what."""
        known = list(self._known)
        return random.sample(known, len(known))

    def primaries(self) -> list[Address]:
        """All that serve slots, in order."""
        return sorted({owner for owner in self._owners if owner is not None})

    def moved(self, error: MovedError, asked: Address | None) -> None:
        """A node has said who serves a slot; ``asked``: which one, for it may leave out a host that is its own."""
        address = redirected(error, asked)
        if address is not None:
            self._known |= {address}
            self._owners[error.slot_id] = address

    def learn(self, reply: Iterable[Any], asked: Address) -> None:
        """The reply to CLUSTER SLOTS."""
        owners: list[Address | None] = [None] * _SLOTS
        known: set[Address] = set()
        for first, last, *nodes in reply:
            addresses = [((host or b"").decode() or asked[0], port) for host, port, *_ in nodes]
            known |= set(addresses)
            owners[first : last + 1] = [addresses[0]] * (last + 1 - first)
        # What the URL names stays, in case all that are listed now go; what nobody answers at costs one look.
        self._owners, self._known, self.doubtful = owners, known | self._seeds, False


def redirected(error: Any, asked: Address | None) -> Address | None:
    """Where a MOVED or ASK points to."""
    host, port = error.node_addr
    host = host or (asked and asked[0])
    return (host, port) if host else None
