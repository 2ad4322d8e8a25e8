"""What fails and comes back: how often, when, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from quaff import JobFailed
from tests.helpers import Program, wait_until
from tests.worker.support import Stage


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Program]]:
    """One worker for all these tests."""
    stage = Stage(server_url, tmp_path_factory.mktemp("retries"))
    yield stage, stage.worker("-p", "1", "-c", "4")
    stage.end()


@pytest.fixture
def stage(shared: tuple[Stage, Program]) -> Stage:
    """The shared stage."""
    return shared[0]


@pytest.mark.parametrize("task", ["flaky", "aflaky"])
def test_a_task_that_fails_twice_succeeds_at_the_third_attempt(stage: Stage, task: str) -> None:
    """Every attempt is kept, with its time, its process and what it raised."""
    job = stage.send(task, f"{task} twice", 2)
    assert job.result(timeout=20) == 3
    info = job.info()
    assert [(attempt.number, attempt.outcome) for attempt in info.attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "succeeded"),
    ]
    for attempt in info.attempts[:2]:
        assert attempt.error is not None
        assert (attempt.error.type, attempt.error.message) == ("ConnectionError", f"attempt {attempt.number}")
        assert "workapp.py" in attempt.error.traceback
        assert "executor.py" not in attempt.error.traceback
        assert attempt.worker
        assert attempt.pid
    assert info.error is None
    times = [time for attempt in info.attempts for time in (attempt.started_at, attempt.ended_at) if time]
    assert len(times) == 6
    assert times == sorted(times)


def test_it_waits_as_long_as_its_backoff_says(stage: Stage) -> None:
    """Woken at that moment, neither before nor at the next poll."""
    job = stage.send("flaky", "waits", 3)
    assert job.result(timeout=20) == 4
    runs = stage.runs("waits")
    pauses = [later.started - (run.ended or 0) for run, later in pairwise(runs)]
    assert all(0.195 < pause < 1.5 for pause in pauses), pauses


def test_in_between_it_is_retrying_and_says_when_it_is_due(stage: Stage) -> None:
    """Seen from outside."""
    job = stage.send("flaky", "seen", 1)
    seen = wait_until(lambda: (info := job.info()).state == "retrying" and info, 10)
    assert seen.scheduled_for is not None
    assert seen.attempts[-1].outcome == "failed"
    assert job.result(timeout=20) == 2
    assert job.info().scheduled_for is None


def test_when_its_retries_are_used_up_it_has_failed(stage: Stage) -> None:
    """Three retries are four attempts; the last error is the job's."""
    job = stage.send("aflaky", "hopeless", 99)
    with pytest.raises(JobFailed, match="attempt 4") as caught:
        job.result(timeout=20)
    assert caught.value.reason == "error"
    assert len(stage.runs("hopeless")) == 4
    assert [attempt.number for attempt in job.info().attempts] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("what", "runs"), [("TimeoutError", 6), ("PermissionError", 1), ("ValueError", 1), ("SystemExit", 1)]
)
def test_only_the_exceptions_that_are_named_are_retried(stage: Stage, what: str, runs: int) -> None:
    """``retry_on`` takes subclasses too, ``give_up_on`` wins, and what is no Exception is not retried."""
    job = stage.send("choosy_about_errors", what, what)
    with pytest.raises(JobFailed, match=what):
        job.result(timeout=20)
    assert len(stage.runs(what)) == runs


def test_a_task_may_ask_for_another_attempt(stage: Stage) -> None:
    """``raise Retry(in_=...)``, as often as it likes where it has no limit."""
    assert stage.send("asks_again", "asks", 6).result(timeout=20) == 7


def test_a_task_with_a_limit_cannot_ask_beyond_it(stage: Stage) -> None:
    """Two retries are three attempts."""
    job = stage.send("asks_too_often", "too often")
    with pytest.raises(JobFailed, match="another attempt"):
        job.result(timeout=20)
    assert len(stage.runs("too often")) == 3


@pytest.mark.parametrize("what", ["nan", "text", "raises", "gives up"])
def test_a_backoff_that_gives_no_time_fails_the_job_and_nothing_else(shared: tuple[Stage, Program], what: str) -> None:
    """It is the user's code; what it does wrong is told in the log."""
    stage, worker = shared
    before = len(worker.stderr)
    with pytest.raises(JobFailed, match=what):
        stage.send("odd_backoff", what, what).result(timeout=20)
    assert len(stage.runs(what)) == 1
    wait_until(lambda: any("odd_backoff failed" in line for line in worker.stderr[before:]))
    told = [line for line in worker.stderr[before:] if "odd_backoff: its backoff raised" in line]
    assert bool(told) == (what != "gives up")
