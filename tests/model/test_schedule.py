"""When the jobs of a schedule are due: cron with time zones, intervals, missed instants."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim

from quaff import ConfigurationError
from quaff.model import message, schedule
from quaff.model.schedule import Schedule, after, call_at, checked, last_before, plan

FULL = bool(os.environ.get("FULL"))
MINUTE = 60_000
MESSAGE = message.encode("task", [1], {})
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)


def made(**values: Any) -> Schedule:
    """A schedule."""
    return Schedule(message=MESSAGE, queue="default", **values)


def ms(text: str, tz: str = "UTC") -> int:
    """Unix milliseconds of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


def changes(zone: ZoneInfo) -> list[datetime]:
    """The moments, to the minute, at which a zone's offset changes."""
    found = []
    day, step = FIRST, timedelta(days=7)
    while day < LAST:
        if day.astimezone(zone).utcoffset() != (day + step).astimezone(zone).utcoffset():
            low, high = day, day + step
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high.replace(second=0, microsecond=0))
        day += step
    return found


def scanned(expression: str, zone: ZoneInfo, begin: datetime, end: datetime) -> list[int]:
    """The rule of Debian's cron, minute by minute.

    A job of certain times (no ``*`` in minute and hour) runs once where the clock goes back, and right after the jump
    where its time is jumped over; any other runs by the clock on the wall.
    """
    certain = not any(field.startswith("*") for field in expression.split()[:2])
    local, step = CronSim(expression, datetime(2000, 1, 1)), timedelta(minutes=1)  # noqa: DTZ001
    hits, seen = [], set()
    moment = begin
    before = (begin - step).astimezone(zone).replace(tzinfo=None)
    while moment <= end:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        walls = [wall]
        if certain and wall - before > step:  # jumped over
            walls = [before + step * n for n in range(1, int((wall - before) / step) + 1)]
        for each in walls:
            fits = (
                each.minute in local.minutes
                and each.hour in local.hours
                and each.month in local.months
                and local.match_day(each.date())
            )
            if fits and not (certain and each in seen):
                seen.add(each)
                hits.append(int(moment.timestamp() * 1000))
                break
        if certain and wall < before:  # what is shown twice counts once
            seen.update(before - step * n for n in range(int((before - wall) / step) + 1))
        before = wall
        moment += step
    return hits


@pytest.mark.timeout(300)
def test_every_change_of_every_zones_clock_is_as_a_scan_of_its_minutes_says() -> None:
    """F51: 2020 to 2030, 48 hours around each; zones that change alike are looked at once."""
    alike: dict[tuple[Any, ...], ZoneInfo] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        around = tuple((moment, moment.astimezone(zone).utcoffset()) for moment in changes(zone))
        if around:
            alike.setdefault(around, zone)
    assert len(alike) > 30
    wrong = []
    for around, zone in alike.items():
        # Without FULL the last changes of a zone: over all zones every kind of change is among them.
        for moment, _ in around if FULL else around[-2:]:
            begin, end = moment - timedelta(hours=48), moment + timedelta(hours=48)
            for expression in ("30 2 * * *", "*/20 * * * *", "0 0 * * *"):
                got = list(
                    after(
                        made(cron=expression, tz=zone.key),
                        int(begin.timestamp() * 1000) - 1,
                        int(end.timestamp() * 1000),
                    )
                )
                if got != scanned(expression, zone, begin, end):
                    wrong.append((zone.key, moment, expression))
    assert wrong == []


def test_an_interval_fires_at_its_multiples() -> None:
    """Counted from 1970, so that everybody has the same instants."""
    each = made(every_ms=30_000)
    start = ms("2026-03-01T00:00:10")
    assert list(islice(after(each, start), 3)) == [start + 20_000, start + 50_000, start + 80_000]
    assert last_before(each, start, start - MINUTE) == [start - 10_000]
    assert last_before(each, start, start - 10_000) == []


def test_a_cron_instant_is_after_the_one_before() -> None:
    """Neither twice nor before the start, nor at the end."""
    daily = made(cron="0 7 * * *", tz="Europe/Vienna", start_ms=ms("2026-03-02T00:00"), end_ms=ms("2026-03-04T06:00"))
    instants = [ms(f"2026-03-0{day}T07:00", "Europe/Vienna") for day in (2, 3)]
    assert list(after(daily, ms("2026-02-01T00:00"))) == instants
    assert list(after(daily, instants[0])) == instants[1:]
    assert last_before(daily, ms("2026-03-10T00:00"), 0) == [instants[1]]
    assert last_before(daily, instants[1] - 1, 0) == [instants[0]]


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", []), ("once", ["06:00"]), ("all", ["03:00", "04:00", "05:00", "06:00"])],
)
def test_what_was_missed_is_made_up_for_as_the_schedule_says(missed: Any, expected: list[str]) -> None:
    """No worker lived from half past two to half past six."""
    hourly = made(cron="0 * * * *", missed=missed)
    at = lambda text: ms(f"2026-03-01T{text}")  # noqa: E731
    todo = plan(hourly, through_ms=at("02:30"), now_ms=at("06:30") + 500, alive_since_ms=at("06:30"), most=100)
    assert (todo.instants, todo.again_ms) == ([at(each) for each in expected], at("07:00"))
    assert todo.through_ms == at("06:30") + 500


def test_what_is_late_while_workers_live_is_not_missed() -> None:
    """A busy server, a frozen worker: each instant fires."""
    each = made(every_ms=1000, missed="skip")
    now = ms("2026-03-01T00:00:10") + 3
    todo = plan(each, through_ms=now - 5003, now_ms=now, alive_since_ms=0, most=100)
    assert [now - instant for instant in todo.instants] == [4003, 3003, 2003, 1003, 3]


def test_once_is_satisfied_by_one_that_is_due_now() -> None:
    """No second run beside it."""
    each = made(every_ms=MINUTE)
    now = ms("2026-03-01T01:00")
    todo = plan(each, through_ms=now - 60 * MINUTE, now_ms=now, alive_since_ms=now - 1000, most=100)
    assert todo.instants == [now]


def test_too_late_is_passed_over() -> None:
    """``max_lateness``, whatever ``missed`` says."""
    each = made(every_ms=MINUTE, missed="all", max_late_ms=3 * MINUTE)
    now = ms("2026-03-01T01:00") + 1
    todo = plan(each, through_ms=now - 10 * MINUTE, now_ms=now, alive_since_ms=now, most=100)
    assert [now - instant for instant in todo.instants] == [2 * MINUTE + 1, MINUTE + 1, 1]


def test_a_long_absence_is_made_up_for_in_steps() -> None:
    """A thousand missed instants, a hundred at a time, none twice."""
    each = made(every_ms=1000, missed="all")
    now = ms("2026-03-01T01:00")
    through, got = now - 1_000_000, []
    for _ in range(50):
        todo = plan(each, through_ms=through, now_ms=now, alive_since_ms=now, most=100)
        assert len(todo.instants) <= 100
        got += todo.instants
        through = todo.through_ms
        if todo.again_ms != now:
            break
    assert got == list(range(now - 999_000, now + 1000, 1000))


def test_everybody_works_out_the_same_job() -> None:
    """Its id, its jitter, and the instant in its message."""
    each = made(every_ms=1000, jitter_ms=500, expires_ms=2000)
    call = call_at("a", each, 5000)
    assert call == call_at("a", each, 5000)
    assert call.id != call_at("a", each, 6000).id != call_at("b", each, 6000).id
    assert message.decode(call.message).terms == {"scheduled": 5000, "!expires": 7000}
    late = [schedule.jitter(each, call_at("a", each, n).id) for n in range(200)]
    assert 0 <= min(late) < 50
    assert 450 < max(late) <= 500


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "either cron= or every="),
        ({"cron": "* * * * *", "every": 1}, "either"),
        ({"cron": "0 25 * * *"}, "0 25"),
        ({"cron": "0 0 31 2 *"}, "that ever comes"),
        ({"cron": 5}, "give a text"),
        ({"every": 0.5}, "at least a second"),
        ({"every": -1}, "give seconds"),
        ({"every": 5, "tz": "Europe/Viena"}, "Did you mean 'Europe/Vienna'"),
        ({"every": 5, "missed": "onse"}, "Did you mean 'once'"),
        ({"every": 5, "overlap": "never"}, "one of allow"),
        ({"every": 5, "jitter": "x"}, "jitter="),
        ({"every": 5, "jiter": 1}, "Did you mean 'jitter'"),
        ({"every": 5, "start": LAST, "end": FIRST}, "before it starts"),
        ({"every": 5, "start": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    """At the declaration, with the reason."""
    with pytest.raises(ConfigurationError, match=says):
        checked("name", given)


def test_words() -> None:
    """As people say it."""
    assert made(every_ms=1000).words() == "every second"
    assert made(every_ms=300_000).words() == "every 5 minutes"
    assert made(every_ms=1500).words() == "every 1.5 seconds"
    assert (
        made(cron="0 7 * * mon-fri", tz="Europe/Vienna").words() == "at 07:00 on Monday through Friday (Europe/Vienna)"
    )
