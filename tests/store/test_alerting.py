"""One worker at a time tells of what was given up: each at least once, in order, and nothing twice without a reason."""

from __future__ import annotations

from quaff.model.limits import Concurrency, FairBy
from quaff.model.outcome import decode_history
from quaff.model.placement import Placement, Wishes, placement
from quaff.model.states import JobState
from quaff.store.alerting import Due, Told, alerts
from quaff.store.operations import pause
from quaff.store.transitions import requeue
from tests.store.engine import Desk, process_id

ME, OTHER = b"m" * 8, b"o" * 8
PROCESS = process_id()


def look(desk: Desk, told: Told = Told(), who: bytes = ME, most: int = 20) -> Due | None:  # noqa: B008  it is a value
    """What there is to tell."""
    return desk.store.run(alerts(desk.home, who, told, lasts_ms=60_000, most=most))


def letters(due: Due | None) -> list[bytes]:
    """The ids of it."""
    assert due is not None
    return [letter.id for letter in due.letters]


def give_up(desk: Desk, count: int) -> list[bytes]:
    """Jobs that fail for good in one moment; in the order in which they are listed then."""
    desk.put(*[b"m"] * count)
    leases = desk.take(PROCESS, count)
    desk.settle(PROCESS, *leases, state=JobState.FAILED)
    at = desk.redis.zscore(desk.key("dead"), leases[0].id)
    desk.redis.zadd(desk.key("dead"), {lease.id: at for lease in leases})
    return sorted(lease.id for lease in leases)


def silence(desk: Desk) -> None:
    """Whoever tells has not been heard for too long."""
    desk.redis.hset(desk.key("alerts"), "until", 1)


def test_what_was_given_up_comes_until_it_was_told_and_what_was_before_never_does(desk: Desk) -> None:
    """Page by page, many of one moment too."""
    before = give_up(desk, 3)
    desk.redis.zadd(desk.key("dead"), dict.fromkeys(before, 1))
    assert letters(look(desk)) == []
    jobs = give_up(desk, 45)
    first = look(desk)
    assert first is not None
    assert letters(first) == letters(look(desk)) == jobs[:20]
    second = look(desk, Told(first.letters[-1]))
    assert second is not None
    assert letters(second) == letters(look(desk)) == jobs[20:40]
    third = look(desk, Told(second.letters[-1]))
    assert third is not None
    assert letters(third) == jobs[40:]
    assert letters(look(desk, Told(third.letters[-1]))) == []
    assert letters(look(desk)) == []
    later = give_up(desk, 1)
    assert letters(look(desk)) == later
    assert letters(look(desk, most=0)) == []


def test_what_was_given_up_in_the_future_is_not_told_again_and_again(desk: Desk) -> None:
    """The clock was put back, or its time was damaged: it waits for its moment, and the others come."""
    look(desk)
    (ahead,) = give_up(desk, 1)
    for score in (2.0**53, "inf"):
        desk.redis.zadd(desk.key("dead"), {ahead: score})
        jobs = give_up(desk, 2)
        due = look(desk)
        assert due is not None
        assert letters(due) == jobs
        assert letters(look(desk, Told(due.letters[-1]))) == []


def test_one_that_was_told_and_then_sent_back_keeps_nothing_from_being_told(desk: Desk) -> None:
    """Those of the same moment come once more: at least once is what is promised."""
    look(desk)
    jobs = give_up(desk, 3)
    first = look(desk, most=2)
    assert first is not None
    desk.store.run(requeue(desk.home, [first.letters[-1].id]))
    assert jobs[2] in letters(look(desk, Told(first.letters[-1])))


def test_one_worker_at_a_time_tells_and_the_next_one_goes_on_where_it_was(desk: Desk) -> None:
    """What somebody says was told who has lost his turn counts no more."""
    look(desk)
    jobs = give_up(desk, 2)
    mine = look(desk, most=1)
    assert mine is not None
    assert letters(mine) == jobs[:1]
    assert look(desk, who=OTHER) is None
    silence(desk)
    others = look(desk, who=OTHER, most=1)
    assert letters(others) == jobs[:1]
    assert others is not None
    assert letters(look(desk, Told(others.letters[-1], late=True), who=OTHER)) == jobs[1:]
    assert look(desk, Told(mine.letters[-1])) is None
    silence(desk)
    again = look(desk, Told(mine.letters[-1], late=False))
    assert again is not None
    assert (letters(again), again.late) == (jobs[1:], True)


def test_the_head_of_the_line_is_shown_as_far_as_it_waits_for_the_first_time(desk: Desk) -> None:
    """Not who has run before, is called off, or has so much to say that it would cost."""
    begun, cancelled, _large, *waiting = desk.put(b"b", b"c", b"l" * 20_000, *[b"m"] * 4)
    (lease,) = desk.take(PROCESS)
    desk.release(PROCESS, lease, record=b"of the attempt")
    desk.cancel(cancelled)
    assert (lease.id, desk.look(begun).state) == (begun, JobState.QUEUED)
    due = look(desk)
    assert due is not None
    assert due.head == [(id, b"m", b"") for id in waiting[:3]]
    assert not due.paused
    desk.store.run(pause(desk.home, on=True, lasts_ms=0, who="me"))
    paused = look(desk)
    assert paused is not None
    assert paused.paused


def asks(priority: int = 0, who: str = "", limits: tuple[Concurrency, ...] = ()) -> Placement:
    """A job that does not simply stand in the one line."""
    return placement("t", Wishes(0, 0, priority, None, limits, FairBy("{who}") if who else None, None), {"who": who})


def test_the_first_of_each_priority_and_of_lanes_are_shown_too(desk: Desk) -> None:
    """Also of a lane that has to wait at a limit; whoever stands behind them is not."""
    one = (Concurrency(1, key="one"),)
    running, stalled, _ = desk.place(*[(b"s", asks(limits=one))] * 3)
    assert [lease.id for _ in range(2) for lease in desk.take(PROCESS)] == [running]
    assert desk.redis.exists(desk.key("waits"))
    low, lower = asks(-5), asks(-7)
    wanted = desk.place(*[(b"5", low), (b"7", lower), (b"9", asks(9))])
    desk.place((b"5", low), (b"7", lower))
    wanted += desk.place((b"a", asks(who="a")), (b"b", asks(who="b")))
    desk.place((b"a", asks(who="a")))
    due = look(desk)
    assert due is not None
    assert {first.id for first in due.head} == {*wanted, stalled}


def test_one_that_must_run_alone_is_shown_with_the_attempt_that_was_cut_short(desk: Desk) -> None:
    """From its end on it waits."""
    (id,) = desk.put(b"m")
    desk.take(PROCESS)
    desk.let_lapse(PROCESS)
    desk.allow_reaping()
    desk.sweep()
    due = look(desk)
    assert due is not None
    (first,) = due.head
    (attempt,) = decode_history(first.attempt)
    assert (first.id, first.message, attempt.outcome) == (id, b"m", "lapsed")
    assert abs(due.now_ms - attempt.ended_ms) < 60_000
