"""The jobs that one process has under lease, those that go back, and whether the server sees it the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from quaff.errors import QuaffError
from quaff.store.keys import Partition
from quaff.store.queries import holds
from quaff.store.transitions import BATCH, PORTION, Call, Lease, Verdict, release
from quaff.worker.ready import Claim, Ready
from quaff.worker.runners import Runner

#: Seconds until a settle or release is tried again that the server answered with an error.
LATER = 2.0

#: In the place of milliseconds to park: to the queue's head, and it may have begun.
_BEGUN = -1


class Back(NamedTuple):
    """A job that goes back, parked for some milliseconds or to the head; ``record``: of an attempt that had begun."""

    claim: Claim
    park_ms: int
    record: bytes = b""


class Holdings:
    """What is held, by token: a server that lost its last writes may hand the same id out again.

    A job leaves when its attempt has finished, or when its release was answered.

    Args:
        process: this process's id.
    """

    def __init__(self, process: bytes) -> None:
        self._process = process
        self._held: dict[bytes, tuple[Claim, Runner | None]] = {}
        self._back: list[Back] = []
        self._sent: list[list[Back]] = []
        self._later: dict[Partition, float] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, token: bytes) -> bool:
        return token in self._held

    def take(self, claim: Claim, runner: Runner | None) -> None:
        """A job was claimed; ``runner`` has it, None if nobody here can run it."""
        self._held[claim.lease.token] = (claim, runner)

    def drop(self, claim: Claim) -> Runner | None:
        """A job is off the books; the runner that had it."""
        _, runner = self._held.pop(claim.lease.token, (claim, None))
        if runner is not None:
            runner.load -= 1
        return runner

    def give_back(self, claim: Claim, park_ms: int = 0) -> None:
        """A job that was not started goes back, and is parked for so many milliseconds (0: to the queue's head)."""
        self._held.setdefault(claim.lease.token, (claim, None))
        self._back.append(Back(claim, park_ms))

    def give_back_stranger(self, claim: Claim) -> None:
        """A job that this process does not know goes back; whether it had begun, nobody can say."""
        self.give_back(claim, _BEGUN)

    def give_back_waiting(self, jobs: Sequence[Ready]) -> None:
        """What was taken back before it was started goes back."""
        for job in jobs:
            self._held[job.claim.lease.token] = (job.claim, None)
            self.give_back(job.claim)

    def give_back_everything(self, records: Mapping[bytes, bytes]) -> None:
        """All that is held goes back, running or not; what runs on will be fenced.

        Args:
            records: what is remembered of those that had begun, by token.
        """
        going = {each.claim.lease.token for each in self._back}
        self._back += [
            Back(claim, _BEGUN, records.get(token, b""))
            for token, (claim, _) in self._held.items()
            if token not in going
        ]

    def calls(self) -> list[Call[list[Verdict]]]:
        """Releases for what goes back, some at a time; the last first, for each goes to the head of its line."""
        now = time.monotonic()
        by_partition: dict[Partition, list[Back]] = {}
        for each in self._back[-PORTION:]:
            if self._later.get(each.claim.partition, 0.0) <= now:
                by_partition.setdefault(each.claim.partition, []).append(each)
        self._sent = list(by_partition.values())
        return [
            release(
                partition,
                process=self._process,
                items=[(each.claim.lease.id, each.claim.lease.token, each.park_ms, each.record) for each in going],
            )
            for partition, going in by_partition.items()
        ]

    def answered(self, answers: Sequence[Any]) -> None:
        """The answers to ``calls()``: what they cover is off the books; an error, or a LATER, leaves it for later."""
        done: set[bytes] = set()
        for going, answer in zip(self._sent, answers, strict=True):
            if isinstance(answer, QuaffError):
                self._later[going[0].claim.partition] = time.monotonic() + LATER
            else:
                for each, verdict in zip(going, answer, strict=True):
                    if verdict is not Verdict.LATER:
                        self.drop(each.claim)
                        done.add(each.claim.lease.token)
        if done:
            self._back = [each for each in self._back if each.claim.lease.token not in done]
        self._sent = []


class Comparison:
    """Asks, a few times a lease, what the server thinks this process holds.

    A server that lost acknowledged writes (a failover, a power cut) may have jobs of ours as running that were settled
    or given back: their lease is renewed with ours, so nobody else would ever find them.

    Args:
        process: this process's id.
        places: the partitions, each with its place in the worker's list.
        every: seconds between two comparisons.
    """

    def __init__(self, process: bytes, places: Sequence[tuple[int, Partition]], every: float) -> None:
        self._process = process
        self._places = places
        self._every = every
        self._next_at = time.monotonic() + every
        self._pages: list[tuple[int, Partition, bytes]] = []

    @property
    def seconds_left(self) -> float:
        """Until there is something to ask."""
        return 0.0 if self._pages else max(0.0, self._next_at - time.monotonic())

    def call(self) -> Call[list[tuple[bytes, bytes]]] | None:
        """The next page to ask for, if it is time."""
        if not self._pages and self.seconds_left == 0.0:
            self._next_at = time.monotonic() + self._every
            self._pages = [(place, partition, b"") for place, partition in self._places]
        if not self._pages:
            return None
        _, partition, after = self._pages[-1]
        return holds(partition, self._process, after)

    def answered(self, answer: Any, known: Callable[[bytes], bool]) -> list[Claim]:
        """The page has come: pairs of id and token, or an error, which leaves it for the next time.

        Returns:
            What this process does not know that it holds.
        """
        place, partition, _ = self._pages.pop()
        if isinstance(answer, QuaffError):
            return []
        if len(answer) == BATCH:
            self._pages.append((place, partition, answer[-1][0]))
        return [Claim(place, partition, Lease(id, b"", token)) for id, token in answer if not known(token)]
