"""Schedules in the engine: whose declaration counts, each instant once, and what becomes of those nobody declares."""

from __future__ import annotations

from quaff.model import schedule
from quaff.model.schedule import CONFLICT, Schedule, call_at
from quaff.model.states import JobState
from quaff.store import timetable
from quaff.store.bulk import Replaced
from quaff.store.timetable import Entry, Occurrence
from tests.model.test_schedule import MESSAGE
from tests.store.engine import HOUR, Desk, process_id, unchanged

ME = process_id()
REPLACED = Replaced(b"replaced", HOUR, HOUR)
EVERY_SECOND = schedule.encode(Schedule(message=MESSAGE, queue="q", every_ms=1000))
EVERY_MINUTE = schedule.encode(Schedule(message=MESSAGE, queue="q", every_ms=60_000))


def declare(desk: Desk, since_ms: int, *schedules: tuple[str, bytes]) -> int:
    """A worker's code says what it has."""
    return desk.store.run(timetable.declare(desk.home, since_ms=since_ms, who="worker", schedules=schedules))


def change(desk: Desk, what: str, name: str, definition: bytes = b"") -> bool:
    """By hand."""
    return desk.store.run(timetable.schedule(desk.home, what, name, definition=definition, who="me"))


def entry(desk: Desk, name: str = "a") -> Entry:
    """As the server has it."""
    found = desk.store.run(timetable.page(desk.home, 0)).entries
    return next(each for each in found if each.name == name)


def fire(desk: Desk, known: Entry, *instants: int, through: int = 0, overlap: str = "allow") -> list[object]:
    """Some instants of it."""
    made = schedule.decode(known.definition)
    occurrences = []
    for instant in instants:
        call = call_at(known.name, made, instant)
        if overlap != "allow":
            route = schedule.encode((0, "key", "done", "", 1, [], 0))
            call = call._replace(route=route, terms=schedule.encode((0, 0, CONFLICT[overlap], [])))
        occurrences.append(Occurrence(instant, *call))
    return desk.store.run(
        timetable.fire(
            desk.home,
            known,
            through_ms=through or max(instants),
            again_ms=max(instants) + 1000,
            replaced=REPLACED,
            occurrences=occurrences,
        )
    )


def later(desk: Desk, name: str = "a", count: int = 3) -> list[int]:
    """Instants after those that are dealt with."""
    begin = entry(desk, name).state.through_ms
    return [begin + 1000 * n for n in range(1, count + 1)]


def test_an_instant_is_enqueued_once_however_often_somebody_fires_it(desk: Desk) -> None:
    """Also late, and by one who knows an earlier state of things."""
    declare(desk, 0, ("a", EVERY_SECOND))
    known = entry(desk)
    first, second, third = later(desk)
    assert len(fire(desk, known, first, second)) == 3
    assert fire(desk, known, first, second) == [1]
    assert unchanged(desk, lambda: fire(desk, known, first)) == [0]
    assert len(fire(desk, known, first, second, third)) == 2
    assert desk.dump().number("enqueued") == 3
    state = entry(desk).state
    assert (state.through_ms, state.last_ms) == (third, third)
    assert bytes.fromhex(state.last_id) == call_at("a", schedule.decode(EVERY_SECOND), third).id


def test_also_after_its_jobs_are_forgotten(desk: Desk) -> None:
    """The instant is written down, so a tombstone that is gone revives nothing."""
    declare(desk, 0, ("a", EVERY_SECOND))
    known, (instant, *_) = entry(desk), later(desk)
    (_, id) = fire(desk, known, instant)
    assert isinstance(id, bytes)
    desk.settle(ME, *desk.take(ME), ttl_ms=0, window_ms=1)
    desk.let_tombstones_expire(id)
    desk.sweep()
    assert fire(desk, known, instant) == [1]
    assert desk.dump().msg == {}


def test_a_changed_or_paused_schedule_does_not_fire_as_it_was(desk: Desk) -> None:
    """Whoever worked out its instants before has to look again."""
    declare(desk, 0, ("a", EVERY_SECOND))
    known, (instant, *_) = entry(desk), later(desk)
    assert change(desk, "pause", "a")
    assert fire(desk, known, instant) == [0]
    assert desk.store.run(timetable.due(desk.home)).entries == []
    assert change(desk, "resume", "a")
    assert change(desk, "replace", "a", EVERY_MINUTE)
    assert fire(desk, known, instant) == [0]
    assert change(desk, "remove", "a")
    assert not change(desk, "remove", "a")
    assert fire(desk, known, instant) == [0]


def test_the_youngest_code_declares(desk: Desk) -> None:
    """In a rolling deploy old workers go on declaring what they have; it changes nothing."""
    old = declare(desk, 0, ("a", EVERY_SECOND))
    new = declare(desk, old + 1, ("a", EVERY_MINUTE))
    assert new == old + 1
    assert declare(desk, old, ("a", EVERY_SECOND)) == old
    assert entry(desk).definition == EVERY_MINUTE
    assert declare(desk, new, ("a", EVERY_MINUTE)) == new
    assert [each for each in desk.dump().audit if b"changed by the code" in each] != []
    # A roll-back is a younger start of older code.
    declare(desk, new + 1, ("a", EVERY_SECOND))
    assert entry(desk).definition == EVERY_SECOND


def test_what_a_person_made_no_code_changes(desk: Desk) -> None:
    """Nor removes by not declaring it."""
    assert change(desk, "add", "a", EVERY_MINUTE)
    assert not change(desk, "add", "a", EVERY_SECOND)
    declare(desk, 0, ("a", EVERY_SECOND))
    assert entry(desk).definition == EVERY_MINUTE
    assert desk.dump().sched_seen == {}


def test_what_no_worker_declares_any_more_is_removed_but_not_after_an_outage(desk: Desk) -> None:
    """Three leases after the last word; first, everybody who lives has had time to speak."""
    declare(desk, 0, ("a", EVERY_SECOND), ("b", EVERY_SECOND))
    desk.redis.zadd(desk.key("sched_seen"), {"a": 1}, xx=True)
    desk.sweep()  # the first one after a gap
    assert set(desk.dump().sched_def) == {b"a", b"b"}
    desk.allow_reaping()
    desk.sweep()
    assert set(desk.dump().sched_def) == {b"b"}
    assert any(b"no longer declared" in each for each in desk.dump().audit)


def test_a_sweep_says_when_a_schedule_is_to_be_looked_at(desk: Desk) -> None:
    """So that nobody has to ask for it."""
    assert desk.sweep().schedule_ms is None
    declare(desk, 0, ("a", EVERY_SECOND))
    assert desk.sweep().schedule_ms == 0
    known, instants = entry(desk), later(desk)
    fire(desk, known, *instants)
    left = desk.sweep().schedule_ms
    assert left is not None
    assert 2000 < left <= 4000
    change(desk, "pause", "a")
    assert desk.sweep().schedule_ms is None


def test_overlap_skips_queues_or_cancels(desk: Desk) -> None:
    """While the occurrence before has not ended."""
    for name in CONFLICT:
        declare(desk, 0, (name, EVERY_SECOND))
    (a, b, c) = later(desk, "skip")
    assert len(fire(desk, entry(desk, "skip"), a, b, overlap="skip")) == 2
    desk.settle(ME, *desk.take(ME))
    (first, *_) = fire(desk, entry(desk, "queue"), a, overlap="queue")[1:]
    (lease,) = desk.take(ME)
    (second,) = fire(desk, entry(desk, "queue"), b, overlap="queue")[1:]
    assert isinstance(second, bytes)
    assert desk.look(second).state is JobState.BLOCKED
    assert fire(desk, entry(desk, "queue"), c, overlap="queue") == [1]
    desk.settle(ME, lease)
    assert [each.id for each in desk.take(ME, 5)] == [second]
    assert first != second
