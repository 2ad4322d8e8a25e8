"""Gathers finished attempts and turns them into settles. What is not answered stays here and is sent again."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from quaff.errors import QuaffError
from quaff.model import message
from quaff.model.spread import Spread
from quaff.model.states import JobState
from quaff.store.keys import Partition
from quaff.store.transitions import PORTION, Call, Verdict, settle
from quaff.worker.holdings import LATER
from quaff.worker.ready import Claim, Finished
from quaff.worker.starts import Starts
from quaff.worker.tally import Tally

log = logging.getLogger("quaff.worker")

#: Bytes of records in one settle, for the server's sake.
_BYTES = 4 * 1024 * 1024


class Completer:
    """The finished attempts of one process.

    Args:
        process: this process's id.
        window_ms: how long tombstones last.
        starts: the records of what had begun here; each is kept until the server has the outcome.
        tally: counts what the server has taken; None: nobody does.
    """

    def __init__(
        self, process: bytes, window_ms: int, starts: Starts, partitions: Spread, tally: Tally | None = None
    ) -> None:
        self._process = process
        self._partitions = partitions
        self._window_ms = window_ms
        self._starts = starts
        self._tally = tally
        self._unsettled: dict[Partition, list[Finished]] = {}
        self._sent: list[tuple[Partition, int]] = []
        self._later: dict[Partition, float] = {}
        self.finished: deque[Finished] = deque()
        self.wake_at = 1
        self.sleeping = False
        self.read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()

    def report(self, finished: Finished) -> None:
        """An attempt ended; from any thread. Wakes the fetcher if it sleeps and enough has come together."""
        self.finished.append(finished)
        if self.sleeping and len(self.finished) >= self.wake_at:
            self.sleeping = False
            os.write(self._write_end, b"!")

    def wake(self) -> None:
        """Have the fetcher take a turn; from any thread."""
        try:
            os.write(self._write_end, b"!")
        except BlockingIOError:
            pass  # it will, as it is

    def gather(self) -> list[Finished]:
        """What has finished since the last time; it now waits to be settled."""
        news: list[Finished] = []
        while self.finished:
            finished = self.finished.popleft()
            news.append(finished)
            if finished.fellows:
                news += finished.fellows
        for finished in news:
            self._unsettled.setdefault(finished.claim.partition, []).append(finished)
        return news

    def __len__(self) -> int:
        return sum(map(len, self._unsettled.values()))

    @property
    def pending(self) -> bool:
        """True if something waits to be settled."""
        return bool(self._unsettled)

    def __contains__(self, token: bytes) -> bool:
        waiting = (finished for each in self._unsettled.values() for finished in each)
        return any(finished.claim.lease.token == token for finished in waiting)

    def refused(self, partition: Partition) -> bool:
        """True while this queue does not take what has ended."""
        return partition in self._later

    def calls(self) -> list[Call[Any]]:
        """Settles for what waits, at most one batch a partition."""
        calls: list[Call[Any]] = []
        self._sent = []
        now = time.monotonic()
        for partition, waiting in self._unsettled.items():
            if self._later and self._later.get(partition, 0.0) > now:
                continue
            items: list[tuple[bytes, bytes, JobState, int, bytes, bytes]] = []
            size = 0
            for finished in waiting[:PORTION]:
                if finished.speaker is not None and not finished.speaker.heard:
                    break
                lease, settled = finished.claim.lease, finished.settled
                size += len(settled.record)
                if items and size > _BYTES:
                    break
                items.append(
                    (
                        lease.id,
                        lease.token,
                        settled.state,
                        settled.ttl_ms,
                        beside(finished, self._partitions),
                        settled.record,
                    )
                )
            if items:
                calls.append(settle(partition, process=self._process, window_ms=self._window_ms, items=items))
                self._sent.append((partition, len(items)))
        return calls

    def answered(self, verdicts: Sequence[list[Verdict] | QuaffError]) -> list[tuple[Claim, Verdict]]:
        """The answers to ``calls()``: what they cover is done; an error, or a LATER, leaves it for later.

        Returns:
            What was refused, and how.
        """
        refused: list[tuple[Claim, Verdict]] = []
        for (partition, count), answers in zip(self._sent, verdicts, strict=True):
            if isinstance(answers, QuaffError):
                log.error("queue %s: %s; results are kept here until it takes them", partition.queue, answers)
                self._later[partition] = time.monotonic() + LATER
                continue
            self._later.pop(partition, None)
            waiting = self._unsettled[partition]
            refused += [
                (finished.claim, verdict)
                for finished, verdict in zip(waiting, answers, strict=False)
                if verdict is Verdict.FENCED or verdict is Verdict.GONE
            ]
            left = []
            for finished, verdict in zip(waiting, answers, strict=False):
                if verdict is Verdict.LATER:
                    left.append(finished)
                else:
                    self._starts.settled(finished.claim.lease.token)
                    if self._tally is not None and verdict <= Verdict.ALREADY:
                        self._tally.add(finished)
            waiting[:count] = left
            if not waiting:
                del self._unsettled[partition]
        self._sent = []
        return refused

    def drain_wakeups(self) -> None:
        """Empty the pipe that woke the fetcher."""
        os.read(self.read_end, 4096)


def beside(finished: Finished, partitions: Spread) -> bytes:
    """Beside the record: of a job that comes back its priority and place, or what it waits for; else its digest."""
    settled = finished.settled
    if settled.state.terminal:
        return message.digest(finished.claim.lease.message)
    if settled.step:
        return settled.step
    priority = b"" if settled.priority is None else b"%d" % settled.priority
    if settled.queue is None:
        return priority
    home = finished.claim.where.job
    to = home if settled.queue == home.queue else partitions.home(settled.queue, home.raw)
    return b"%b %b#%d" % (priority, to.queue.encode(), to.partition)
