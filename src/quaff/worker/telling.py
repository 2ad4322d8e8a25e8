"""What running attempts say of themselves, on its way to the server: a few times a second, whatever they say."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from quaff.context import Attempt
from quaff.errors import QuaffError
from quaff.model import progress
from quaff.model.tail import VALUES, Packet
from quaff.store.faults import NoAnswer
from quaff.store.keys import Partition, partition
from quaff.store.steps import step
from quaff.store.transitions import BATCH, STEP, Call, append, note

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds between two calls: for progress and lines, and for values, on which somebody waits.
_EVERY, _EVERY_VALUES = 0.2, 0.05
#: Seconds until what a node has not answered is sent again.
_AGAIN = 0.5
#: Bytes in one turn, and in one script.
_TURN_BYTES, _CALL_BYTES = 4 * 1024 * 1024, 512 * 1024


class _Line:
    """Attempts that have news, heard at most so often; ``rung``: whoever hears them has been woken for some."""

    def __init__(self, every: float) -> None:
        self._every = every
        self.news: deque[Attempt] = deque()
        self.next_at = 0.0
        self.rung = False

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.next_at - time.monotonic()) if self.news else float("inf")

    def listen(self) -> None:
        """Before one looks whether there are any: whoever has news after none wakes."""
        if not self.news:
            self.rung = False

    def due(self) -> int:
        """How many to hear now."""
        if self.seconds_left > 0:
            return 0
        self.next_at = time.monotonic() + self._every
        self.rung = False  # before they are counted
        return min(BATCH, len(self.news))


class Telling:
    """The news of one process.

    Args:
        namespace: of the application.
        wake: called, from any thread, when there is news after none.
    """

    def __init__(self, namespace: str, wake: Callable[[], None]) -> None:
        self._namespace = namespace
        self._wake = wake
        self._slow, self._quick = _Line(_EVERY), _Line(_EVERY_VALUES)
        self._last_words: deque[Attempt] = deque()
        self._calls: list[Call[Any]] = []
        self._leaving: list[Attempt] = []
        self._refused = False
        self._again_at = 0.0

    def tell(self, attempt: Attempt) -> None:
        """An attempt has something to say; from any thread, once until it was heard, and when it has ended."""
        if attempt.ended:
            self._last_words.append(attempt)
            return
        values = attempt.said.get(VALUES)
        line = self._quick if values else self._slow
        line.news.append(attempt)
        full = values is not None and values.full
        if full:
            line.next_at = 0.0
        # Not by their number: of two who add at the same time neither sees its own alone.
        if full or not line.rung:
            line.rung = True
            self._wake()

    @property
    def seconds_left(self) -> float:
        """Until there is something to send; infinite if nobody has said anything."""
        if self._calls:
            return max(0.0, self._again_at - time.monotonic())
        return 0.0 if self._last_words else min(self._slow.seconds_left, self._quick.seconds_left)

    def calls(self) -> list[Call[Any]]:
        """What to send now; the same again until it was answered."""
        if self._calls and self.seconds_left > 0:
            return []
        self._quick.listen()
        self._slow.listen()
        if self._calls or not (self._last_words or self._slow.news or self._quick.news):
            return self._calls
        room = _TURN_BYTES
        notes: dict[Partition, list[tuple[bytes, bytes, bytes]]] = {}
        packets: dict[Partition, list[tuple[bytes, bytes, Packet]]] = {}
        cursors: dict[Partition, list[tuple[bytes, bytes, bytes]]] = {}
        while self._last_words and room > 0:
            attempt = self._last_words.popleft()
            self._leaving.append(attempt)
            room -= self._hear(attempt, packets) + self._take_cursors(attempt, cursors)
        for line in (self._quick, self._slow):
            for _ in range(line.due()):
                if room <= 0:
                    line.next_at = 0.0  # the rest at once, in the next turn
                    break
                attempt = line.news.popleft()
                # In this order: what is said from here on is news again.
                attempt.told = False
                room -= self._hear(attempt, packets) + self._take_cursors(attempt, cursors)
                said = attempt.progress
                if said is not None and said is not attempt.noted and not attempt.ended:
                    attempt.noted = said
                    item = (attempt.raw, attempt.token, progress.encode(said))
                    notes.setdefault(self._home(attempt), []).append(item)
        self._calls = [note(home, items) for home, items in notes.items()]
        self._calls += [append(home, some) for home, items in packets.items() for some in _portions(items)]
        self._calls += [
            step(home, items[at : at + BATCH]) for home, items in cursors.items() for at in range(0, len(items), BATCH)
        ]
        if not self._calls:
            self._heard()
        return self._calls

    def answered(self, answers: Sequence[Any]) -> None:
        """The answers to ``calls()``: what the server refuses is dropped; jobs count more than what they say.

        What was for a node that is away is sent again, and what is said next waits for it.
        """
        if not answers:
            return  # none were sent: there is nothing to say, or its node is given some time
        away = [call for call, answer in zip(self._calls, answers, strict=True) if isinstance(answer, NoAnswer)]
        if away:
            self._calls, self._again_at = away, time.monotonic() + _AGAIN
        if away:
            return
        refused = next((answer for answer in answers if isinstance(answer, QuaffError)), None)
        # Said once: it may go on, many times a second.
        if refused is not None and not self._refused:
            log.error("progress, lines or values of jobs are lost: %s", refused)
        self._refused = refused is not None
        self._calls = []
        self._heard()

    def _heard(self) -> None:
        for attempt in self._leaving:
            attempt.heard = True
        self._leaving = []

    def _home(self, attempt: Attempt) -> Partition:
        return partition(self._namespace, attempt.queue, attempt.partition)

    def _hear(self, attempt: Attempt, packets: dict[Partition, list[tuple[bytes, bytes, Packet]]]) -> int:
        """Take what an attempt has said; how many bytes it is."""
        size = 0
        for outgoing in list(attempt.said.values()):
            for packet in outgoing.take():
                size += len(packet.data)
                packets.setdefault(self._home(attempt), []).append((attempt.raw, attempt.token, packet))
        attempt.size += size
        return size

    def _take_cursors(self, attempt: Attempt, cursors: dict[Partition, list[tuple[bytes, bytes, bytes]]]) -> int:
        """Take how far its iterations have come; how many bytes that is."""
        size = 0
        for name in list(attempt.cursors):
            cursor = attempt.cursors.pop(name)
            size += len(cursor)
            cursors.setdefault(self._home(attempt), []).append((attempt.raw, attempt.token, cursor))
        return size


def _portions(items: list[tuple[bytes, bytes, Packet]]) -> list[list[tuple[bytes, bytes, Packet]]]:
    """Packets in portions that one script takes."""
    portions: list[list[Any]] = [[]]
    size = 0
    for item in items:
        size += len(item[2].data)
        if portions[-1] and (size > _CALL_BYTES or len(portions[-1]) == STEP):
            portions.append([])
            size = len(item[2].data)
        portions[-1].append(item)
    return portions
