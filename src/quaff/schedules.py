"""Schedules: what is declared above a task, and what is added, paused and looked at while the application runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload
from zoneinfo import ZoneInfo

import msgspec

from quaff.config import Settings
from quaff.errors import ConfigurationError, did_you_mean
from quaff.job import Job
from quaff.model import durability, ids, message, placement, schedule
from quaff.model.ids import JobId
from quaff.model.message import Submission
from quaff.model.placement import Placement
from quaff.model.schedule import CONFLICT, Missed, Overlap, Schedule
from quaff.model.source import Source
from quaff.model.times import Seconds
from quaff.queues import somebody
from quaff.store import timetable
from quaff.store.client import Store
from quaff.store.keys import Partition, partition
from quaff.store.operations import record
from quaff.store.timetable import Entry, ScheduleState
from quaff.task import Task, placed

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F")

_NEXT = 5
#: In the place of a definition that nobody of us wrote: it never comes.
_CORRUPT = Schedule(message=message.encode("", [], {}), queue="", every_ms=1000, end_ms=1)


class GivenSchedule(TypedDict, total=False):
    """What a schedule may set besides when it fires (see ``Quaff.cron``)."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    missed: Missed
    max_lateness: Seconds
    overlap: Overlap
    jitter: Seconds
    start: datetime
    end: datetime


class NamedSchedule(GivenSchedule, total=False):
    """As above, for one that is declared in the code."""

    name: str


class Declared(NamedTuple):
    """A schedule in the code."""

    queue: str
    name: str
    definition: bytes


class ScheduleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule as the server has it; times are aware datetimes in its zone.

    Attributes:
        name, queue, task: of its jobs.
        cron: the expression; None for one that fires every so often.
        every: seconds; None for a cron expression.
        words: when, for people.
        tz: the zone.
        declared: it is in the code; else it was added by hand.
        paused: it does not fire.
        last_at, last_job: the last instant and the id of its job; None if there was none.
        next_at: the next five instants.
        missed, overlap: what becomes of instants at which no worker lived, and while the last job has not ended.
    """

    name: str
    queue: str
    task: str
    cron: str | None
    every: float | None
    words: str
    tz: str
    declared: bool
    paused: bool
    last_at: datetime | None
    last_job: str | None
    next_at: list[datetime]
    missed: Missed
    overlap: Overlap


class ScheduleDecorator(Protocol):
    """``@quaff.cron(...)`` waiting for a task, or for a function that becomes one."""

    @overload
    def __call__(self, task: Task[P, R, F], /) -> Task[P, R, F]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R, R]: ...
    def __call__(self, fn: Any, /) -> Any: ...


class Application(Protocol):
    """What schedules need of a ``Quaff``."""

    @property
    def settings(self) -> Settings:
        """Its settings."""
        ...

    @property
    def store(self) -> Store:
        """Its server."""
        ...

    def queue_names(self) -> list[str]:
        """The queues that its tasks name."""
        ...

    def job(self, id_or_key: str) -> Job[Any]:
        """A job's handle."""
        ...

    def send(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """Store jobs."""
        ...


def definition(name: str, task: Task[Any, Any, Any], given: Mapping[str, Any]) -> Schedule:
    """A schedule of calls of ``task``.

    Args:
        given: ``cron`` or ``every``, and the options of GivenSchedule.

    Raises:
        ConfigurationError: a value that cannot be, or arguments that the task does not take.
    """
    if not isinstance(task, Task):
        raise ConfigurationError(f"schedule {name!r}: {task!r} is no task; give what @quaff.task made of the function.")
    values = schedule.checked(name, dict(given))
    args, kwargs = _arguments(name, given.get("args"), given.get("kwargs"))
    try:
        sent = task.signature.bind(args, kwargs)
    except TypeError as error:
        raise ConfigurationError(
            f"schedule {name!r}: {error.args[0].rstrip('.')}. Its arguments are args= and kwargs=."
        ) from None
    settings = task.settings
    if isinstance(settings.expires, datetime):
        raise ConfigurationError(f"schedule {name!r}: expires= of {task.name} must be seconds, not one moment.")
    place = placed(task, args, kwargs)
    route: list[Any] | None = None
    if place is not None:
        route = msgspec.msgpack.decode(place.route) if place.route else None
        _, _, conflict, numbers = msgspec.msgpack.decode(place.terms)
        values |= {"conflict": conflict, "numbers": numbers}
    if (overlap := values.get("overlap", "allow")) != "allow":
        route = route or [0, "", "done", "", 1, [], 0]
        route[1:3] = [placement.short("schedule", name), "done"]
        route[6] = 0
        values |= {"conflict": CONFLICT[overlap]}
    return Schedule(
        message=message.encode(task.name, sent.args, sent.kwargs),
        queue=settings.queue,
        expires_ms=int((settings.expires or 0) * 1000),
        on_exhausted=settings.on_exhausted,
        route=None
        if route is None
        else msgspec.convert(route, tuple[int, str, str, str, int, list[tuple[str, int]], int]),
        **values,
    )


def _arguments(name: str, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args is not None and not isinstance(args, (list, tuple)):
        raise ConfigurationError(f"schedule {name!r}: args={args!r}: give a tuple of arguments, ({args!r},).")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ConfigurationError(f"schedule {name!r}: kwargs={kwargs!r}: give a dict of arguments by name.")
    return tuple(args or ()), dict(kwargs or {})


class Schedules:
    """The schedules of an application's queues: ``quaff.schedules``.

    Every method raises ServerUnavailable where no server answers. Every change is in ``quaff.queue(...).changes()``.

    Args:
        quaff: the application's ``Quaff``.
    """

    def __init__(self, quaff: Application) -> None:
        self._quaff = quaff

    def add(
        self,
        name: str,
        task: Task[Any, Any, Any],
        *,
        cron: str | None = None,
        every: Seconds | None = None,
        tz: str = "UTC",
        replace: bool = False,
        **given: Unpack[GivenSchedule],
    ) -> None:
        """Fire ``task`` by a cron expression or every so often, from now on.

        Args:
            name: of the schedule, one in the application.
            cron, every: one of them; ``tz`` as in ``Quaff.cron``.
            replace: take the place of one of this name.
            given: as in ``Quaff.cron``.

        Raises:
            ConfigurationError: a value that cannot be, or another one has that name.
        """
        made = definition(name, task, {"cron": cron, "every": every, "tz": tz, **given})
        existing = self._find(name)
        if existing is not None and not replace:
            raise self._taken(name)
        if existing is not None and existing[0].queue != made.queue:
            self._do(existing[0], "remove", name)
        sealed = self._source.seal(made.queue, name, schedule.encode(made))
        if not self._do(self._home(made.queue), "replace" if replace else "add", name, sealed):
            raise self._taken(name)

    def remove(self, name: str) -> bool:
        """Fire it no more; False if there is none. One that running code declares is back in seconds: pause it."""
        return self._change("remove", name)

    def pause(self, name: str) -> bool:
        """Fire it no more until ``resume``; False if there is none."""
        return self._change("pause", name)

    def resume(self, name: str) -> bool:
        """Go on, and make up for nothing; False if there is none."""
        return self._change("resume", name)

    def run(self, name: str) -> Job[Any]:
        """Enqueue a job of it now, beside those of its instants.

        Raises:
            ConfigurationError: there is none, or what is kept of it cannot be read.
        """
        found = self._find(name)
        if found is None:
            raise self._unknown(name)
        try:
            made = self._source.read(found[0].queue, name, found[1].definition)
        except ValueError as error:
            raise ConfigurationError(f"{error}. schedules.add(..., replace=True) or remove() mends that.") from None
        sent = schedule.call_now(made, ids.new_raw(), time.time_ns() // 1_000_000, self._source.jobs(made))
        task = message.decode(made.message).task
        place = Placement(sent.route, sent.terms, False)
        sure = durability.read(self._quaff.settings.durability)
        self._quaff.store.run(record(found[0], who=somebody(), what="schedule run", about=name))
        return self._quaff.send([Submission(JobId(made.queue, 0, sent.id), sent.message, task, None, place, sure)])[0]

    def get(self, name: str) -> ScheduleInfo | None:
        """One of them, or None."""
        found = self._find(name)
        return None if found is None else _info(self._source, *found)

    def list(self) -> list[ScheduleInfo]:
        """All of them, by the time of their next instant."""
        return [_info(self._source, home, entry) for home, entry in self._all()]

    def lag(self, queues: Sequence[str]) -> float:
        """Seconds since the earliest instant of these queues' schedules that should have fired, and did not; or 0."""
        homes, late = [self._home(queue) for queue in queues], 0.0
        found = self._quaff.store.run_many([timetable.due(home) for home in homes]) if homes else []
        for home, table in zip(homes, found, strict=True):
            infos = (_info(self._source, home, entry) for entry in table.entries)
            first = min((each.next_at[0].timestamp() for each in infos if each.next_at), default=math.inf)
            late = max(late, table.now_ms / 1000 - first)
        return late

    def _all(self) -> Iterator[tuple[Partition, Entry]]:
        for queue in self._quaff.queue_names():
            home, skip = self._home(queue), 0
            while entries := self._quaff.store.run(timetable.page(home, skip)).entries:
                yield from ((home, entry) for entry in entries)
                skip += len(entries)

    def _find(self, name: str) -> tuple[Partition, Entry] | None:
        return next(((home, entry) for home, entry in self._all() if entry.name == name), None)

    @staticmethod
    def _taken(name: str) -> ConfigurationError:
        return ConfigurationError(f"there is a schedule {name!r} already; replace=True takes its place.")

    def _unknown(self, name: str) -> ConfigurationError:
        names = [entry.name for _, entry in self._all()]
        return ConfigurationError(f"there is no schedule {name!r}.{did_you_mean(name, names)}")

    def _change(self, what: str, name: str) -> bool:
        found = self._find(name)
        return found is not None and self._do(found[0], what, name)

    def _do(self, home: Partition, what: str, name: str, made: bytes = b"") -> bool:
        return self._quaff.store.run(timetable.schedule(home, what, name, definition=made, who=somebody()))

    @property
    def _source(self) -> Source:
        settings = self._quaff.settings
        return Source(settings.namespace, settings.seals)

    def _home(self, queue: str) -> Partition:
        return partition(self._quaff.settings.namespace, queue)


def _upcoming(made: Schedule, state: ScheduleState) -> list[int]:
    return [] if state.paused else [*islice(schedule.after(made, state.through_ms), _NEXT)]


def _info(source: Source, home: Partition, entry: Entry) -> ScheduleInfo:
    state = entry.state
    try:
        made = source.read(home.queue, entry.name, entry.definition)
        zone, upcoming = ZoneInfo(made.tz), _upcoming(made, state)
    except Exception:  # noqa: BLE001  nobody of us wrote it, and there is no telling what a calendar makes of it
        made, zone, upcoming = _CORRUPT, ZoneInfo("UTC"), []
    return ScheduleInfo(
        name=entry.name,
        queue=home.queue,
        task=message.decode(made.message).task,
        cron=made.cron or None,
        every=made.every_ms / 1000 if made.every_ms else None,
        words="it cannot be read (corrupt)" if made is _CORRUPT else made.words(),
        tz=made.tz,
        declared=state.since_ms > 0,
        paused=bool(state.paused),
        last_at=datetime.fromtimestamp(state.last_ms / 1000, zone) if state.last_ms else None,
        last_job=str(JobId(home.queue, home.number, bytes.fromhex(state.last_id))) if state.last_id else None,
        next_at=[datetime.fromtimestamp(each / 1000, zone) for each in upcoming],
        missed=made.missed,
        overlap=made.overlap,
    )
