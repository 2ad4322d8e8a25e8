"""Unique jobs: one lives at a time, whatever ends it, and what becomes of a second one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from quaff.model.limits import Unique
from quaff.model.placement import Placement
from quaff.model.states import JobState
from quaff.store.transitions import requeue
from tests.store.engine import HOUR, Desk, fifo, process_id
from tests.store.test_placement import at, state_of

ME = process_id()


def one(on_conflict: Any = "keep", *, until: Any = "done", for_: float | None = None, **more: Any) -> Placement:
    """A job that is the only one of its kind."""
    return at(unique=Unique(until=until, for_=for_, on_conflict=on_conflict), **{"x": 1, **more})


def test_a_second_one_is_the_first(desk: Desk) -> None:
    """While it waits, runs, and comes back; other arguments are another job."""
    (first,) = desk.place((b"1", one()))
    assert desk.place((b"2", one()), (b"3", one(x=2)))[0] == first
    leases = desk.take(ME, 5)
    assert fifo(leases) == [b"1", b"3"]
    assert desk.place((b"4", one())) == [first]
    desk.settle(ME, leases[0], state=JobState.RETRYING, ttl_ms=HOUR)
    assert desk.place((b"5", one())) == [first]


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel", "cancel running", "expire", "poison", "lapse out"])
def test_a_new_one_is_accepted_the_moment_the_old_one_has_ended(desk: Desk, how: str) -> None:
    """And never before: the key goes in the script that ends the job."""
    (first,) = desk.place((b"1", one()))
    if how == "cancel":
        assert desk.cancel(first) == [b"c"]
    else:
        (lease,) = desk.take(ME)
        assert desk.place((b"2", one())) == [first]
        match how:
            case "succeed":
                desk.settle(ME, lease)
            case "fail":
                desk.settle(ME, lease, state=JobState.FAILED)
            case "expire":
                desk.settle(ME, lease, state=JobState.EXPIRED)
            case "cancel running":
                desk.cancel(first)
                assert desk.place((b"2", one())) == [first]
                desk.release(ME, lease)
            case "poison":
                for _ in range(3):
                    assert desk.place((b"2", one())) == [first]
                    process = process_id() if state_of(desk, first) is JobState.QUEUED else ME
                    if process != ME:
                        (lease,) = desk.take(process, idle=True)
                    desk.reap(process, first)
            case "lapse out":
                process = ME
                for _ in range(4):
                    assert desk.place((b"2", one())) == [first]
                    desk.let_lapse(process)
                    desk.sweep()
                    if state_of(desk, first) is JobState.FAILED:
                        break
                    process = process_id()
                    desk.take(process, idle=True)
    state = state_of(desk, first)
    assert state is not None
    assert state.terminal
    assert desk.dump().uniq == {}
    (second,) = desk.place((b"2", one()))
    assert second != first
    assert state_of(desk, second) is JobState.QUEUED


def test_until_the_start_frees_the_key_with_the_claim(desk: Desk) -> None:
    """A job that runs already may have missed what the next one is for."""
    (first,) = desk.place((b"1", one(until="start")))
    assert desk.place((b"2", one(until="start"))) == [first]
    desk.take(ME)
    (second,) = desk.place((b"2", one(until="start")))
    assert second != first


def test_a_key_that_is_held_for_a_time_is_free_after_it_and_not_before(desk: Desk) -> None:
    """Throttle: whatever becomes of the job."""
    (first,) = desk.place((b"1", one(until="time", for_=1.0)))
    desk.settle(ME, *desk.take(ME))
    assert desk.place((b"2", one(until="time", for_=1.0))) == [first]
    time.sleep(1.01)
    (second,) = desk.place((b"2", one(until="time", for_=1.0)))
    assert second != first
    time.sleep(1.01)
    desk.sweep()
    assert (desk.dump().uniq, desk.dump().lapses) == ({}, {})


def test_for_ends_the_key_of_a_job_that_lives_on(desk: Desk) -> None:
    """A bound for jobs that hang; the end of the old one does not free the key of the new one."""
    (first,) = desk.place((b"1", one(for_=0.05)))
    time.sleep(0.06)
    (second,) = desk.place((b"2", one(for_=60)))
    assert second != first
    leases = desk.take(ME, 5)
    desk.settle(ME, leases[0])
    assert desk.place((b"3", one())) == [second]


def test_the_heir_of_a_key_that_has_lapsed_comes_beside_the_one_that_lives_on(desk: Desk) -> None:
    """Both are there then, and the key is the heir's."""
    desk.place((b"1", one("replace", for_=600)))
    (running,) = desk.take(ME)
    (heir,) = desk.place((b"2", one("replace")))
    let_the_hold_lapse(desk)
    desk.sweep()
    dump = desk.dump()
    assert ([*dump.uniq.values()], dump.ready, list(dump.active)) == ([heir], [heir], [running.id])


def test_the_heir_of_a_key_that_has_lapsed_is_whom_the_next_one_meets(desk: Desk) -> None:
    """Before a sweep has come by: the newest takes its place, and none runs out of turn."""
    desk.place((b"1", one("replace", for_=600)))
    (running,) = desk.take(ME)
    (heir,) = desk.place((b"2", one("replace", for_=600)))
    desk.redis.zadd(desk.key("lapses"), dict.fromkeys(desk.dump().lapses, 1), xx=True)
    desk.place((b"3", one("replace", for_=600)))
    assert state_of(desk, heir) == JobState.CANCELLED
    assert fifo(desk.take(ME, 5)) == [b"3"]
    desk.settle(ME, running)


def test_replace_cancels_the_one_that_waits(desk: Desk) -> None:
    """Keep the latest; also one that is scheduled, which makes a debounce of it."""
    (first,) = desk.place((b"1", one("replace")))
    (second,) = desk.place((b"2", one("replace", delay_ms=HOUR)))
    assert state_of(desk, first) is JobState.CANCELLED
    (third,) = desk.place((b"3", one("replace")))
    assert [state_of(desk, each) for each in (second, third)] == [JobState.CANCELLED, JobState.QUEUED]
    assert fifo(desk.take(ME, 5)) == [b"3"]


def test_replace_lets_a_running_one_end_and_then_comes(desk: Desk) -> None:
    """Blocked until then; at most one follows, the latest."""
    desk.place((b"1", one("replace")))
    (lease,) = desk.take(ME)
    (second,) = desk.place((b"2", one("replace")))
    assert state_of(desk, second) is JobState.BLOCKED
    (third,) = desk.place((b"3", one("replace")))
    assert [state_of(desk, each) for each in (second, third)] == [JobState.CANCELLED, JobState.BLOCKED]
    assert desk.take(ME, 5) == []
    desk.settle(ME, lease)
    assert desk.dump().wake
    assert fifo(desk.take(ME, 5)) == [b"3"]
    assert desk.dump().uniq.popitem()[1] == third


def test_an_heir_can_be_cancelled_and_waits_for_its_own_time(desk: Desk) -> None:
    """As any job that waits."""
    desk.place((b"1", one("replace")))
    (lease,) = desk.take(ME)
    (second,) = desk.place((b"2", one("replace")))
    assert desk.cancel(second) == [b"c"]
    (third,) = desk.place((b"3", one("replace", delay_ms=HOUR)))
    desk.settle(ME, lease)
    assert state_of(desk, third) is JobState.SCHEDULED


def test_a_retry_of_the_holder_comes_before_its_heir(desk: Desk) -> None:
    """It has not ended."""
    desk.place((b"1", one("replace")))
    (lease,) = desk.take(ME)
    (second,) = desk.place((b"2", one("replace")))
    desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=0)
    assert state_of(desk, second) is JobState.BLOCKED
    assert fifo(desk.take(ME, 5)) == [b"1"]


def test_cancel_running_asks_the_running_one_to_end(desk: Desk) -> None:
    """And takes its place when it has."""
    (first,) = desk.place((b"1", one("cancel_running")))
    (lease,) = desk.take(ME)
    (second,) = desk.place((b"2", one("cancel_running")))
    assert list(desk.dump().stop) == [first]
    desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=0)
    assert [state_of(desk, each) for each in (first, second)] == [JobState.CANCELLED, JobState.QUEUED]


def test_reschedule_moves_the_one_that_waits(desk: Desk) -> None:
    """Debounce: each call puts it off; one that runs stays as it is."""
    (first,) = desk.place((b"1", one("reschedule", delay_ms=1000)))
    assert desk.place((b"2", one("reschedule", delay_ms=HOUR))) == [first]
    assert desk.dump().sched[first] > time.time() * 1000 + HOUR / 2
    assert desk.place((b"3", one("reschedule"))) == [first]
    assert state_of(desk, first) is JobState.QUEUED
    assert desk.place((b"4", one("reschedule", delay_ms=HOUR))) == [first]
    assert state_of(desk, first) is JobState.SCHEDULED
    desk.place((b"5", one("reschedule")))
    assert fifo(desk.take(ME, 5)) == [b"1"]
    assert desk.place((b"6", one("reschedule", delay_ms=HOUR))) == [first]
    assert state_of(desk, first) is JobState.RUNNING


def test_a_dead_letter_is_sent_back_only_while_no_other_lives(desk: Desk) -> None:
    """And then holds its key again."""
    (first,) = desk.place((b"1", one()))
    desk.settle(ME, *desk.take(ME), state=JobState.FAILED)
    (second,) = desk.place((b"2", one()))
    assert desk.store.run(requeue(desk.home, [first])) == [b"u"]
    desk.settle(ME, *desk.take(ME))
    assert desk.store.run(requeue(desk.home, [first])) == [b"q"]
    assert desk.place((b"3", one())) == [first]
    assert second != first


def test_a_dead_letter_that_holds_its_own_key_for_a_time_is_sent_back(desk: Desk) -> None:
    """Nobody else is in its way."""
    (id,) = desk.place((b"m", one(until="time", for_=600)))
    desk.settle(ME, *desk.take(ME), state=JobState.FAILED)
    assert desk.store.run(requeue(desk.home, [id])) == [b"q"]
    assert len(desk.take(ME)) == 1


def test_a_job_that_crashed_and_is_put_off_takes_its_limits_once(desk: Desk) -> None:
    """What is left of it among those that run alone takes nothing."""
    from quaff.model.limits import Concurrency

    place = one("reschedule", limits=(Concurrency(2, key="all"),))
    (first,) = desk.place((b"1", place))
    desk.take(ME)
    desk.reap(ME, first)
    assert desk.place((b"2", one("reschedule", delay_ms=HOUR))) == [first]
    desk.let_be_due(first)
    other = process_id()
    leases = desk.take(other, idle=True) + desk.take(other, idle=True)
    assert [lease.id for lease in leases] == [first]
    assert list(desk.dump().slots.values()) == [b"1"]


def let_the_hold_lapse(desk: Desk) -> None:
    """The time for which a key is held is over."""
    assert desk.dump().lapses
    desk.redis.zadd(desk.key("lapses"), dict.fromkeys(desk.dump().lapses, 1), xx=True)


@pytest.mark.parametrize("how", ["its turn", "a sweep"])
def test_an_heir_holds_the_key_no_longer_than_it_asked_for(desk: Desk, how: str) -> None:
    """``for_`` is a bound for whoever hangs, also for one that came to the key after another one."""
    desk.place((b"1", one("replace", for_=600)))
    (lease,) = desk.take(ME)
    (heir,) = desk.place((b"2", one("replace", for_=300)))
    if how == "its turn":
        desk.settle(ME, lease)
    else:
        let_the_hold_lapse(desk)
        desk.sweep()
    (lapses,) = desk.dump().lapses.values()
    assert lapses == pytest.approx(time.time() * 1000 + 300_000, abs=5000)
    assert fifo(desk.take(ME)) == [b"2"]
    let_the_hold_lapse(desk)
    (third,) = desk.place((b"3", one("replace", for_=300)))
    assert (state_of(desk, heir), state_of(desk, third)) == (JobState.RUNNING, JobState.QUEUED)


def test_an_heir_without_such_a_time_holds_the_key_to_its_end(desk: Desk) -> None:
    """Whatever the one before it asked for."""
    desk.place((b"1", one("replace", for_=600)))
    (lease,) = desk.take(ME)
    desk.place((b"2", one("replace")))
    desk.settle(ME, lease)
    assert (len(desk.dump().uniq), desk.dump().lapses) == (1, {})


def test_a_dead_letter_that_is_sent_back_holds_its_key_no_longer_than_it_asked_for(desk: Desk) -> None:
    """As when it was sent."""
    (first,) = desk.place((b"1", one(for_=300)))
    desk.settle(ME, *desk.take(ME), state=JobState.FAILED)
    assert desk.store.run(requeue(desk.home, [first])) == [b"q"]
    assert desk.place((b"2", one(for_=300))) == [first]
    let_the_hold_lapse(desk)
    (second,) = desk.place((b"2", one(for_=300)))
    assert second != first
