"""Gathers finished attempts and turns them into settles. What is not answered stays here and is sent again."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from quaff.errors import QuaffError
from quaff.model import message
from quaff.model.spread import Spread
from quaff.store.keys import Partition
from quaff.store.transitions import PORTION, Call, Ending, Verdict, settle
from quaff.worker.holdings import LATER
from quaff.worker.prefetch import PATIENCE
from quaff.worker.ready import Claim, Finished
from quaff.worker.starts import Starts
from quaff.worker.tally import Tally

log: logging.Logger = logging.getLogger("quaff.worker")

_TAKEN = (Verdict.OK, Verdict.ALREADY)
_REFUSED = (Verdict.FENCED, Verdict.GONE)
#: A queue's attempts in one settle, and its answer.
_Answered = tuple[Partition, list[Finished], "list[Verdict] | QuaffError"]

#: Seconds that finished attempts wait for company: as long as a round trip takes, at least and at most.
_FLUSH, _FLUSH_MOST = 0.002, 0.02
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
        self._sent: list[tuple[Partition, list[Finished]]] = []
        self._answers: list[_Answered] = []
        self._later: dict[Partition, float] = {}
        self.finished: deque[Finished] = deque()
        self.wake_at: int = 1
        self.sleeping: bool = False
        self.read_end: int
        self.read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()

    def fall_asleep(self, longest: float, waiting: int, trip: float) -> float:
        """Tiny jobs are settled in company, long ones at once: how many seconds the fetcher may sleep before it looks.

        Args:
            longest: at most that long.
            waiting: so many jobs have not begun, so there is company to come.
            trip: seconds that a round trip takes.
        """
        enough = waiting // 2
        self.wake_at = max(1, enough)
        if waiting:
            longest = min(longest, min(_FLUSH_MOST, max(_FLUSH, trip)) if enough > 1 else PATIENCE)
        self.sleeping = True
        # Now that whoever comes last would wake it: were they there already?
        return 0.0 if len(self.finished) >= self.wake_at else longest

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
        return sum(map(len, self._lists()))

    def _lists(self) -> Iterator[list[Finished]]:
        yield from self._unsettled.values()
        yield from (finished for _, finished in self._sent)
        yield from (finished for _, finished, _ in self._answers)

    @property
    def pending(self) -> bool:
        """True if something is not settled, or its settle's answer was not looked at yet."""
        return bool(self._unsettled or self._sent or self._answers)

    def __contains__(self, token: bytes) -> bool:
        return any(finished.claim.lease.token == token for each in self._lists() for finished in each)

    def refused(self, partition: Partition) -> bool:
        """True while this queue does not take what has ended."""
        return partition in self._later

    def calls(self) -> list[Call[Any]]:
        """Settles for what waits, at most one batch a partition; ``answered`` has to follow, or they are sent again."""
        self._put_back(self._sent)
        calls: list[Call[Any]] = []
        self._sent = []
        now = time.monotonic()
        for partition, waiting in [*self._unsettled.items()]:
            if self._later and self._later.get(partition, 0.0) > now:
                continue
            items: list[Ending] = []
            size = 0
            for finished in waiting[:PORTION]:
                if finished.speaker is not None and not finished.speaker.heard:
                    break
                size += len(finished.settled.record)
                if items and size > _BYTES:
                    break
                items.append(ending(finished, self._partitions))
            if items:
                calls.append(settle(partition, process=self._process, window_ms=self._window_ms, items=items))
                self._sent.append((partition, waiting[: len(items)]))
                del waiting[: len(items)]
                if not waiting:
                    del self._unsettled[partition]
        return calls

    def _put_back(self, several: Iterable[tuple[Partition, list[Finished]]]) -> None:
        for partition, finished in several:
            if finished:
                self._unsettled[partition] = finished + self._unsettled.get(partition, [])

    def answered(self, verdicts: Sequence[list[Verdict] | QuaffError]) -> None:
        """The answers to ``calls()``, for ``account``."""
        self._answers += [(*sent, answer) for sent, answer in zip(self._sent, verdicts, strict=True)]
        self._sent = []

    @property
    def answers(self) -> bool:
        """True if there are answers for ``account``."""
        return bool(self._answers)

    def account(self) -> list[tuple[Claim, Verdict]]:
        """Look at the answers: what they cover is done; an error, or a LATER, leaves it for later.

        Returns:
            What was refused, and how.
        """
        refused: list[tuple[Claim, Verdict]] = []
        for partition, sent, verdicts in self._answers:
            if isinstance(verdicts, QuaffError):
                log.error("queue %s: %s; results are kept here until it takes them", partition.queue, verdicts)
                self._later[partition] = time.monotonic() + LATER
                self._put_back([(partition, sent)])
                continue
            self._later.pop(partition, None)
            ends = [*zip(sent, verdicts, strict=True)]
            self._put_back([(partition, [finished for finished, verdict in ends if verdict is Verdict.LATER])])
            done = [finished.claim.lease.token for finished, verdict in ends if verdict is not Verdict.LATER]
            self._starts.settled(done)
            if self._tally is not None:
                self._tally.add(partition, [finished for finished, verdict in ends if verdict in _TAKEN])
            refused += [(finished.claim, verdict) for finished, verdict in ends if verdict in _REFUSED]
        self._answers = []
        return refused

    def drain_wakeups(self) -> None:
        """Empty the pipe that woke the fetcher."""
        os.read(self.read_end, 4096)


def ending(finished: Finished, partitions: Spread) -> Ending:
    """How a job's attempt ended, as its settle says it."""
    lease, settled = finished.claim.lease, finished.settled
    beside = _beside(finished, partitions)
    return Ending(lease.id, lease.token, settled.state, settled.ttl_ms, beside, settled.record)


def _beside(finished: Finished, partitions: Spread) -> bytes:
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
