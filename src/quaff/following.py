"""What happens to one job, look after look: what is new each time. A look comes after a hint, not after a while."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any, TypeAlias

from quaff.errors import JobNotFound, ResultTimeout, StreamGap, StreamRestarted
from quaff.model import codec, outcome, progress
from quaff.model.events import Event, read_line
from quaff.model.ids import JobId
from quaff.model.progress import Progress
from quaff.model.states import JobState
from quaff.model.tail import Page
from quaff.model.times import instant
from quaff.store.keys import partition
from quaff.store.listener import Listener
from quaff.store.queries import EVENTS, VALUES, Followed, follow, on_the_way
from quaff.store.transitions import Call
from quaff.waiting import FIRST_LOOK, LAST_LOOK, LOOK_ANYWAY, TOLD_FOR, News

Looks: TypeAlias = Generator[Call[Any] | float | list[Any], Any, None]


class Following:
    """One job, and what somebody wants to know of it.

    Args:
        listener: of this process.
        namespace: of the application.
        id: the job's.
        until: monotonic seconds at which time is up.
        timeout: what was said about that, for the error.
    """

    def __init__(self, listener: Listener, namespace: str, id: JobId, until: float, timeout: float | None) -> None:
        self._listener = listener
        self._namespace = namespace
        self._id = id
        #: The next line, by where the job runs.
        self._lines: dict[JobId, int] = {}
        self._heard_at: set[JobId] = set()
        self._until = until
        self._timeout = timeout
        self._pause = FIRST_LOOK
        self._looked_at = 0.0

    def look(self, at: JobId, what: bytes, position: int) -> Generator[Any, Any, Followed]:
        """Ask the server; raises JobNotFound."""
        home = partition(self._namespace, at.queue, at.partition)
        found: Followed | None = yield follow(home, at.raw, what, position, lasts_ms=TOLD_FOR)
        if found is None:
            raise unknown(str(self._id))
        return found

    def events(self, news: News, every: float | None) -> Looks:
        """Lists of events, the last one with the end; see ``Job.watch``."""
        with ExitStack() as hearing:
            self._hear(self._id, EVENTS, hearing, news)
            seen = _Seen()
            told_at = time.monotonic()
            while True:
                sure = self._sure(news)
                found = yield from self.look(self._id, EVENTS, self._lines.get(self._id, 0))
                at = self._id
                if found.away is not None:
                    there = found.away
                    sure = not self._hear(there, EVENTS, hearing, news) and sure
                    try:
                        found = on_the_way((yield from self.look(there, EVENTS, self._lines.get(there, 0))))
                        at = there
                    except JobNotFound:
                        pass  # it is not there yet
                if found.page.items:
                    self._lines[at] = found.page.items[-1][0] + 1
                events = seen.new(found)
                if not events and every is not None and time.monotonic() >= told_at + every:
                    events = [seen.state(found)]
                if events:
                    told_at = time.monotonic()
                    yield events
                if not found.page.all:
                    continue
                if seen.ended:
                    return
                yield self._wait(sure, None if every is None else told_at + every)

    def values(self, news: News, position: int) -> Looks:
        """Lists of ``(position, label, bytes)`` of values from a position on, until the job has ended."""
        with ExitStack() as hearing:
            self._hear(self._id, VALUES, hearing, news)
            while True:
                sure = self._sure(news)
                found = yield from self.look(self._id, VALUES, position)
                if found.away is not None:
                    raise StreamGap(
                        f"job {self._id} runs in the queue {found.away.queue} and not in its own, so its values cannot "
                        "be streamed. Send such a job to the queue where it is to run.",
                        str(self._id),
                        position,
                    )
                page = found.page
                position = self._next(page, position)
                if page.items:
                    position = page.items[-1][0] + 1
                    yield [(at, page.label, data) for at, data in page.items]
                if not page.all:
                    continue
                if found.state.terminal:
                    return
                yield self._wait(sure)

    def _hear(self, at: JobId, what: bytes, hearing: ExitStack, news: News) -> bool:
        """Hear of the job there, too; False if that is so already."""
        if at in self._heard_at:
            return False
        self._heard_at.add(at)
        channel = partition(self._namespace, at.queue, at.partition).key("followed")
        hearing.enter_context(self._listener.hearing(channel, (at.raw + what,), news))
        return True

    def _next(self, page: Page, position: int) -> int:
        """The position of the next value; raises StreamRestarted or StreamGap where it is not the wanted one."""
        if page == Page():
            return position  # nothing was given yet, or nothing is kept any more
        if 0 < position < page.begin:
            raise StreamRestarted(
                f"job {self._id} runs again: what it gave before counts no more, and its values begin anew at "
                f"{page.begin}. Forget them and go on with job.stream(start={page.begin}).",
                str(self._id),
                page.begin,
            )
        wanted, first = max(position, page.begin), page.items[0][0] if page.items else page.next
        if first != wanted:
            raise StreamGap(
                f"value {wanted} of job {self._id} is not kept: the next one is {first}. Go on with "
                f"job.stream(start={first}), and read sooner or give less.",
                str(self._id),
                first,
            )
        return wanted

    def _sure(self, news: News) -> bool:
        """Whether what happens after the look that comes now is heard."""
        news.take()
        self._looked_at = time.monotonic()
        channels = (partition(self._namespace, at.queue, at.partition).key("followed") for at in self._heard_at)
        return self._listener.channels.issuperset(channels)

    def _wait(self, sure: bool, at: float | None = None) -> float:
        """Seconds until the next look, if nothing is heard; raises ResultTimeout."""
        now = time.monotonic()
        if now >= self._until:
            raise ResultTimeout(f"job {self._id} had not ended after {self._timeout:g} s; it goes on.", str(self._id))
        # From the look on: whoever took long over what it found may be told no more.
        look_at = self._looked_at + (LOOK_ANYWAY if sure else self._pause)
        self._pause = min(self._pause * 1.5, LAST_LOOK)
        return max(0.0, min(self._until, look_at, float("inf") if at is None else at) - now)


class _Seen:
    """What is known of a job already."""

    def __init__(self) -> None:
        self.ended = False
        self._state: JobState | None = None
        self._attempt = 0
        self._progress = b""

    def new(self, found: Followed) -> list[Event]:
        """What is new, in the order in which it happened as far as that is known."""
        events: list[Event] = []
        # On its way home it has no attempt.
        moved = found.state is not self._state or found.attempt not in (0, self._attempt)
        if moved and not found.state.terminal:
            self._state, self._attempt, self._progress = found.state, found.attempt, b""
            events.append(self.state(found))
        at = instant(found.now_ms)
        for position, data in found.page.items:
            line = read_line(position, data)
            events.append(Event("log", line.at, found.state, found.attempt, log=line))
        said = _last_word(found)
        if said is not None and progress.encode(said) != self._progress:
            self._progress = progress.encode(said)
            events.append(Event("progress", at, found.state, found.attempt, progress=said))
        if found.state.terminal and found.page.all:
            self.ended = True
            events.append(self.state(found))
        return events

    @staticmethod
    def state(found: Followed) -> Event:
        return Event("state", instant(found.now_ms), found.state, found.attempt)


def _last_word(found: Followed) -> Progress | None:
    if found.record:
        return outcome.read(found.record).attempt.progress
    return codec.readable(progress.decode, found.progress, None)


def unknown(id: str) -> JobNotFound:
    """Nobody knows a job of that id."""
    return JobNotFound(
        f"job {id} is not known: it never was, the quaff.batch() block or the database transaction that sends it has "
        "not ended, or its record and tombstone are gone.",
        id,
    )
