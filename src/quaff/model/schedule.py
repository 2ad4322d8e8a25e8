"""When a schedule's jobs are due: a value, and the arithmetic of its instants. Nothing here asks for the time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model import message as messages
from quaff.model.ids import JobId
from quaff.model.times import seconds

Missed: TypeAlias = Literal["skip", "once", "all"]
Overlap: TypeAlias = Literal["allow", "skip", "queue", "cancel_running"]

#: What each kind of overlap means for the unique key that all occurrences share; ``allow`` needs none.
CONFLICT = {"skip": "keep", "queue": "follow", "cancel_running": "cancel_running"}

_MOST_NAME = 256
_OPTIONS = (
    "cron",
    "every",
    "tz",
    "name",
    "args",
    "kwargs",
    "missed",
    "max_lateness",
    "overlap",
    "jitter",
    "start",
    "end",
)


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a schedule. Times in milliseconds, instants in Unix milliseconds.

    Attributes:
        message: an encoded call of its task; ``expires_ms``: how long after its instant it must have begun, or 0.
        on_exhausted: the name of the task that is sent the id of an occurrence that is given up.
        route, conflict, numbers: where its jobs wait (see ``placement``).
        cron: the expression, empty for ``every_ms``; ``tz``: the zone in which it is read.
        missed: what becomes of instants at which no worker lived: none, the last one, or all are made up for.
        max_late_ms: an instant that is later than this is passed over in any case; 0: no such limit.
        overlap: what becomes of an occurrence while the one before has not ended.
        jitter_ms: each occurrence starts up to so much later, by a rule that gives the same for everybody.
        start_ms, end_ms: no instant before, or at or after; 0: no such bound.
    """

    message: bytes
    queue: str
    expires_ms: int = 0
    on_exhausted: str | None = None
    route: tuple[int, str, str, str, int, list[tuple[str, int]], int] | None = None
    conflict: str = "keep"
    numbers: list[tuple[str, str]] = []
    cron: str = ""
    tz: str = "UTC"
    every_ms: int = 0
    missed: Missed = "once"
    max_late_ms: int = 0
    overlap: Overlap = "allow"
    jitter_ms: int = 0
    start_ms: int = 0
    end_ms: int = 0

    def words(self) -> str:
        """When, for people."""
        if self.every_ms:
            return f"every {_span(self.every_ms)}"
        from cronsim import CronSim

        said = CronSim(self.cron, datetime.fromtimestamp(0, UTC)).explain()
        return f"{said[:1].lower()}{said[1:]}" + ("" if self.tz == "UTC" else f" ({self.tz})")


class Plan(NamedTuple):
    """What to do now: instants to enqueue, up to where they deal with the schedule, and when to look again."""

    instants: list[int]
    through_ms: int
    again_ms: int | None


encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Schedule] = msgspec.msgpack.Decoder(Schedule).decode

#: (id, message, whether it is one that the job carries) -> the message as it is stored.
Sealed: TypeAlias = Callable[[bytes, bytes, bool], bytes]


def _plain(id: bytes, data: bytes, late: bool) -> bytes:
    return data


def plan(schedule: Schedule, *, through_ms: int, now_ms: int, alive_since_ms: int, most: int) -> Plan:
    """Which instants are due.

    Args:
        through_ms: up to here it is dealt with.
        now_ms: the server's clock.
        alive_since_ms: since then some worker has lived; what came before is missed.
        most: instants at most; the rest comes when it is looked at again, which is at once then.
    """
    missed_until = min(now_ms, alive_since_ms)
    made_up: list[int] = []
    if schedule.missed == "all":
        made_up = list(islice(after(schedule, through_ms, missed_until), most))
        if len(made_up) == most:
            return Plan(_in_time(schedule, made_up, now_ms), made_up[-1], now_ms)
    elif schedule.missed == "once" and missed_until > through_ms:
        made_up = last_before(schedule, missed_until, through_ms)
    recent = list(islice(after(schedule, max(through_ms, missed_until), now_ms), most))
    if recent and schedule.missed == "once":
        made_up = []  # the latest one is made up for by the one that is due now
    instants = made_up + recent
    if len(recent) == most:
        return Plan(_in_time(schedule, instants[-most:], now_ms), recent[-1], now_ms)
    again = next(after(schedule, now_ms), None)
    return Plan(_in_time(schedule, instants, now_ms), now_ms, again)


def _in_time(schedule: Schedule, instants: list[int], now_ms: int) -> list[int]:
    return [each for each in instants if not schedule.max_late_ms or now_ms - each <= schedule.max_late_ms]


def after(schedule: Schedule, from_ms: int, until_ms: int | None = None) -> Iterator[int]:
    """Its instants later than ``from_ms``, up to ``until_ms`` (None: for ever), the earliest first."""
    for instant in _instants(schedule, max(from_ms, schedule.start_ms - 1)):
        if (until_ms is not None and instant > until_ms) or (schedule.end_ms and instant >= schedule.end_ms):
            return
        yield instant


def last_before(schedule: Schedule, until_ms: int, from_ms: int) -> list[int]:
    """The last instant later than ``from_ms`` and not later than ``until_ms``, if there is one."""
    until_ms = min(until_ms, schedule.end_ms - 1) if schedule.end_ms else until_ms
    if schedule.every_ms:
        instant: int | None = until_ms // schedule.every_ms * schedule.every_ms
    else:
        from cronsim import CronSim

        # Back from just after, because an instant is not before itself.
        moment = _moment(until_ms - until_ms % 1000 + 1000, schedule.tz)
        back = (_ms(each) for each in CronSim(schedule.cron, moment, reverse=True))
        instant = next((each for each in back if each <= until_ms), None)
    fits = instant is not None and max(from_ms, schedule.start_ms - 1) < instant <= until_ms
    return [instant] if fits and instant is not None else []


def _instants(schedule: Schedule, from_ms: int) -> Iterator[int]:
    if schedule.every_ms:
        instant = from_ms // schedule.every_ms * schedule.every_ms
        while True:
            instant += schedule.every_ms
            yield instant
    from cronsim import CronSim

    for moment in CronSim(schedule.cron, _moment(from_ms, schedule.tz)):
        if (instant := _ms(moment)) > from_ms:
            yield instant


def _moment(ms: int, tz: str) -> datetime:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(tz))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def occurrence_id(name: str, instant_ms: int) -> bytes:
    """The 16 bytes of the job of one instant: the same for everybody (RFC 9562, version 8)."""
    digest = bytearray(hashlib.blake2b(f"{name}\0{instant_ms}".encode(), digest_size=16).digest())
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return bytes(digest)


class Call(NamedTuple):
    """What is sent for one instant."""

    id: bytes
    message: bytes
    route: bytes
    terms: bytes


def call_at(name: str, schedule: Schedule, instant_ms: int, sealed: Sealed = _plain) -> Call:
    """The job of one instant: the same for everybody who works it out."""
    return _call(schedule, occurrence_id(name, instant_ms), instant_ms, sealed)


def call_now(schedule: Schedule, id: bytes, now_ms: int, sealed: Sealed = _plain) -> Call:
    """An extra job, between the instants; ``now_ms`` is the sender's clock, from which it expires."""
    return _call(schedule, id, now_ms, sealed, extra=True)


def _call(schedule: Schedule, id: bytes, instant_ms: int, sealed: Sealed, *, extra: bool = False) -> Call:
    sent = messages.decode(schedule.message)
    terms = dict(sent.terms) if extra else {**sent.terms, messages.SCHEDULED: instant_ms}
    if schedule.expires_ms:
        terms[messages.EXPIRES] = instant_ms + schedule.expires_ms
    data = sealed(id, messages.encode(sent.task, sent.args, sent.kwargs, terms, created_ms=instant_ms), False)
    if schedule.on_exhausted is not None:
        told = str(JobId(schedule.queue, 0, id))
        data = messages.carrying(sealed(id, messages.encode(schedule.on_exhausted, [told], {}), True), data)
    late = 0 if extra else jitter(schedule, id)
    place = (instant_ms + late if late else 0, 0, schedule.conflict, schedule.numbers)
    return Call(id, data, b"" if schedule.route is None else encode(schedule.route), encode(place))


def jitter(schedule: Schedule, id: bytes) -> int:
    """How much later than its instant an occurrence starts, in milliseconds."""
    return int.from_bytes(id[9:15], "big") % (schedule.jitter_ms + 1)


def checked(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a schedule as its fields.

    Args:
        given: as people give them.

    Raises:
        ConfigurationError: a value that cannot be.
    """
    if not (isinstance(name, str) and 0 < len(name) <= _MOST_NAME and name.isprintable()):
        raise ConfigurationError(f"a schedule cannot be called {name!r}: use 1 to {_MOST_NAME} printable characters.")
    for option in given:
        if option not in _OPTIONS:
            raise ConfigurationError(
                f"schedule {name!r}: unknown option {option!r}.{did_you_mean(option, _OPTIONS)} "
                f"Known here: {', '.join(_OPTIONS)}."
            )
    zone = _zone(given.get("tz", "UTC"))
    values: dict[str, Any] = {"tz": zone.key}
    cron, every = given.get("cron"), given.get("every")
    if (cron is None) == (every is None):
        raise ConfigurationError(f"schedule {name!r}: give either cron= or every=.")
    if cron is not None:
        values["cron"] = _expression(cron, zone)
    if every is not None:
        values["every_ms"] = int(seconds("every", every) * 1000)
        if values["every_ms"] < 1000:
            raise ConfigurationError(f"every({every!r}): give at least a second.")
    for option, words in (("missed", get_args(Missed)), ("overlap", get_args(Overlap))):
        value = given.get(option)
        if value is not None and value not in words:
            raise ConfigurationError(f"{option}={value!r}: one of {', '.join(words)}.{did_you_mean(str(value), words)}")
        if value is not None:
            values[option] = value
    for option, field in (("max_lateness", "max_late_ms"), ("jitter", "jitter_ms")):
        if given.get(option) is not None:
            values[field] = int(seconds(f"{option}=", given[option]) * 1000)
    for option in ("start", "end"):
        moment = given.get(option)
        if moment is not None:
            if not isinstance(moment, datetime) or moment.utcoffset() is None:
                raise ConfigurationError(f"{option}={moment!r}: give a datetime with a time zone.")
            values[f"{option}_ms"] = _ms(moment)
    if 0 < values.get("end_ms", 0) <= values.get("start_ms", 0):
        raise ConfigurationError(f"schedule {name!r}: it would end before it starts; give an end= that is later.")
    return values


def _zone(given: Any) -> ZoneInfo:
    try:
        return ZoneInfo(given.key if isinstance(given, ZoneInfo) else given)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        hint = did_you_mean(str(given), available_timezones())
        raise ConfigurationError(f"tz={given!r} is no IANA time zone known here.{hint}") from None


def _expression(given: Any, zone: tzinfo) -> str:
    from cronsim import CronSim, CronSimError

    if not isinstance(given, str):
        raise ConfigurationError(f"cron({given!r}): give a text such as '0 7 * * mon-fri'.")
    try:
        next(CronSim(given, datetime(2026, 1, 1, tzinfo=zone)))
    except (CronSimError, StopIteration) as error:
        why = f": {error}" if str(error) else ""
        raise ConfigurationError(
            f"cron({given!r}) is no cron expression that ever comes{why}. Five fields: minute hour day month weekday; "
            "a sixth one in front counts seconds."
        ) from None
    return " ".join(given.split())


_UNITS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"))


def _span(ms: int) -> str:
    for unit, word in _UNITS:
        if ms % unit == 0:
            return word if ms == unit else f"{ms // unit} {word}s"
    return f"{ms / 1000:g} seconds"
