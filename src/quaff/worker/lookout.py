"""When which queue is asked: when a token comes, and by the clock where none does.

A token is a hint that a queue has work; one wakes one process. Whoever takes it either claims or passes it on.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quaff.store.faults import NoAnswer
from quaff.store.keys import Partition
from quaff.store.link import Link
from quaff.store.transitions import Claimed

log = logging.getLogger("quaff.worker")

#: Seconds between two looks when no token came; a lost token costs this much.
_POLL = 5.0
#: Where tokens do not reach us: because the server will not let us wait, or we wait for those of other queues only.
_SHORT_POLL = 0.5
#: How many processes wait for the tokens of one partition. Whenever something comes, the server looks at all who wait
#: for it: a hundred cost it some µs, a thousand 3 ms. The others of a larger crowd ask by the clock, each in its time,
#: and are so many that one of them always comes soon.
LISTENERS = 64
#: Under load, when nobody has time to wait: how soon a queue found empty is looked at again, so that their order holds.
_LOOK_AGAIN = 0.05


@dataclass(slots=True, eq=False)
class Line:
    """One partition as this process sees it.

    Attributes:
        kinds: which runners its jobs need, as the application has it.
        batch: where all of the queue's tasks are batch tasks, how many jobs the largest takes; else 0.
        weight: how many turns it has while others have one; credit: what it has saved towards the next one.
        number: of the last claim.
        look_at: monotonic time of the next look; again_at: when there is a reason to look, token or not.
        crowd: how many processes serve it, as its last empty answer said; aside_until: monotonic time until which the
            tokens are left to others of a large one.
        for_slots: what waits there must start at once, so there is no use in asking without a free slot.
        trouble: its last answer was an error, and the log says so.
    """

    place: int
    partition: Partition
    kinds: frozenset[str]
    weight: int = 1
    batch: int = 0
    credit: int = 0
    number: int = 0
    look_at: float = 0.0
    again_at: float = float("inf")
    crowd: int = 0
    aside_until: float = 0.0
    for_slots: bool = False
    trouble: bool = False

    def rest(self, seconds: float) -> None:
        """Look again so many seconds from now, or sooner where there is a reason."""
        self.look_at = min(time.monotonic() + seconds, self.again_at)


class Lookout:
    """Decides which line is asked next.

    Args:
        link: the connections of this process.
        lines: what it serves.
        ordered: True: the first line with work is asked first; False: they take turns, by their weights.

    Attributes:
        token: the line whose token was taken and neither used nor passed on yet.
    """

    def __init__(self, link: Link, lines: Sequence[Line], *, ordered: bool) -> None:
        self._link = link
        self._ordered = ordered
        self._by_key = {line.partition.key("wake"): line for line in lines}
        self._listening_to: Sequence[Line] = ()
        self._deaf_until = 0.0
        self._deaf = False
        self.lines = lines
        self.token: Line | None = None

    def next(self, room: Callable[[Line], int]) -> tuple[Line, int] | None:
        """The line to ask now and for how many jobs, if there is one with room for them."""
        now = time.monotonic()
        due = ((line, wanted) for line in self.lines if line.look_at <= now and (wanted := room(line)))
        if self._ordered or len(self.lines) == 1:
            return next(due, None)
        able = list(due)
        if not able:
            return None
        # Smooth weighted round-robin: who waits saves up and so comes to its turn, however small its weight.
        for line, _ in able:
            line.credit += line.weight
        chosen = max(able, key=lambda each: each[0].credit)
        chosen[0].credit -= sum(line.weight for line, _ in able)
        return chosen

    def answered(self, line: Line, answer: Claimed) -> None:
        """A line was asked and gave what it has."""
        line.trouble, line.for_slots = False, answer.for_slots
        if not answer.leases:
            line.crowd = answer.processes
        line.again_at = float("inf") if answer.again_ms is None else time.monotonic() + answer.again_ms / 1000
        if answer.empty_yourself or not answer.left:
            away = self._link.listening or self._deaf
            told = line in self._listening_to or (away and line.crowd > LISTENERS)
            line.rest(_POLL if told else _SHORT_POLL if away else _LOOK_AGAIN)

    @staticmethod
    def put_off(line: Line, error: Exception) -> None:
        """A line gave an error that trying again does not mend: the others go on."""
        if not line.trouble:
            log.error("queue %s: %s; asking it every %g s", line.partition.queue, error, _POLL)
        line.trouble = True
        line.look_at = time.monotonic() + _POLL

    def listen(self, lines: Sequence[Line]) -> int:
        """Wait for tokens of these lines; the descriptor that becomes readable, -1 if there is nothing to wait for."""
        now = time.monotonic()
        try:
            if self._link.listening:
                return self._link.descriptor()
            if not lines or now < self._deaf_until or any(line.look_at <= now for line in lines):
                return -1
            poll = _POLL if len(lines) == len(self.lines) else _SHORT_POLL
            lines = self._not_aside(lines, now)
            if not lines:
                return -1
            descriptor = self._link.listen([line.partition.key("wake") for line in lines], poll)
        except NoAnswer as error:
            self._no_tokens(error)
            return -1
        self._listening_to = lines
        # From here on a token tells; until one comes there is no need to look.
        for line in lines:
            line.rest(_POLL * random.uniform(0.8, 1.0))
        return descriptor

    @staticmethod
    def _not_aside(lines: Sequence[Line], now: float) -> Sequence[Line]:
        """Those whose tokens this process waits for; in a large crowd chance says who does."""
        for line in lines:
            if line.crowd > LISTENERS and line.aside_until <= now and random.random() > LISTENERS / line.crowd:
                line.rest(_POLL * random.uniform(0.8, 1.0))
                line.aside_until = line.look_at
        return [line for line in lines if line.aside_until <= now]

    def wait_for(self, lines: Sequence[Line]) -> float:
        """Seconds until the first of these lines is to be looked at."""
        now = time.monotonic()
        return max(0.0, min((line.look_at - now for line in lines), default=float("inf")))

    def heard(self) -> None:
        """Read the token that came, if it was one."""
        self._listening_to = ()
        try:
            key = self._link.heard()
        except NoAnswer as error:
            self._no_tokens(error)
            return
        self._deaf = False
        line = self._by_key.get(key) if key else None
        if line is not None:
            line.look_at = 0.0
            self.token = line

    def hang_up(self) -> None:
        """Take no more tokens."""
        self._listening_to = ()
        self._link.hang_up()

    def _no_tokens(self, error: NoAnswer) -> None:
        """Nobody wakes us: look at every line now and then, and try to listen again."""
        if not self._deaf:
            log.warning("%s; asking for jobs every %g s until it can wake us", error, _SHORT_POLL)
        self._deaf = True
        self._listening_to = ()
        self._deaf_until = time.monotonic() + _SHORT_POLL * random.uniform(0.8, 1.2)
        for line in self.lines:
            line.look_at = min(line.look_at, self._deaf_until)
