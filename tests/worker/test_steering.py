"""What a task says of how it goes on, and what happens when a job is given up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from quaff import JobCancelled, JobExpired, JobFailed, JobState, Quaff
from tests.helpers import Program, wait_until
from tests.worker import workapp
from tests.worker.support import Stage, after


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Program]]:
    """One worker for all these tests."""
    stage = Stage(server_url, tmp_path_factory.mktemp("steering"))
    yield stage, stage.worker("-p", "1", "-c", "4", MAX_CRASHES="2")
    stage.end()


@pytest.fixture
def stage(shared: tuple[Stage, Program]) -> Stage:
    """The shared stage."""
    return shared[0]


def test_a_job_that_snoozes_runs_later_as_the_same_attempt(stage: Stage) -> None:
    """Nothing is counted; what it said is kept."""
    job = stage.send("steer", "snooze")
    assert job.result(timeout=15) == "attempt 1"
    assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "snoozed"), (1, "succeeded")]


def test_a_job_that_has_begun_in_time_does_not_expire_while_it_snoozes(stage: Stage) -> None:
    """Though its attempt has the same number again: ``expires=`` is about the beginning."""
    job = stage.send("snooze_for", 2.5, str(stage.file()), expires=2)
    assert job.result(timeout=15) == "ran"


def test_a_job_asks_for_another_attempt_through_current_job(stage: Stage) -> None:
    """As ``raise Retry``."""
    assert stage.send("steer", "retry").result(timeout=15) == "attempt 2"


def test_a_job_that_cancels_itself_is_cancelled_with_its_reason(stage: Stage) -> None:
    """It is no failure, and not among the dead letters."""
    job = stage.send("steer", "cancel")
    with pytest.raises(JobCancelled, match="nothing to do"):
        job.result(timeout=15)
    info = job.info()
    assert (info.state, info.attempts[-1].outcome) == (JobState.CANCELLED, "cancelled")
    assert not job.requeue()


def test_a_job_that_no_worker_came_to_in_time_expires(stage: Stage) -> None:
    """Given as seconds or as a moment; one that is in time runs, and one that began in time may be tried again."""
    path = stage.file()
    blockers = [stage.send("gate", f"blocker {n}", str(path), queue="default") for n in range(4)]
    for n in range(4):
        stage.started(f"blocker {n}")
    late = [
        stage.send("mark", "late", expires=0.2),
        stage.send("mark", "late", expires=datetime.now(UTC) + timedelta(seconds=0.2)),
    ]
    in_time = stage.send("mark", "in time", expires=timedelta(minutes=5))
    after(0.5)
    path.touch()
    assert in_time.result(timeout=15) == "in time"
    for job in late:
        with pytest.raises(JobExpired):
            job.result(timeout=15)
        assert (job.state, job.info().attempts) == (JobState.EXPIRED, [])
    for job in blockers:
        job.result(timeout=15)
    assert stage.runs("late") == []


@pytest.mark.parametrize(("how", "reason"), [("raise", "error"), ("hang", "timeout"), ("exit", "poison")])
def test_a_job_that_is_given_up_is_followed_by_the_task_that_wants_to_know(stage: Stage, how: str, reason: str) -> None:
    """Whatever it was given up for, once, with its id; and again when it was sent back."""
    job = stage.send("hopeless", how)
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=30)
    assert caught.value.reason == reason
    stage.started(f"given up {job.id}")
    if how == "raise":
        assert job.requeue()
        stage.started(f"given up {job.id}", 2)
        wait_until(lambda: job.state is JobState.FAILED, 15, "the second end")
        assert [each.outcome for each in job.info().attempts] == ["failed"] * 4


def test_a_task_that_was_renamed_runs_what_was_sent_by_its_old_names(stage: Stage) -> None:
    """F55: a deploy that renames a task loses nothing."""
    old = Quaff(stage.url, namespace=stage.namespace)
    for name in ("old.name", "older.name", "renamed"):
        assert old.task(workapp.renamed.fn, name=name).delay(name).result(timeout=15) == name
