"""F10, F26 of the security list: whatever a task returns or raises is recorded, and the worker lives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quaff import JobFailed
from quaff.model.states import JobState
from tests.helpers import Program, wait_until
from tests.worker import workapp
from tests.worker.support import Stage, children


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Program]]:
    """One worker of one process for all these tests: none of them may cost it that process."""
    stage = Stage(server_url, tmp_path_factory.mktemp("tasks"))
    worker = stage.worker("-p", "1", "-c", "4")
    yield stage, worker
    stage.end()


@pytest.fixture
def stage(shared: tuple[Stage, Program]) -> Iterator[Stage]:
    """The shared stage; afterwards both kinds of task still run in the same process, in every slot."""
    stage, worker = shared
    before = children(worker)
    yield stage
    after = stage.many("mark", [("alive",)] * 8) + stage.many("amark", [("alive",)] * 4)
    assert [job.result(timeout=10) for job in after] == ["alive"] * 12, worker.output
    assert children(worker) == before, worker.output
    assert worker.stdout == []


@pytest.mark.parametrize("what", sorted(workapp.ERRORS))
@pytest.mark.parametrize("task", ["fail", "afail"])
def test_whatever_a_task_raises_fails_its_job_alone(stage: Stage, task: str, what: str) -> None:
    """F10: SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError and worse, in threads and in the loop."""
    with pytest.raises(JobFailed) as caught:
        stage.send(task, what).result(timeout=10)
    assert caught.value.reason == "error"
    assert caught.value.type
    assert len(caught.value.message) < 20_000
    assert len(str(caught.value).splitlines()) <= 3
    if what in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "RecursionError"):
        assert caught.value.type == what


@pytest.mark.parametrize("what", ["SystemExit", "KeyboardInterrupt", "CancelledError"])
def test_what_a_subtask_raises_does_not_end_the_event_loop(stage: Stage, what: str) -> None:
    """F10: asyncio hands SystemExit and KeyboardInterrupt of any of its tasks on to whoever runs the loop."""
    with pytest.raises(JobFailed) as caught:
        stage.send("exit_in_subtask", what).result(timeout=10)
    assert caught.value.type == what


def test_a_task_that_stops_the_event_loop_stops_nobody_else(stage: Stage) -> None:
    """F10: the loop is the worker's."""
    assert stage.send("stop_loop").result(timeout=10) == "stopped"
    assert stage.send("amark", "next").result(timeout=10) == "next"


def test_a_task_that_cancels_everything_loses_nothing(stage: Stage) -> None:
    """F10: jobs that had begun fail as cancelled, jobs that had not begin later; each of them ends."""
    jobs = stage.many("anap", [(f"nap {number}", 0.2) for number in range(20)])
    cancels = stage.send("cancel_all", "cancels")
    jobs += stage.many("anap", [(f"late {number}", 0.0) for number in range(20)])
    assert cancels.result(timeout=10) == "cancels"
    ended = wait_until(lambda: all(job.state.terminal for job in jobs) and [job.state for job in jobs], 10)
    assert set(ended) <= {JobState.SUCCEEDED, JobState.FAILED}


def test_a_task_that_cancels_itself_at_its_end_runs_once(stage: Stage) -> None:
    """F10: asyncio then says of a coroutine that has come to its end that it was cancelled."""
    assert stage.send("cancel_itself", "itself").result(timeout=10) == "itself"
    assert stage.send("amark", "behind it").result(timeout=10) == "behind it"
    assert len(stage.runs("itself")) == 1


def test_a_context_variable_is_not_seen_by_the_next_job(stage: Stage) -> None:
    """Each attempt has a context of its own, in threads and in the loop."""
    jobs = [stage.send(task, f"{task} {number}") for number in range(12) for task in ("colour", "acolour")]
    assert {job.result(timeout=10) for job in jobs} == {"none"}


def test_current_job_says_where_it_runs(stage: Stage) -> None:
    """id, task, queue and attempt are those of the job; outside a task there is none."""
    job = stage.send("about")
    told = job.result(timeout=10)
    assert told["id"] == job.id
    assert (told["task"], told["queue"], told["attempt"]) == ("about", "default", 1)
    assert told["should_stop"] is False
    assert told["there"] is True
    info = job.info()
    assert info.attempts[0].pid == told["pid"]
    assert info.attempts[0].worker
    assert info.attempts[0].started_at is not None
    assert info.attempts[0].ended_at is not None
    assert not workapp.current_job
    with pytest.raises(RuntimeError, match="only there where a job runs"):
        workapp.current_job.id  # noqa: B018


@pytest.mark.parametrize(
    ("what", "value"),
    [("none", None), ("zero", 0), ("empty", ""), ("false", False), ("list", []), ("dict", {}), ("bytes", b"\0\xff")],
)
def test_an_empty_result_is_a_result(stage: Stage, what: str, value: object) -> None:
    """None, 0 and "" are successes, and come back as what they were."""
    job = stage.send("give", what)
    result = job.result(timeout=10)
    assert result == value
    assert type(result) is type(value)
    assert job.state == "succeeded"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("thing", "Thing"),
        ("point", "Point"),
        ("generator", "generator"),
        ("deep", "nested"),
        ("endless", "nested"),
        ("surrogate", "surrogate"),
        ("moody", "not today"),
        ("huge", "MAX_RESULT"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_with_a_text_that_helps(stage: Stage, what: str, words: str) -> None:
    """F59: the job has failed, its reason can be read, and nothing is retried for ever."""
    job = stage.send("give", what)
    with pytest.raises(JobFailed, match=words) as caught:
        job.result(timeout=10)
    assert caught.value.reason == "error"
    assert job.info().attempts[-1].outcome == "failed"


def test_a_result_that_is_not_a_number_comes_back(stage: Stage) -> None:
    """A float is a float."""
    assert str(stage.send("give", "nan").result(timeout=10)) == "nan"


def test_an_argument_that_cannot_be_made_in_the_worker_fails_the_job(stage: Stage) -> None:
    """F57: whatever a class does when it is rebuilt, the thread lives and the job has ended."""
    jobs = [stage.send("choosy", workapp.Choosy("x")) for _ in range(6)]
    for job in jobs:
        with pytest.raises(JobFailed, match="not in a worker"):
            job.result(timeout=10)


def test_a_task_may_open_a_thousand_files(shared: tuple[Stage, Program]) -> None:
    """A connection that is opened when the low file numbers are taken works like any other."""
    stage, worker = shared
    assert stage.send("open_files", 1200).result(timeout=10) > 1024
    before = children(worker)
    stage.raw().client_kill_filter(skipme=True)
    assert stage.send("mark", "after").result(timeout=10) == "after"
    assert stage.send("amark", "after").result(timeout=10) == "after"
    assert children(worker) == before, worker.output


def test_a_job_knows_when_its_worker_is_stopping(server_url: str, tmp_path: Path) -> None:
    """``current_job.should_stop`` turns true at the first signal, and what the task then returns counts."""
    stage = Stage(server_url, tmp_path)
    try:
        worker = stage.worker("-p", "1")
        job = stage.send("until_told", "told")
        run = stage.started("told")
        assert os.getpid() not in (run.pid, run.parent)
        assert worker.stop() == 0
        assert job.result(timeout=5) == "was told"
    finally:
        stage.end()
