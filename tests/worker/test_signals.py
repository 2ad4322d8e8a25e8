"""Sleeps and signals: nothing holds a slot while it waits, and no signal is lost or taken twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from quaff import (
    EncodeError,
    Job,
    JobCancelled,
    JobEnded,
    JobFailed,
    JobNotFound,
    JobState,
    StepError,
    TooManySignals,
)
from tests.helpers import wait_until
from tests.worker.support import Stage, children, kill
from tests.worker.test_steps import APP, tasks_of


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker with one slot for the tests that end no worker."""
    stage = Stage(server_url, tmp_path_factory.mktemp("signals"))
    tasks_of(stage)
    stage.worker("-p", "1", "-c", "1", app=APP)
    yield stage
    stage.end()


def waiting(job: Job[object], signal: str) -> None:
    """Until it waits for that."""
    wait_until(lambda: job.info().waiting_for == signal, 10, f"{job.info()}")
    assert job.state is JobState.SCHEDULED


# Sleeps


def test_a_sleep_frees_the_slot_and_costs_nothing(shared: Stage) -> None:
    """The only slot is free for others; the attempt's number stays, and what was done before is not done again."""
    job = shared.quaff.tasks["sleeps"].delay(3.0)
    wait_until(lambda: job.state is JobState.SCHEDULED, 10)
    (step, sleep) = job.info().steps
    assert (sleep.name, sleep.kind, sleep.state) == ("sleep", "sleep", "waiting")
    assert sleep.at == job.info().scheduled_for
    assert step.at is not None
    other = shared.quaff.tasks["sleeps"].delay(0)
    assert other.result(timeout=10) == [1]
    assert job.result(timeout=10) == [1]
    runs = [run for run in shared.runs() if run.job == job.id]
    assert [(run.tag, run.attempt) for run in runs] == [("before 0", 1), ("after", 1)]
    assert runs[1].started - runs[0].started > 2.9
    assert all(run.ended and run.ended < runs[1].started for run in shared.runs() if run.job == other.id)
    assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "snoozed"), (1, "succeeded")]


def test_sleeps_without_a_name_are_numbered_and_coroutines_sleep_too(shared: Stage) -> None:
    """One after the other."""
    assert shared.quaff.tasks["sleeps"].delay(0.05, 3).result(timeout=10) == [1, 1, 1]
    assert shared.quaff.tasks["asleeps"].delay(0.05).result(timeout=10) == 1


def test_a_sleep_goes_on_where_the_worker_does_not(stage: Stage) -> None:
    """It ends when it has to, whoever has lived in between."""
    quaff = tasks_of(stage)
    worker = stage.worker("-p", "1", app=APP)
    job = quaff.tasks["sleeps"].delay(2.0)
    wait_until(lambda: job.state is JobState.SCHEDULED, 10)
    assert worker.stop() == 0
    stage.worker("-p", "1", app=APP)
    job.result(timeout=15)
    before, after = stage.runs()
    assert 1.9 < after.started - before.started < 6


@pytest.mark.parametrize("how", ["return", "raise", "step"])
def test_what_a_task_does_after_it_has_caught_everything_does_not_count(shared: Stage, how: str) -> None:
    """``except Exception`` does not catch it; after ``except BaseException`` the job waits all the same."""
    job = shared.quaff.tasks["swallows"].delay(how)
    assert job.result(timeout=10) == "slept"
    assert [run.tag for run in shared.runs() if run.job == job.id] == ["run", "run"]


# Signals


@pytest.mark.parametrize("name", ["waits", "awaits"])
def test_a_signal_ends_the_wait(shared: Stage, name: str) -> None:
    """Of several names and of one name twice, each with its value."""
    job = shared.quaff.tasks[name].delay("approved", "paid", "approved")
    waiting(job, "approved")
    job.signal("other", 0)
    job.signal("approved", {"by": "ann"})
    waiting(job, "paid")
    job.signal("approved", None)
    job.signal("paid", (1, 2))
    assert job.result(timeout=10) == [{"by": "ann"}, (1, 2), None]
    assert {each.number for each in job.info().attempts} == {1}
    assert shared.raw().hlen(shared.key("signals")) == shared.raw().hlen(shared.key("steps")) == 0


def test_a_signal_may_come_before_the_job_has_begun(shared: Stage) -> None:
    """It waits for the job, not the job for it."""
    job = shared.quaff.tasks["waits"].options(delay=0.5).delay("approved", "approved")
    job.signal("approved", 1)
    job.signal("approved", 2)
    assert job.result(timeout=10) == [1, 2]
    assert len(job.info().attempts) == 1


def test_a_signal_may_come_while_the_job_is_busy(shared: Stage) -> None:
    """It is there when the job comes to look."""
    gate = shared.file()
    job = shared.quaff.tasks["looks"].delay(str(gate))
    wait_until(lambda: job.state is JobState.RUNNING, 10)
    job.signal("approved", "yes")
    gate.touch()
    assert job.result(timeout=10) == "yes"
    assert len(job.info().attempts) == 1


def test_a_signal_with_a_key_is_delivered_once(shared: Stage) -> None:
    """Also when the first one was taken already; without a key each is another one."""
    job = shared.quaff.tasks["waits"].delay("paid", "paid", "paid")
    job.signal("paid", 1, key="delivery-7")
    job.signal("paid", 1, key="delivery-7")
    waiting(job, "paid")
    job.signal("paid", 1, key="delivery-7")
    waiting(job, "paid")
    job.signal("paid", 2)
    job.signal("paid", 2)
    assert job.result(timeout=10) == [1, 2, 2]


def test_a_signal_that_does_not_come_is_a_timeout_for_ever(shared: Stage) -> None:
    """A later attempt is told the same; a timeout of 0 only looks."""
    job = shared.quaff.tasks["late"].delay(0.3)
    text = job.result(timeout=10)
    assert text.startswith(f"no signal 'approved' came to job {job.id} in time")
    assert text.endswith("[QF051]")
    (last,) = [each for each in job.info().attempts if each.outcome == "succeeded"]
    assert last.number == 2
    assert shared.quaff.tasks["late"].delay(0).result(timeout=10).startswith("no signal")
    with pytest.raises(JobFailed, match="no signal 'x'") as caught:
        shared.quaff.tasks["waits"].delay("x", timeout=0.1).result(timeout=10)
    assert caught.value.type == "SignalTimeout"


def test_a_signal_is_typed(shared: Stage) -> None:
    """As ``type=`` says, or the job fails and says so."""
    job = shared.quaff.tasks["receipts"].delay()
    job.signal("paid", {"order": 7, "paid": 1.5})
    assert job.result(timeout=10) == ["Receipt", "7"]
    job = shared.quaff.tasks["receipts"].delay()
    job.signal("paid", "yes")
    with pytest.raises(JobFailed, match=r"'paid' has another value than wait_for\(type=\) wants: Expected `object`"):
        job.result(timeout=10)
    assert "job.rerun(from_step='paid')" in str(job.info().error)
    assert job.rerun(from_step="paid")
    job.signal("paid", {"order": 8, "paid": 2})
    assert job.result(timeout=10) == ["Receipt", "8"]


def test_a_signal_to_nobody_is_an_error(shared: Stage) -> None:
    """A job that has ended, one that failed, one that never was; and what is no signal."""
    done = shared.quaff.tasks["sleeps"].delay(0)
    done.result(timeout=10)
    with pytest.raises(JobEnded, match=r"signal 'approved': job .* has ended \(succeeded\)"):
        done.signal("approved")
    failed = shared.quaff.tasks["waits"].delay("x", timeout=0)
    wait_until(lambda: failed.state is JobState.FAILED, 10)
    with pytest.raises(JobEnded, match="failed"):
        failed.signal("x")
    with pytest.raises(JobNotFound):
        shared.quaff.job("default/waits/never").signal("x")
    with pytest.raises(StepError, match="'' is no name"):
        done.signal("")
    with pytest.raises(EncodeError, match=r"job\.signal\('x'\): an object cannot be sent\. Send plain data"):
        done.signal("x", object())


def test_signals_that_nobody_takes_are_bounded(shared: Stage) -> None:
    """By number and by bytes."""
    many = shared.quaff.tasks["waits"].options(delay=3600).delay("x")
    for number in range(100):
        many.signal("x", number)
    with pytest.raises(TooManySignals, match="has room for 100 signals"):
        many.signal("x", 100)
    large = shared.quaff.tasks["waits"].options(delay=3600).delay("x")
    large.signal("x", b"x" * 40_000)
    with pytest.raises(TooManySignals, match="65,536 bytes"):
        large.signal("x", b"x" * 40_000)
    for job in (many, large):
        assert job.cancel()
    assert shared.raw().exists(shared.key("signals")) == 0


def test_a_signal_follows_a_job_to_another_queue(shared: Stage) -> None:
    """And whoever asks the handle is told what it waits for there."""
    job = shared.quaff.tasks["moves"].delay()
    waiting(job, "approved")
    job.signal("approved", "yes")
    assert job.result(timeout=15) == "yes in looks"


def test_a_job_that_waits_can_be_cancelled(shared: Stage) -> None:
    """It ends, and leaves nothing."""
    job = shared.quaff.tasks["waits"].delay("approved")
    waiting(job, "approved")
    assert job.cancel("not needed")
    with pytest.raises(JobCancelled, match="not needed"):
        job.result(timeout=5)
    with pytest.raises(JobEnded, match="cancelled"):
        job.signal("approved")
    assert job.info().steps == []


def test_a_wait_goes_on_where_its_worker_was_killed(stage: Stage) -> None:
    """In the wait, and after the signal has come."""
    quaff = tasks_of(stage)
    worker = stage.worker("-p", "1", app=APP)
    job = quaff.tasks["waits"].delay("approved", "paid")
    waiting(job, "approved")
    kill(children(worker)[0])
    job.signal("approved", 1)
    waiting(job, "paid")
    assert worker.stop() == 0
    job.signal("paid", 2)
    assert job.state is JobState.QUEUED
    stage.worker("-p", "1", app=APP)
    assert job.result(timeout=15) == [1, 2]


def test_no_signal_that_races_with_the_wait_is_lost(stage: Stage) -> None:
    """A thousand jobs that wait twice, with a thousand senders: whoever comes first, each is delivered, and once."""
    quaff = tasks_of(stage)
    stage.worker("-p", "2", app=APP)
    with ThreadPoolExecutor(8) as pool:

        def race(number: int) -> None:
            job = quaff.tasks["waits" if number % 2 else "awaits"].delay("a", "b")
            if number % 3:
                wait_until(lambda: job.state is not JobState.QUEUED, 30)
            job.signal("a", number)
            job.signal("b", -number)
            assert job.result(timeout=30) == [number, -number]

        list(pool.map(race, range(1000)))
    raw = stage.raw()
    assert raw.exists(stage.key("steps"), stage.key("signals"), stage.key("sched"), stage.key("active")) == 0
