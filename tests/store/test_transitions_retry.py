"""running -> retrying -> queued: what failed and comes back, at once or at its time."""

from __future__ import annotations

import time

import pytest

from quaff.model import outcome
from quaff.model.outcome import Attempt
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.transitions import STEP, Lease, Verdict
from tests.store.engine import HOUR, Desk, fifo, process_id, unchanged

OK, ALREADY, FENCED = Verdict.OK, Verdict.ALREADY, Verdict.FENCED
ME, OTHER = process_id(), process_id()


def failed(number: int, worker: str = "w") -> bytes:
    """The record of an attempt that failed."""
    return outcome.encode(Attempt(number, 1, 2, worker, 3, "failed"))


def retry(desk: Desk, lease: Lease, delay_ms: int = HOUR, process: bytes = ME, record: bytes = b"") -> list[Verdict]:
    """Settle a job as one that comes back."""
    record = record or failed(lease.attempt)
    return desk.settle(process, lease, state=JobState.RETRYING, ttl_ms=delay_ms, record=record)


def test_a_failed_job_waits_for_its_time_and_comes_back_with_its_failures_counted(desk: Desk) -> None:
    """Attempt and failures are in the new token; the attempt before is in the history."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(ME)
    assert (lease.attempt, lease.failures) == (1, 0)
    assert retry(desk, lease) == [OK]
    found = desk.look(id)
    assert found.state is JobState.RETRYING
    assert found.due_ms == pytest.approx(time.time() * 1000 + HOUR, abs=60_000)
    assert desk.take(ME) == []
    desk.let_be_due(id)
    (again,) = desk.take(ME)
    assert (again.id, again.message, again.attempt, again.failures) == (id, b"m", 2, 1)
    desk.settle(ME, again)
    found = desk.look(id)
    assert found.state is JobState.SUCCEEDED
    assert [(attempt.number, attempt.outcome) for attempt in outcome.decode_history(found.history)] == [(1, "failed")]
    assert desk.dump().tries == {}


def test_a_settle_that_is_sent_again_changes_nothing_wherever_the_job_is_by_then(desk: Desk) -> None:
    """A lost reply: ALREADY while it waits, while it runs again, and for ever FENCED for another token (I4, F28)."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(ME)
    stranger = Lease(id, b"m", b"other.1.1")
    assert retry(desk, lease) == [OK]
    assert unchanged(desk, lambda: retry(desk, lease)) == [ALREADY]
    assert unchanged(desk, lambda: desk.settle(ME, lease)) == [ALREADY]
    assert unchanged(desk, lambda: retry(desk, stranger)) == [FENCED]
    desk.let_be_due(id)
    (again,) = desk.take(OTHER)
    assert unchanged(desk, lambda: retry(desk, lease)) == [ALREADY]
    assert unchanged(desk, lambda: retry(desk, stranger)) == [FENCED]
    assert desk.settle(OTHER, again) == [OK]
    assert unchanged(desk, lambda: retry(desk, stranger)) == [FENCED]


def test_a_retry_without_a_delay_goes_to_the_tail(desk: Desk) -> None:
    """What waits is not held up by what fails again and again (I16)."""
    desk.put(b"a", b"b")
    (lease,) = desk.take(ME)
    assert retry(desk, lease, 0) == [OK]
    assert fifo(desk.take(ME, 5)) == [b"b", b"a"]


def test_what_is_due_comes_in_the_order_of_its_times(desk: Desk) -> None:
    """The earliest first, behind what waits already; fifty a step, however many are asked for."""
    ids = desk.put(*(b"%d" % n for n in range(150)))
    leases = desk.take(ME, 150)
    for lease in leases:
        retry(desk, lease)
    desk.put(b"waits")
    desk.let_be_due(*ids)
    assert fifo(desk.take(ME, 1)) == [b"waits"]
    assert len(desk.dump().sched) == 100
    assert fifo(desk.take(ME, 100)) == [b"%d" % n for n in range(100)]
    assert fifo(desk.take(ME, 500)) == [b"%d" % n for n in range(100, 150)]


def test_the_sweep_brings_back_what_is_due(desk: Desk) -> None:
    """Where nobody claims, it is in line all the same, and somebody is woken."""
    ids = desk.put(*(b"%d" % n for n in range(4 * STEP + 1)))
    for lease in desk.take(ME, len(ids)):
        retry(desk, lease)
    desk.redis.delete(desk.key("wake"))
    desk.let_be_due(*ids)
    assert desk.sweep().more
    brought = len(desk.dump().ready)
    assert 0 < brought <= STEP
    assert desk.dump().ready == ids[:brought]
    assert len(desk.dump().wake) == 1
    while desk.sweep().more:
        assert len(desk.dump().ready) < len(ids)
    assert desk.dump().ready == ids


def test_a_claim_tells_when_the_next_job_is_due(desk: Desk) -> None:
    """So that a process wakes at that moment and asks nothing before."""
    ids = desk.put(b"a", b"b")
    first, second = desk.take(ME, 2)
    assert desk.claim(ME, 10, b"none").again_ms is None
    retry(desk, first, HOUR)
    assert desk.dump().wake, "whoever waits must hear of a new earliest time"
    assert desk.claim(ME, 11, b"far").again_ms == pytest.approx(HOUR, abs=10_000)
    assert not desk.dump().wake
    retry(desk, second, 2 * HOUR)
    assert not desk.dump().wake, "a later one changes nobody's plans"
    desk.let_be_due(ids[0])
    answer = desk.claim(ME, 12, b"near")
    assert [lease.id for lease in answer.leases] == [ids[0]]
    assert answer.again_ms == pytest.approx(2 * HOUR, abs=10_000)
    assert desk.dump().wake, "this process may be busy then: another one must know"


def test_a_job_that_crashed_before_runs_alone_after_a_failure_too(desk: Desk) -> None:
    """From its first crash on until it ends; failures and crashes are counted apart (F54)."""
    (id,) = desk.put(b"m")
    desk.take(OTHER)
    desk.reap(OTHER, id)
    (lease,) = desk.take(ME, idle=True)
    assert (lease.attempt, lease.failures) == (2, 0)
    for number, delay in enumerate((HOUR, 0), 1):
        assert retry(desk, lease, delay) == [OK]
        if delay:
            desk.let_be_due(id)
        assert desk.take(ME, idle=False) == []
        answer = desk.claim(ME, 100 + number, b"c%d" % number, idle=True)
        assert answer.alone
        (lease,) = answer.leases
        assert (lease.attempt, lease.failures) == (2 + number, number)


def test_a_crash_after_failures_keeps_their_number(desk: Desk) -> None:
    """A job that failed once and then crashed has one failure."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(ME)
    retry(desk, lease, 0)
    desk.take(OTHER)
    desk.reap(OTHER, id)
    (lease,) = desk.take(ME, idle=True)
    assert (lease.attempt, lease.failures) == (3, 1)


def test_the_history_keeps_the_newest_attempts_within_its_bound(desk: Desk) -> None:
    """64 KiB: twelve attempts of 20 kB leave the last three."""
    (id,) = desk.put(b"m")
    for number in range(1, 13):
        (lease,) = desk.take(ME)
        assert retry(desk, lease, 0, record=failed(number, "w" * 20_000)) == [OK]
    found = desk.look(id)
    assert len(found.history) <= 65_536
    assert [attempt.number for attempt in outcome.decode_history(found.history)] == [10, 11, 12]


def test_a_batch_may_end_some_and_retry_others(desk: Desk) -> None:
    """One call; the same id twice in it is answered as if it had come in two."""
    ids = desk.put(b"a", b"b", b"c")
    a, b, c = desk.take(ME, 3)
    assert retry(desk, a, 0) == [OK]
    items = [
        (b.id, b.token, JobState.RETRYING, HOUR, b"", failed(1)),
        (b.id, b.token, JobState.SUCCEEDED, HOUR, b"", b"record"),
        (c.id, c.token, JobState.SUCCEEDED, HOUR, b"", b"record"),
        (a.id, a.token, JobState.RETRYING, HOUR, b"", failed(1)),
    ]
    assert desk.store.run(t.settle(desk.home, process=ME, window_ms=HOUR, items=items)) == [OK, ALREADY, OK, ALREADY]
    states = [desk.look(id).state for id in ids]
    assert states == [JobState.QUEUED, JobState.RETRYING, JobState.SUCCEEDED]
