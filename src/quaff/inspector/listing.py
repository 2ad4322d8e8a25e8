"""Pages of jobs: where they are, whether they are meant, and how each is shown. O(page) each, whatever there is."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from quaff.errors import ConfigurationError
from quaff.inspector.homes import Homes
from quaff.inspector.shapes import JobPage, JobRow
from quaff.model import ids, masking, message, outcome
from quaff.model.filters import Filter
from quaff.model.ids import JobId
from quaff.model.message import Message, Where
from quaff.model.outcome import Outcome
from quaff.model.states import BY_LETTER, JobState
from quaff.model.times import instant
from quaff.store.keys import Partition
from quaff.store.tallies import Place, Seen, jobs, read_ended
from quaff.store.transitions import attempt_of

#: The most jobs that one page looks at, and that one call does.
LOOK, CALL = 1000, 250
_TEXT = 300

_WAITS: tuple[Place, ...] = ("solo", "prio", "ready", "backlog", "parked")
#: Where jobs in each state are, in the order in which pages have them.
PLACES: dict[JobState, tuple[Place, ...]] = {
    JobState.RUNNING: ("held",),
    JobState.QUEUED: _WAITS,
    JobState.SCHEDULED: ("sched",),
    JobState.RETRYING: ("sched",),
    JobState.BLOCKED: (),
    JobState.FAILED: ("dead",),
    JobState.CANCELLED: ("called_off",),
    JobState.EXPIRED: ("called_off",),
    JobState.SUCCEEDED: ("recent",),
}


class Stop(NamedTuple):
    """Where a page goes on: the queue, its partition, the places that are left there, the position in the first."""

    queue: str
    number: int
    places: tuple[Place, ...]
    position: bytes = b""

    def follows(self, other: Stop) -> bool:
        """Whether it lies on the way through that one."""
        return self[:2] == other[:2] and self.places[0] in other.places

    def behind(self, place: Place | None, position: bytes) -> Stop:
        """Farther on; None: at the end."""
        left = self.places[self.places.index(place) :] if place else ()
        return self._replace(places=left, position=position)


class Listing:
    """Reads pages of jobs.

    Args:
        homes: whose.
        running: gives when the running jobs of a queue began, by their id; asked where a page has any.
    """

    def __init__(self, homes: Homes, running: Callable[[str], Mapping[str, datetime]]) -> None:
        self._homes = homes
        self._running = running

    def page(self, wanted: Filter, limit: int, cursor: str | None) -> JobPage:
        """See ``Inspector.jobs``."""
        route = self._route(wanted)
        if cursor:
            stop = _stop_of(cursor)
            here = next((at for at, each in enumerate(route) if stop.follows(each)), None)
            if here is None:
                raise ConfigurationError("the cursor is not of this filter: begin with the first page.")
            places = route[here].places
            route = [stop._replace(places=places[places.index(stop.places[0]) :]), *route[here + 1 :]]
        # Of several states in one place as many have to be looked at as for any other wish.
        narrow = wanted.narrow or not _whole(wanted.states)
        rows: list[JobRow] = []
        # An empty place costs a round trip, so it counts for the bound, and not for who reads the number.
        looked = empty = 0
        began: Mapping[str, datetime] = {}
        for each in route:
            stop, home = each, self._home(each)
            while stop.places:
                if len(rows) >= limit or looked + empty >= LOOK:
                    return JobPage(rows, _cursor_of(stop), looked)
                most = limit - len(rows) if not narrow else min(CALL, LOOK - looked)
                found = self._homes.store.run(jobs(home, stop.places, stop.position, most))
                if any(seen.place == "held" for seen in found.seen):
                    began = self._running(home.queue)
                empty += not found.seen
                for seen in found.seen:
                    if len(rows) == limit:
                        break
                    looked += 1
                    stop = stop.behind(seen.place, seen.on)
                    row = self._row(home, seen, began)
                    if _is_meant(wanted, row):
                        rows.append(row)
                else:
                    stop = stop.behind(found.place, found.on)
        return JobPage(rows, None, looked)

    def _route(self, wanted: Filter) -> list[Stop]:
        states = wanted.states or tuple(PLACES)
        several = dict.fromkeys(places for state, places in PLACES.items() if state in states and places)
        homes = [home for home in self._homes.of() if wanted.has_queue(home.queue)]
        return [Stop(home.queue, home.number, places) for places in several for home in homes]

    def _home(self, stop: Stop) -> Partition:
        return next(home for home in self._homes.of(stop.queue) if home.number == stop.number)

    def _row(self, home: Partition, seen: Seen, began: Mapping[str, datetime]) -> JobRow:
        id = JobId(home.queue, home.number, seen.id)
        sent = read_message(self._homes, id, seen.message)
        record = outcome.read(seen.record) if seen.record else None
        created = (sent.created_ms if sent else 0) or ids.created_ms(seen.id)
        known = _Known(str(id), home.queue, sent, created, seen, record, began.get(str(id)))
        row = _SHOWN[seen.place](known)
        return msgspec.structs.replace(
            row,
            task=row.task or (sent.task if sent else None),
            created_at=instant(created) if created else None,
            arguments=arguments_of(self._homes, sent),
        )


def _whole(states: Collection[JobState]) -> bool:
    """Whether all jobs in the places of these states are in one of them."""
    places = {PLACES[state] for state in states}
    return not states or all(state in states for state, each in PLACES.items() if each in places)


def _is_meant(wanted: Filter, row: JobRow) -> bool:
    if wanted.states and row.state not in wanted.states:
        return False
    return wanted.has(row.task, row.id, f"{row.error or ''} {row.reason or ''}", row.message or "", row.at)


def read_message(homes: Homes, id: JobId, data: bytes) -> Message | None:
    """The call; None where there are no bytes, or they cannot be read here."""
    try:
        where = Where(homes.settings.namespace, id)
        return message.decode(data, seals=homes.settings.seals, where=where) if data else None
    except (message.CorruptMessage, message.NewerMessage):
        return None


def arguments_of(homes: Homes, sent: Message | None) -> str | None:
    """In one line and masked; None where the task is not known here, for then nobody knows what is ``sensitive=``."""
    task = homes.tasks.get(sent.task) if sent else None
    if task is None or sent is None:
        return None
    try:
        given = task.signature.arguments(tuple(sent.args), sent.kwargs)
    except TypeError:  # they do not fit the function as it is now
        return None
    return masking.shown(given, task.settings.sensitive)


class _Known(NamedTuple):
    id: str
    queue: str
    sent: Message | None
    created_ms: int
    seen: Seen
    record: Outcome | None
    began: datetime | None

    @property
    def attempts(self) -> int:
        """How many were counted before now."""
        first = self.seen.tries.partition(b" ")[0]
        return int(first) if first.isdigit() else 0


def _held(known: _Known) -> JobRow:
    token = known.seen.detail
    at = known.began or (instant(known.created_ms) if known.created_ms else None)
    return JobRow(
        id=known.id,
        queue=known.queue,
        task=None,
        state=JobState.RUNNING,
        at=at,
        started_at=known.began,
        attempt=attempt_of(token) if token else 0,
    )


def _waiting(known: _Known) -> JobRow:
    at = instant(known.created_ms) if known.created_ms else None
    return JobRow(id=known.id, queue=known.queue, task=None, state=JobState.QUEUED, at=at, attempt=known.attempts)


def _parked(known: _Known) -> JobRow:
    return msgspec.structs.replace(_waiting(known), parked=True)


def _scheduled(known: _Known) -> JobRow:
    words = known.seen.tries.split(b" ")
    failed = len(words) > 3 and words[3].isdigit() and int(words[3]) > 0
    due = instant(float(known.seen.detail))
    state = JobState.RETRYING if failed else JobState.SCHEDULED
    return JobRow(
        id=known.id, queue=known.queue, task=None, state=state, at=due, scheduled_for=due, attempt=known.attempts
    )


def _ended(known: _Known, state: JobState, ended_ms: float) -> JobRow:
    last = known.record.attempt if known.record else None
    failure, at = last.error if last else None, instant(ended_ms)
    return JobRow(
        id=known.id,
        queue=known.queue,
        task=(known.record.task if known.record else None) or None,
        state=state,
        at=at,
        ended_at=at,
        started_at=instant(last.started_ms) if last and last.started_ms else None,
        attempt=last.number if last else 0,
        seconds=(last.ended_ms - last.started_ms) / 1000 if last and last.started_ms else None,
        reason=failure.reason if failure else None,
        error=failure.type or None if failure else None,
        message=failure.message[:_TEXT] or None if failure else None,
    )


def _dead(known: _Known) -> JobRow:
    return _ended(known, JobState.FAILED, float(known.seen.detail))


def _listed(known: _Known) -> JobRow:
    letter, ended_ms, task, waited, seconds = read_ended(known.seen.detail)
    otherwise = JobState.CANCELLED if known.seen.place == "called_off" else JobState.SUCCEEDED
    row = _ended(known, BY_LETTER.get(letter, otherwise), ended_ms)
    if letter not in BY_LETTER:
        return msgspec.structs.replace(row, reason="corrupt")
    if not task:
        return row
    return msgspec.structs.replace(row, task=task, seconds=seconds, waited=waited if waited >= 0 else None)


_SHOWN: dict[Place, Callable[[_Known], JobRow]] = {
    "held": _held,
    **dict.fromkeys(("solo", "prio", "ready", "backlog"), _waiting),
    "parked": _parked,
    "sched": _scheduled,
    "dead": _dead,
    "recent": _listed,
    "called_off": _listed,
}


def _cursor_of(stop: Stop) -> str:
    # The places behind it follow from the filter.
    at = (stop.queue, stop.number, stop.places[0], stop.position)
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(at)).rstrip(b"=").decode()


def _stop_of(cursor: str) -> Stop:
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        queue, number, place, position = msgspec.msgpack.decode(data, type=tuple[str, int, Place, bytes])
    except (ValueError, msgspec.DecodeError):
        raise ConfigurationError(f"{cursor[:40]!r} is no cursor: it is what the page before has given.") from None
    return Stop(queue, number, (place,), position)
