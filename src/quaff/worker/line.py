"""One partition as a worker process sees it, and a claim for it."""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from quaff.store.keys import Partition
from quaff.store.transitions import Call, Claimed, claim

#: Of how many jobs the shares of a line speak, and the least share, so that a kind may come back.
_REMEMBERED, _LEAST = 200, 0.001


class Asked(NamedTuple):
    """A claim for so many jobs of a line."""

    line: Line
    wanted: int
    call: Call[Claimed]


@dataclass(slots=True, eq=False)
class Line:
    """One partition as this process sees it.

    Attributes:
        kinds: which runners its jobs need, as the application has it.
        shares: which part of its jobs needs each of them, as the last ones tell; at first each may need any.
        batch: where all of the queue's tasks are batch tasks, how many jobs the largest takes; else 0.
        weight: how many turns it has while others have one; credit: what it has saved towards the next one.
        number, claim_id: of the last claim; unanswered: it may have reached the server, and nobody knows what it got.
            Another one has the same id then, and is answered with the same jobs.
        look_at: monotonic time of the next look; again_at: when there is a reason to look, token or not; asked_at: when
            it answered last.
        crowd: how many processes serve it, as its last empty answer said; aside_until: monotonic time until which the
            tokens are left to others of a large one.
        for_slots: what waits there must start at once, so there is no use in asking without a free slot.
        trouble: its last answer was an error, and the log says so.
    """

    place: int
    partition: Partition
    kinds: frozenset[str]
    weight: float = 1
    batch: int = 0
    credit: float = 0
    number: int = 0
    claim_id: bytes = b""
    unanswered: bool = False
    look_at: float = 0.0
    again_at: float = float("inf")
    asked_at: float = 0.0
    crowd: int = 0
    aside_until: float = 0.0
    for_slots: bool = False
    trouble: bool = False
    shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shares = dict.fromkeys(self.kinds, 1.0)

    def claim(self, process: bytes, count: int, free: int, *, idle: bool, lease_ms: int) -> Asked:
        """The next claim: the arguments as ``transitions.claim`` has them."""
        if not self.unanswered:
            self.number += 1
            self.claim_id = urlsafe_b64encode(os.urandom(8)).rstrip(b"=")
        call = claim(
            self.partition,
            process=process,
            number=self.number,
            claim_id=self.claim_id,
            count=count,
            free=free,
            idle=idle,
            lease_ms=lease_ms,
        )
        return Asked(self, count, call)

    def learn(self, came: Mapping[str, int]) -> None:
        """So many jobs of each kind were claimed."""
        count = sum(came.values())
        weight = min(1.0, count / _REMEMBERED)
        for kind, share in self.shares.items() if count else ():
            self.shares[kind] = max(_LEAST, share + (came.get(kind, 0) / count - share) * weight)

    def rest(self, seconds: float) -> None:
        """Look again so many seconds from now, or sooner where there is a reason."""
        self.look_at = min(time.monotonic() + seconds, self.again_at)
