"""What is kept for people: counted once, bounded, gone in time; and pages of jobs that show each one once."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from quaff.model.placement import Placement, Wishes, placement
from quaff.model.states import JobState
from quaff.store import operations as o
from quaff.store import tallies as s
from quaff.store.tallies import Failed, Jobs, Place
from tests.store.engine import HOUR, Desk, process_id, unchanged

ME = process_id()
DAY = 24 * HOUR


def known(desk: Desk) -> None:
    """A process that has claimed."""
    desk.take(ME)


def tell(desk: Desk, number: int, tasks: dict[str, dict[str, int]], **more: Any) -> bool:
    """One tally of that process."""
    given = {"failures": [], "recent": [], **more}
    return desk.store.run(s.tally(desk.home, process=ME, number=number, tasks=tasks, **given))


def now(desk: Desk) -> int:
    """The server's clock, Unix milliseconds."""
    return int(desk.redis.time()[0]) * 1000


def later(desk: Desk, name: str, ms: int) -> None:
    """Let what is kept go so much earlier."""
    key = desk.key(f"{name}_until")
    desk.redis.zadd(key, {each: at - ms for each, at in desk.redis.zrange(key, 0, -1, withscores=True)})


def test_what_is_told_is_added_up_and_a_repetition_changes_nothing(desk: Desk) -> None:
    """By minute, by hour and for good; the same tally, or one that is late, counts once (I19)."""
    known(desk)
    assert tell(desk, 1, {"a": {"s": 2, "d3": 2}, "": {"s": 2}})
    assert not unchanged(desk, lambda: tell(desk, 1, {"a": {"s": 2, "d3": 2}, "": {"s": 2}}))
    assert tell(desk, 3, {"a": {"s": 1, "f": 1}, "": {"s": 1}})
    assert not unchanged(desk, lambda: tell(desk, 2, {"a": {"s": 5}}))
    for unit in ("m", "h"):
        number, numbers = desk.store.run(s.series(desk.home, unit, "a", 2))  # type: ignore[arg-type]
        assert number == now(desk) // (60_000 if unit == "m" else HOUR)
        assert {name: sum(each.get(name, 0) for each in numbers) for name in "sf"} == {"s": 3, "f": 1}
    _, (entry,) = desk.store.run(s.listing(desk.home, "tasks"))
    found = s.numbers_of(entry.data)
    assert (entry.name, found["s"], found["f"], found["d3"]) == (b"a", 3, 1, 2)


def test_a_process_that_nobody_knows_counts_nothing(desk: Desk) -> None:
    """Its number would stay for ever."""
    assert not tell(desk, 1, {"a": {"s": 1}})
    assert not desk.redis.exists(desk.key("told"))
    known(desk)
    assert tell(desk, 1, {"a": {"s": 1}})


def test_of_failures_the_kind_is_kept_with_a_few_jobs(desk: Desk) -> None:
    """How often, since when, and the last five ids."""
    known(desk)
    for number in range(1, 9):
        assert tell(desk, number, {}, failures=[Failed(b"k", 2, number % 2, '["t"]', f"id{number}")])
    at = now(desk)
    _, (entry,) = desk.store.run(s.listing(desk.home, "failures"))
    kind, ids = s.read_kind(entry.data)
    assert (kind.attempts, kind.given_up, kind.what) == (16, 4, '["t"]')
    assert ids == [f"id{number}" for number in (8, 7, 6, 5, 4)]
    assert at - 60_000 < kind.first_ms <= kind.last_ms < at + 60_000


def test_there_is_room_for_so_many_and_the_first_to_go_makes_room(desk: Desk) -> None:
    """S25: However many tasks and kinds of failures somebody makes up."""
    known(desk)
    numbers = count(1)
    for first in range(0, 600, 50):
        some = [Failed(b"%d" % each, 1, 0, "[]", "id") for each in range(first, first + 50)]
        assert tell(
            desk, next(numbers), {f"t{each}": {"s": 1} for each in range(2 * first, 2 * first + 100)}, failures=some
        )
    assert desk.redis.hlen(desk.key("failures")) == desk.redis.zcard(desk.key("failures_until")) == 500
    assert desk.redis.hlen(desk.key("tasks")) == 1000
    assert tell(desk, next(numbers), {}, recent=[b"%016d" % each for each in range(1500)])
    assert desk.redis.llen(desk.key("recent")) == 1000
    assert desk.redis.lindex(desk.key("recent"), 0) == b"%016d" % 1499


@pytest.mark.parametrize(
    ("tasks", "minutes", "hours"), [(1, 1440, 336), (34, 1440, 336), (100, 500, 336), (200, 250, 250), (1000, 60, 50)]
)
def test_all_tasks_have_room_alike_and_all_together_a_whole_day(
    desk: Desk, tasks: int, minutes: int, hours: int
) -> None:
    """With more tasks minutes are kept for a shorter time, an hour at least, so that they stay within their bound."""
    known(desk)
    desk.redis.hset(desk.key("tasks"), mapping={f"t{each}": b"\x80" for each in range(tasks)})
    desk.redis.zadd(desk.key("tasks_until"), {f"t{each}": now(desk) + HOUR for each in range(tasks)})
    assert tell(desk, 1, {"t0": {"s": 1}, "": {"s": 1}})
    left = {
        field.decode()[0] + field.decode().partition(":")[2]: round((at - now(desk)) / 60_000)
        for field, at in desk.redis.zrange(desk.key("series_until"), 0, -1, withscores=True)
    }
    assert left == {"mt0": minutes, "ht0": 60 * hours, "m": 1440, "h": 60 * 336}


def test_a_sweep_removes_what_has_been_for_long_enough(desk: Desk) -> None:
    """Minutes after a day, hours and the rest after fourteen, in steps; a worker when it falls silent."""
    known(desk)
    assert tell(desk, 1, {"a": {"s": 1}}, failures=[Failed(b"k", 1, 0, "[]", "id")])
    desk.store.run(s.present(desk.home, b"w" * 8, b"word", lasts_ms=60_000))
    desk.sweep()
    assert desk.redis.hlen(desk.key("series")) == 2
    later(desk, "series", DAY)
    later(desk, "workers", 60_000)
    assert desk.store.run(s.listing(desk.home, "workers"))[1] == []
    desk.sweep()
    assert [field[:1] for field in desk.redis.hkeys(desk.key("series"))] == [b"h"]
    assert not desk.redis.exists(desk.key("workers"), desk.key("workers_until"))
    for name in ("series", "tasks", "failures"):
        later(desk, name, 14 * DAY)
    desk.sweep()
    assert not desk.redis.exists(*(desk.key(name) for name in ("series", "tasks", "failures")))


def test_a_worker_that_leaves_is_forgotten_at_once(desk: Desk) -> None:
    """Saying it twice changes nothing."""
    desk.store.run(s.present(desk.home, b"w" * 8, b"one", lasts_ms=60_000))
    desk.store.run(s.present(desk.home, b"w" * 8, b"two", lasts_ms=60_000))
    assert [entry.data for entry in desk.store.run(s.listing(desk.home, "workers"))[1]] == [b"two"]
    for _ in range(2):
        desk.store.run(s.present(desk.home, b"w" * 8, b"", lasts_ms=0))
        assert desk.store.run(s.listing(desk.home, "workers"))[1] == []


def walk(desk: Desk, place: Place, most: int = 7) -> list[bytes]:
    """The ids of all pages of a place."""
    found: list[bytes] = []
    start = b""
    while True:
        page: Jobs = desk.store.run(s.jobs(desk.home, (place,), start, most))
        found += (seen.id for seen in page.seen)
        start = page.on
        if page.place is None:
            return found


def test_a_page_goes_from_one_place_to_the_next(desk: Desk) -> None:
    """In one call, as far as there is room; the answer says where to go on."""
    line = desk.put(*[b"\x01m"] * 5)
    delayed = desk.place(*[(b"\x01d", due(HOUR))] * 4)
    desk.redis.zadd(desk.key("sched"), {id: now(desk) + HOUR + place for place, id in enumerate(delayed)})
    places: tuple[Place, ...] = ("solo", "ready", "parked", "sched")
    whole = desk.store.run(s.jobs(desk.home, places, b"", 20))
    assert (whole.place, [each.place for each in whole.seen]) == (None, ["ready"] * 5 + ["sched"] * 4)
    assert [each.id for each in whole.seen] == [*line, *delayed]
    part = desk.store.run(s.jobs(desk.home, places, b"", 7))
    assert (part.place, len(part.seen)) == ("sched", 7)
    assert [each.id for each in desk.store.run(s.jobs(desk.home, ("sched",), part.on, 7)).seen] == delayed[2:]
    for each in whole.seen[:5]:
        after = desk.store.run(s.jobs(desk.home, ("ready",), each.on, 7)).seen
        assert [seen.id for seen in after] == line[line.index(each.id) + 1 :], "each says where to go on behind it"


def due(ms: int) -> Placement:
    """Waits so long."""
    return placement("t", Wishes(0, ms, 0, None, (), None, None), {})


def test_pages_show_each_job_once_in_the_order_of_its_place(desk: Desk) -> None:
    """In line, under lease, waiting for its time (many for the same moment), given up, called off, succeeded."""
    line = desk.put(*[b"\x01m"] * 30)
    assert walk(desk, "ready") == line
    delayed = desk.place(*[(b"\x01d", due(HOUR))] * 20, *[(b"\x01d", due(2 * HOUR))] * 3)
    desk.redis.zadd(desk.key("sched"), dict.fromkeys(delayed[:20], now(desk) + HOUR))
    found = walk(desk, "sched")
    assert (set(found), len(found), set(found[20:])) == ({*delayed}, 23, {*delayed[20:]})
    leases = desk.take(ME, 20)
    assert {*walk(desk, "held")} == {lease.id for lease in leases}
    assert walk(desk, "ready") == line[20:]
    desk.settle(ME, *leases[:10], state=JobState.FAILED)
    assert {*walk(desk, "dead")} == {lease.id for lease in leases[:10]}
    desk.cancel(*line[20:25])
    assert walk(desk, "ready") == line[25:], "who was called off leaves nothing to be seen"
    assert walk(desk, "called_off") == line[20:25][::-1]
    desk.cancel(delayed[0])
    assert walk(desk, "called_off")[0] == delayed[0]
    known = [s.ended(lease.id, 1000 + place, "t", 0.5, 0.25) for place, lease in enumerate(leases[10:])]
    desk.settle(ME, *leases[10:])
    assert tell(desk, 1, {}, recent=known)
    assert walk(desk, "recent") == [lease.id for lease in leases[:9:-1]]
    (newest,) = desk.store.run(s.jobs(desk.home, ("recent",), b"", 1)).seen
    assert s.read_ended(newest.detail) == (b"s", 1009, "t", 0.5, 0.25)
    assert newest.record == b"record"


@pytest.mark.parametrize("taken", [1, 9, 10, 45, 55])
def test_a_page_of_a_line_passes_nobody_over_whose_head_is_taken_meanwhile(desk: Desk, taken: int) -> None:
    """Fewer are taken than the page had, as many, or more; nor is one shown twice."""
    line = desk.put(*[b"\x01m"] * 60)
    first = desk.store.run(s.jobs(desk.home, ("ready",), b"", 10))
    desk.take(ME, taken)
    line += desk.put(b"\x01m")
    page = desk.store.run(s.jobs(desk.home, ("ready",), first.on, 10))
    assert [seen.id for seen in first.seen] == line[:10]
    assert [seen.id for seen in page.seen] == line[max(taken, 10) :][:10]
    # Far behind the head, and with fewer left than were seen.
    deep = desk.store.run(s.jobs(desk.home, ("ready",), b"", len(line) - taken - 3))
    desk.take(ME, 2)
    assert [seen.id for seen in desk.store.run(s.jobs(desk.home, ("ready",), deep.on, 9)).seen] == line[-3:]


@pytest.mark.parametrize("place", ["sched", "dead", "parked"])
@pytest.mark.parametrize("gone", ["the last one seen", "some that were seen", "all that were seen", "one that was not"])
def test_a_page_passes_nobody_over_of_those_with_equal_scores(desk: Desk, place: Place, gone: str) -> None:
    """Who leaves between two pages, or comes, moves the others of that moment; nobody is shown twice, nor left out."""
    key, ids = desk.key(place), sorted(b"%016d" % (7 * number) for number in range(40))
    desk.redis.zadd(key, {**dict.fromkeys(ids, 1_700_000_000_000), b"a" * 16: 1, b"z" * 16: 1_800_000_000_000})
    whole = walk(desk, place)
    assert len(whole) == len(set(whole)) == 42
    first = desk.store.run(s.jobs(desk.home, (place,), b"", 12))
    seen = [each.id for each in first.seen]
    assert seen == whole[:12]
    leave = {
        "the last one seen": seen[-1:],
        "some that were seen": [*seen[3:8], seen[-1]],
        "all that were seen": seen,
        "one that was not": [whole[12], whole[20]],
    }[gone]
    desk.redis.zrem(key, *leave)
    before = b"%016d" % (ids.index(seen[5]) * 7 + 1)  # among those that were passed already
    desk.redis.zadd(key, {before: 1_700_000_000_000})
    rest = desk.store.run(s.jobs(desk.home, (place,), first.on, 100)).seen
    assert [each.id for each in rest] == [id for id in whole[12:] if id not in leave]
    desk.redis.delete(key)  # they are no jobs


@pytest.mark.parametrize("size", [16_384, 16_385])
def test_a_page_brings_no_large_message(desk: Desk, size: int) -> None:
    """Fifty of the largest would be twelve megabytes."""
    desk.put(b"m" * size)
    (seen,) = desk.store.run(s.jobs(desk.home, ("ready",), b"", 10)).seen
    assert len(seen.message) == (size if size == 16_384 else 0)


WORKER = b"w" * 8


def test_a_worker_hears_what_is_asked_of_it_until_it_has_answered_or_the_time_is_over(desk: Desk) -> None:
    """To drain one that is known; where a job is that runs. Nobody else is asked, and asking twice is asking once."""
    (job,) = desk.put(b"m")

    def heard(worker: bytes = WORKER) -> tuple[bool, list[bytes]]:
        return desk.store.run(s.present(desk.home, worker, b"word", lasts_ms=60_000))

    def drain(worker: bytes) -> bool:
        return desk.store.run(o.drain(desk.home, worker, name="w", lasts_ms=60_000, who="me"))

    def stack() -> bool:
        return desk.store.run(o.stack(desk.home, job, name="j", lasts_ms=60_000, who="me"))

    assert heard() == (False, [])
    assert (drain(b"x" * 8), stack()) == (False, False)
    (lease,) = desk.take(ME)
    assert (drain(WORKER), stack(), stack()) == (True, True, True)
    assert heard(b"x" * 8) == (False, [job])
    assert heard() == (True, [job])
    assert not desk.store.run(s.dump(desk.home, job, b"another token", b"late", lasts_ms=60_000))
    assert stack()
    assert desk.store.run(s.dumped(desk.home, job)) == (b"", True)
    assert desk.store.run(s.dump(desk.home, job, lease.token, b"here", lasts_ms=60_000))
    assert desk.store.run(s.dumped(desk.home, job)) == (b"here", False)
    assert stack(), "what was said before is no answer"
    assert desk.store.run(s.dumped(desk.home, job)) == (b"", True)
    desk.redis.zadd(desk.key("requests"), {b"d" + WORKER: 1, b"s" + job: 1})
    assert heard() == (False, [])
    desk.sweep()
    assert not desk.redis.exists(desk.key("requests"))


def test_requests_and_answers_have_a_bound(desk: Desk) -> None:
    """The first to go makes room."""
    jobs = desk.put(*[b"m"] * 60)
    leases = {lease.id: lease for lease in desk.take(ME, 60)}
    for place, job in enumerate(jobs):
        assert desk.store.run(o.stack(desk.home, job, name="j", lasts_ms=60_000 + place, who="me"))
    assert desk.redis.zcard(desk.key("requests")) == 50
    for place, job in enumerate(jobs):
        assert desk.store.run(s.dump(desk.home, job, leases[job].token, b"here", lasts_ms=60_000 + place))
    assert desk.redis.hlen(desk.key("dumps")) == desk.redis.zcard(desk.key("dumps_until")) == 20
    assert desk.store.run(s.dumped(desk.home, jobs[-1])) == (b"here", False)
    later(desk, "dumps", 70_000)
    desk.sweep()
    assert not desk.redis.exists(desk.key("dumps"), desk.key("dumps_until"))
