"""What runs too long: cut short where that helps, ended with its process where it does not."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from quaff import Job, JobFailed, JobState
from tests.chaos import fleet
from tests.helpers import wait_until
from tests.worker.support import Stage, children, side_by_side
from tests.worker.workapp import AHANGS, HANGS

pytestmark = [pytest.mark.alone, pytest.mark.early]
NewStage = Callable[[], Stage]

#: Those that a process can end by itself, so that its neighbours notice nothing.
GENTLE = {"computing", "waiting"}


def seconds_of(job: Job[object]) -> float:
    """How long its last attempt ran."""
    last = job.info().attempts[-1]
    assert last.started_at is not None
    assert last.ended_at is not None
    return (last.ended_at - last.started_at).total_seconds()


def test_whatever_a_task_does_it_is_gone_within_its_limit_and_two_seconds(new_stage: NewStage) -> None:
    """F7, F8 (pain 20): failed for ``timeout``, its slot free, its programs gone, and the neighbour charged nothing."""

    def scenario(task: str, how: str) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "-c", "2")
        (process,) = children(worker)
        neighbour = stage.send("gate", "neighbour", str(path := stage.file()))
        stage.started("neighbour")
        job = stage.send(task, "late", how)
        with pytest.raises(JobFailed) as caught:
            job.result(timeout=20)
        assert (caught.value.reason, caught.value.type) == ("timeout", "TimeLimit"), how
        assert 0.9 < seconds_of(job) < 3.2, how
        kept = children(worker) == [process]
        assert kept == (how in GENTLE), how
        wait_until(lambda: f"{job.id} {'' if kept else 'failed: it ran longer'}" in worker.output, 5)
        if kept:
            assert "workapp.py" in caught.value.traceback
        path.touch()
        assert neighbour.result(timeout=15) == "neighbour"
        assert {run.attempt for run in stage.runs("neighbour")} == {1}
        assert all(attempt.outcome in ("released", "succeeded") for attempt in neighbour.info().attempts)
        wait_until(lambda: not programs(stage), 5, f"the end of what {how} has started")
        for each in [stage.send("mark", f"next {n}") for n in range(4)]:
            each.result(timeout=10)

    def programs(stage: Stage) -> list[fleet.Process]:
        return [each for each in stage.processes() if "sleep" in each.command]

    cases = [("hang", how) for how in HANGS] + [("ahang", how) for how in AHANGS]
    for some in (cases[:5], cases[5:]):
        side_by_side(*(lambda task=task, how=how: scenario(task, how) for task, how in some))


@pytest.mark.parametrize("how", ["computing", "sleeping in C"])
def test_a_job_that_was_ended_at_its_limit_is_tried_again(stage: Stage, how: str) -> None:
    """As after any failure, in the same process or, at its price, in another one; it does not run alone."""
    stage.worker("-p", "1", "-c", "2")
    job = stage.send("hang_again", "twice", how)
    assert job.result(timeout=20) == "the second time"
    first, second = job.info().attempts
    assert (first.number, first.outcome, first.error and first.error.reason) == (1, "failed", "timeout")
    assert (second.number, second.outcome) == (2, "succeeded")
    assert not stage.raw().exists(stage.key("solo"))


def test_a_call_may_have_a_limit_of_its_own(stage: Stage) -> None:
    """Shorter than that of its task, in the call or in the settings of the worker."""
    stage.worker("-p", "1", TIMEOUT="1.5")
    short, usual = stage.send("anap", "short", 60, timeout=0.4), stage.send("anap", "usual", 60)
    for job, least in ((short, 0.4), (usual, 1.5)):
        with pytest.raises(JobFailed, match="timeout"):
            job.result(timeout=20)
        assert least < seconds_of(job) < least + 0.9
    assert stage.send("nap", "none", 2.0, timeout=0).result(timeout=20) == "none"


@pytest.mark.parametrize("task", ["soft", "asoft"])
def test_a_soft_limit_is_an_exception_in_the_task(stage: Stage, task: str) -> None:
    """Caught, the task cleans up and its value counts; not caught, it is a failure for ``timeout`` (pain 20)."""
    stage.worker("-p", "1", "-c", "2")
    caught, let_through = stage.send(task, "catches", True), stage.send(task, "lets it through", False)
    assert caught.result(timeout=15) == "cleaned up"
    with pytest.raises(JobFailed) as failure:
        let_through.result(timeout=15)
    assert (failure.value.reason, failure.value.type) == ("timeout", "SoftTimeout")
    assert "workapp.py" in failure.value.traceback


def test_an_exception_that_is_set_never_comes_after_its_attempt(stage: Stage) -> None:
    """F10: jobs that end just when their limit does: each is one or the other, and no other job is hit."""
    worker = stage.worker("-p", "1", "-c", "16")
    before = children(worker)
    near = stage.many("nap", [(f"n{n}", 0.25 + n % 40 * 0.005) for n in range(240)], timeout=0.35)
    ends = {"succeeded": 0, "failed": 0}
    for job in near:
        wait_until(lambda job=job: job.state.terminal, 60, "the end of a job")
        ends[job.state.value] += 1
        info = job.info()
        assert len(info.attempts) == 1
        assert info.error is None or info.error.reason == "timeout"
    assert ends["succeeded"] > 20
    for job in stage.many("mark", [(f"m{n}",) for n in range(200)]):
        job.result(timeout=20)
    assert children(worker) == before
    assert os.path.exists(f"/proc/{before[0]}")
    assert all(job.state is not JobState.RUNNING for job in near)
