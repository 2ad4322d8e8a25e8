"""When which queue is asked: when a token comes, and by the clock where none does.

A token is a hint that a queue has work; one wakes one process. Whoever takes it either claims or passes it on.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from quaff.store.bell import Bell
from quaff.store.faults import NoAnswer
from quaff.store.link import Link
from quaff.store.transitions import Claimed
from quaff.worker.line import Asked, Line

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds between two looks when no token came; a lost token costs this much.
_POLL = 5.0
#: Where tokens do not reach us: because the server will not let us wait, or we wait for those of other queues only.
_SHORT_POLL = 0.5
#: How many processes wait for the tokens of one partition. Whenever something comes, the server looks at all who wait
#: for it: a hundred cost it some µs, a thousand 3 ms. The others of a larger crowd ask by the clock, each in its time,
#: and are so many that one of them always comes soon.
LISTENERS = 64
#: Under load, when nobody has time to wait: how soon a queue found empty is looked at again, so that their order holds.
#: But not before all have been looked at, with as much time to spare: where they are many or the server is far, the
#: first one would always be due, the last one never be asked, and nobody ever wait for a token.
_LOOK_AGAIN, _ROUNDS, _LONG = 0.05, 2, 0.2
#: Seconds by which a server may end a wait too late that has nothing else to do: it looks at the clock so often.
_TICK = 0.1


class _Post:
    """What wakes this process for some of its lines: those of one server, or one slot of a cluster."""

    def __init__(self, bell: Bell, lines: Sequence[Line], *, sole: bool) -> None:
        self.bell = bell
        self.lines = lines
        self.sole = sole
        self.listening_to: Sequence[Line] = ()
        self.asked: Asked | None = None
        self.deaf_until = 0.0
        self.deaf = False

    def listen(self, lines: Sequence[Line], now: float) -> int:
        """The descriptor that becomes readable when a token of these lines comes, -1 if there is nothing to wait for.

        Raises:
            NoAnswer: nobody wakes us.
        """
        if self.bell.listening:
            return self.bell.descriptor()
        if not lines or now < self.deaf_until or any(line.look_at <= now for line in lines):
            return -1
        poll = _POLL if len(lines) == len(self.lines) else _SHORT_POLL
        lines = _not_aside(lines, now)
        if not lines:
            return -1
        # From here on a token tells; until one comes there is no need to look. A token that was lost may be meant for
        # a line that was listened to before, so the time counts from its answer.
        looks = [max(line.look_at, line.asked_at + _POLL * random.uniform(0.8, 1.0)) for line in lines]
        looks = [min(at, line.again_at) for line, at in zip(lines, looks, strict=True)]
        if self.sole and looks[0] < lines[0].again_at:
            # A claim that follows is the next look. Of 0 seconds the server would make for ever.
            poll = max(0.001, looks[0] - now)
        descriptor = self.bell.listen([line.partition for line in lines], poll)
        self.listening_to = lines
        for line, at in zip(lines, looks, strict=True):
            line.look_at = at
        return descriptor

    @property
    def takes_claims(self) -> bool:
        """Whether a claim can follow the wait that is on: for the only line there is, and as early as our own look."""
        line, ends_at = self.lines[0], self.bell.ends_at
        in_time = ends_at < line.look_at + _TICK < line.again_at
        return self.sole and self.bell.listening and self.asked is None and in_time

    def follow(self, asked: Asked) -> None:
        """Send a claim behind the wait for a token.

        Raises:
            NoAnswer: as ``Bell.follow``.
        """
        # Until the waiting is over another claim would be one too many.
        self.asked, asked.line.unanswered, asked.line.look_at = asked, True, math.inf
        self.bell.follow(asked.call)

    def heard(self) -> tuple[bytes | None, Asked | None, Any]:
        """What came: the key of a token; and the claim that was sent ahead with its answer, if there is one.

        Raises:
            NoAnswer: as ``Bell.heard``.
        """
        self.listening_to = ()
        key, answer = self.bell.heard()
        self.deaf = False
        asked = self._free()
        return (key, None, None) if isinstance(answer, NoAnswer) else (key, asked, answer)

    def hang_up(self) -> None:
        """Take no more tokens."""
        self.listening_to = ()
        self.bell.hang_up()
        self._free()

    def no_tokens(self) -> bool:
        """Nobody wakes us: look at every line now and then, and try to listen again. True if that is new."""
        new, self.deaf = not self.deaf, True
        self.listening_to = ()
        self.deaf_until = time.monotonic() + _SHORT_POLL * random.uniform(0.8, 1.2)
        for line in self.lines:
            line.look_at = min(line.look_at, self.deaf_until)
        self._free()
        return new

    def _free(self) -> Asked | None:
        """The claim that was sent ahead, if one was: its line is to be asked by the usual way now."""
        asked, self.asked = self.asked, None
        if asked is not None:
            asked.line.look_at = 0.0
        return asked


def _not_aside(lines: Sequence[Line], now: float) -> Sequence[Line]:
    """Those whose tokens this process waits for; in a large crowd chance says who does."""
    for line in lines:
        if line.crowd > LISTENERS and line.aside_until <= now and random.random() > LISTENERS / line.crowd:
            line.rest(_POLL * random.uniform(0.8, 1.0))
            line.aside_until = line.look_at
    return [line for line in lines if line.aside_until <= now]


class Lookout:
    """Decides which line is asked next.

    Args:
        link: the connections of this process.
        lines: what it serves.
        ordered: True: the first line with work is asked first; False: they take turns, by their weights.

    Attributes:
        tokens: the lines whose tokens were taken and neither used nor passed on yet.
    """

    def __init__(self, link: Link, lines: Sequence[Line], *, ordered: bool) -> None:
        self._ordered = ordered
        by_partition = {line.partition: line for line in lines}
        self._posts = [
            _Post(bell, [by_partition[each] for each in partitions], sole=len(lines) == 1)
            for bell, partitions in link.bells([line.partition for line in lines])
        ]
        self._post_of = {line: post for post in self._posts for line in post.lines}
        self._by_key = {line.partition.key("wake"): line for line in lines}
        self._ringing: dict[int, _Post] = {}
        self._chosen: tuple[Line, float] | None = None
        self._look = 0.0  # seconds that one takes
        self.lines = lines
        self.tokens: deque[Line] = deque()

    def next(self, room: Callable[[Line], int]) -> tuple[Line, int] | None:
        """The line to ask now and for how many jobs, if there is one with room for them."""
        now = time.monotonic()
        due = ((line, wanted) for line in self.lines if line.look_at <= now and (wanted := room(line)))
        if len(self.lines) == 1:
            return next(due, None)
        able = list(due)
        if not able:
            return None
        if self._ordered:
            # Between themselves the partitions of the first queue take turns.
            queue = able[0][0].partition.queue
            able = [each for each in able if each[0].partition.queue == queue]
        # Smooth weighted round-robin: who waits saves up and so comes to its turn, however small its weight.
        for line, _ in able:
            line.credit += line.weight
        chosen = max(able, key=lambda each: each[0].credit)
        chosen[0].credit -= sum(line.weight for line, _ in able)
        self._chosen = chosen[0], now
        return chosen

    @property
    def takes_claims(self) -> bool:
        """Whether a claim can be sent ahead, behind the wait for a token."""
        return self._posts[0].takes_claims

    def send_ahead(self, asked: Asked) -> None:
        """Send a claim that the server answers as soon as a token comes, or there is another reason to look."""
        try:
            self._posts[0].follow(asked)
        except NoAnswer as error:
            self._no_tokens(self._posts[0], error)

    def awaits(self, token: bytes) -> bool:
        """Whether a lease with this token may be on its way."""
        return any(line.unanswered and token.startswith(line.claim_id + b".") for line in self.lines)

    def in_doubt(self) -> Line | None:
        """A line of which nobody knows what its last claim got, if it can be asked now."""
        now = time.monotonic()
        return next((line for line in self.lines if line.unanswered and line.look_at <= now), None)

    def answered(self, line: Line, answer: Claimed) -> None:
        """A line was asked and gave what it has."""
        line.trouble, line.for_slots, line.asked_at = False, answer.for_slots, time.monotonic()
        if not answer.leases:
            line.crowd = answer.processes
        line.again_at = float("inf") if answer.again_ms is None else line.asked_at + answer.again_ms / 1000
        chosen, self._chosen = self._chosen, None
        if chosen is not None and chosen[0] is line:
            # Of one that met an outage nothing is learnt for long.
            self._look += (min(line.asked_at - chosen[1], _LONG) - self._look) * 0.1
        if answer.empty_yourself or not answer.left:
            post = self._post_of[line]
            away = post.bell.listening or post.deaf
            told = line in post.listening_to or (away and line.crowd > LISTENERS)
            soon = max(_LOOK_AGAIN, _ROUNDS * len(self.lines) * self._look)
            line.rest(_POLL if told else max(_SHORT_POLL, soon) if away else soon)

    @staticmethod
    def put_off(line: Line, error: Exception) -> None:
        """A line gave an error that trying again does not mend, or its node is away: the others go on."""
        pause = _SHORT_POLL if isinstance(error, NoAnswer) else _POLL
        if not line.trouble:
            log.error("queue %s: %s; asking it every %g s", line.partition.queue, error, pause)
        line.trouble = True
        # Token or not: of what was not answered nobody knows whether there is something, or whose the token was.
        line.look_at = line.again_at = time.monotonic() + pause

    def listen(self, lines: Sequence[Line]) -> list[int]:
        """Wait for tokens of these lines; the descriptors that become readable."""
        now = time.monotonic()
        self._ringing = {}
        for post in self._posts:
            of_post = lines if len(self._posts) == 1 else [line for line in post.lines if line in lines]
            try:
                descriptor = post.listen(of_post, now)
            except NoAnswer as error:
                self._no_tokens(post, error)
            else:
                if descriptor >= 0:
                    self._ringing[descriptor] = post
        return list(self._ringing)

    def wait_for(self, lines: Sequence[Line]) -> float:
        """Seconds until the first of these lines is to be looked at."""
        now = time.monotonic()
        return max(0.0, min((line.look_at - now for line in lines), default=float("inf")))

    def heard(self, readable: Iterable[int]) -> list[tuple[Asked, Any]]:
        """Read the tokens that came on these descriptors, if they were some; what was claimed ahead, and the answer."""
        came: list[tuple[Asked, Any]] = []
        for descriptor in readable:
            post = self._ringing.get(descriptor)
            if post is None:
                continue
            try:
                key, asked, answer = post.heard()
            except NoAnswer as error:
                self._no_tokens(post, error)
                continue
            line = self._by_key.get(key) if key else None
            if asked is not None:
                came.append((asked, answer))
            elif line is not None:
                line.look_at = 0.0
                self.tokens.append(line)
        return came

    def call_off(self) -> None:
        """Have nothing claimed any more that was claimed ahead."""
        for post in self._posts:
            if post.asked is not None:
                post.hang_up()

    def hang_up(self) -> None:
        """Take no more tokens."""
        for post in self._posts:
            post.hang_up()

    def _no_tokens(self, post: _Post, error: NoAnswer) -> None:
        self._ringing = {descriptor: each for descriptor, each in self._ringing.items() if each is not post}
        if post.no_tokens():
            log.warning("%s; asking for jobs every %g s until it can wake us", error, _SHORT_POLL)
