"""What this process counts of the attempts that the server has taken, told to it every second or so."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from quaff.model import message
from quaff.model.counts import add, merge
from quaff.model.states import JobState
from quaff.store.faults import NoAnswer
from quaff.store.keys import Partition
from quaff.store.tallies import Failed, ended, tally
from quaff.store.transitions import Call
from quaff.worker.ready import Finished

#: Seconds between two tallies of a busy process.
_EVERY = 1.0
#: Jobs of one tally that are listed one by one; its tasks and kinds of failures, beyond which none is told apart.
_LISTED, _TASKS, _KINDS = 50, 200, 50
_TEXT = 300

Tell = Callable[[dict[str, dict[str, dict[str, int]]]], None]


class _Page:
    """What was counted of one partition since the last tally."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, int]] = {}
        self.failures: dict[bytes, Failed] = {}
        self.listed: deque[tuple[Finished, int]] = deque(maxlen=_LISTED)


class Tally:
    """Counts for screens; nothing depends on it.

    A tally that is not answered is sent again as it is, and counts once. What a process has not told when it is killed
    is lost: the counters of ``Queue.stats`` are exact, these are not.

    Args:
        process: this process's id.
        stored: the server is told, for screens.
        tell: told the same once, by queue and task; None: nobody is.
    """

    def __init__(self, process: bytes, *, stored: bool = True, tell: Tell | None = None) -> None:
        self._process = process
        self._stored, self._tell = stored, tell
        self._pages: dict[Partition, _Page] = {}
        self._open: dict[Partition, Call[bool]] = {}
        self._sent: list[Partition] = []
        self._number = 0
        self._last = 0.0

    def add(self, partition: Partition, ended: Sequence[Finished]) -> None:
        """The server knows how these attempts ended."""
        if not ended:
            return
        page = self._pages.get(partition)
        if page is None:
            page = self._pages[partition] = _Page()
        now_ms = time.time_ns() // 1_000_000
        for finished in ended:
            state, kept = finished.settled.state, len(finished.settled.record)
            if finished.speaker is not None:
                kept += finished.speaker.size
            sent = len(finished.claim.lease.message)
            numbers = page.tasks.get(finished.task)
            if numbers is None:
                # What cannot be understood has no task, and counts among all.
                numbers = page.tasks.setdefault(finished.task if len(page.tasks) < _TASKS else "", {})
            add(numbers, state, finished.seconds, finished.waited, kept, sent, finished.memory)
            if state is JobState.SUCCEEDED:
                page.listed.append((finished, now_ms))
            elif finished.failure is not None:
                _add_failure(page.failures, finished)

    @property
    def seconds_left(self) -> float:
        """Until there is something to tell."""
        return max(0.0, self._last + _EVERY - time.monotonic()) if self._pages or self._open else float("inf")

    def calls(self, *, now: bool = False) -> list[Call[Any]]:
        """What is to be told, if it is time; ``answered`` has to follow."""
        self._sent = []
        if not now and self.seconds_left > 0:
            return []
        self._last = time.monotonic()
        for partition in [partition for partition in self._pages if partition not in self._open]:
            page = self._pages.pop(partition)
            if self._tell is not None:
                self._tell({partition.queue: page.tasks})
            if self._stored:
                self._number += 1
                self._open[partition] = self._call(partition, page)
        self._sent = [*self._open]
        return [*self._open.values()]

    def _call(self, partition: Partition, page: _Page) -> Call[bool]:
        return tally(
            partition,
            process=self._process,
            number=self._number,
            tasks={**page.tasks, "": merge(page.tasks.values())},
            failures=[*page.failures.values()],
            recent=[_listed(finished, at) for finished, at in page.listed if _at_home(finished)],
        )

    def answered(self, answers: Sequence[Any]) -> None:
        """The answers to ``calls()``. One that no retry mends is given up: it is nothing but numbers."""
        for partition, answer in zip(self._sent, answers, strict=True):
            if not isinstance(answer, NoAnswer):
                self._open.pop(partition, None)
        self._sent = []


def _at_home(finished: Finished) -> bool:
    return message.origin(finished.claim.lease.message) is None


def _listed(finished: Finished, at: int) -> bytes:
    return ended(finished.claim.lease.id, at, finished.task, finished.waited, finished.seconds)


def _add_failure(failures: dict[bytes, Failed], finished: Finished) -> None:
    failure, frame = finished.failure, finished.frame
    assert failure is not None
    name = failure.type or failure.reason
    kind = hashlib.blake2b(f"{finished.task}\0{name}\0{frame}".encode(), digest_size=8).hexdigest().encode()
    before = failures.get(kind)
    if before is None and len(failures) >= _KINDS:
        return
    what = (finished.task, failure.reason, name[:_TEXT], frame[:_TEXT], failure.message[:_TEXT])
    failures[kind] = Failed(
        kind,
        1 + (before.attempts if before else 0),
        (finished.settled.state is JobState.FAILED) + (before.given_up if before else 0),
        msgspec.json.encode(what).decode(),
        finished.claim.id,
    )
