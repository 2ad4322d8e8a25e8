"""Batch tasks: one run for many calls, an outcome for each of them."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from quaff import Batch, ConfigurationError, Job, JobCancelled, JobFailed, Quaff
from tests.helpers import wait_until
from tests.worker import batchapp
from tests.worker.support import Stage

APP = "tests.worker.batchapp:quaff"


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """The application of batchapp.py on this stage."""
    return stage.sends(batchapp.quaff)


def batches(stage: Stage, name: str) -> list[list[str]]:
    """What was in each run of a task, in the order of the starts."""
    return [run.tag.split()[1:] for run in stage.runs() if run.tag.startswith(f"{name} ")]


def failure(job: Job[Any]) -> JobFailed:
    """Why it failed."""
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=20)
    return caught.value


@pytest.mark.parametrize("name", ["double", "adouble"])
def test_a_backlog_is_run_in_full_batches_and_each_call_has_its_own_result(
    stage: Stage, quaff: Quaff, name: str
) -> None:
    """A thousand calls: as few runs as their size allows, but for those at the end."""
    task = quaff.tasks[name]
    jobs = task.map((number,) for number in range(1000))
    stage.worker("-p", "1", "-c", "2", app=APP)
    assert [job.result(timeout=20) for job in jobs] == [2 * number for number in range(1000)]
    runs = batches(stage, name)
    size = task.settings.batch
    assert size is not None
    assert sorted(int(number) for run in runs for number in run) == list(range(1000))
    assert [len(run) for run in runs[:-2]] == [size.size] * (len(runs) - 2)
    assert jobs[3].info().attempts[0].outcome == "succeeded"


def test_a_call_waits_for_company_as_long_as_it_was_told_and_no_longer(stage: Stage, quaff: Quaff) -> None:
    """Two calls within the time are one run, and a lonely one runs by itself."""
    double = quaff.tasks["double"]
    stage.worker("-p", "1", app=APP)
    began = time.monotonic()
    first, second = double.delay(1), double.delay(2)
    assert [first.result(timeout=10), second.result(timeout=10)] == [2, 4]
    assert time.monotonic() - began >= 1.5
    assert double.delay(3).result(timeout=10) == 6
    assert batches(stage, "double") == [["1", "2"], ["3"]]


def test_each_call_comes_to_its_own_end(stage: Stage, quaff: Quaff) -> None:
    """An exception in the list fails that one alone; Retry and Cancel are as if it had raised them; a class is made."""
    post = quaff.tasks["post"]
    jobs = [post.delay(1), post.delay(2, "fail"), post.delay(user=3, text="cancel"), post.delay(4, text="retry")]
    stage.worker("-p", "1", app=APP)
    assert jobs[0].result(timeout=10) == "hello 1"
    assert jobs[3].result(timeout=10) == "second try"
    with pytest.raises(JobCancelled, match="not wanted"):
        jobs[2].result(timeout=10)
    assert failure(jobs[1]).message == "no such user"
    assert [attempt.outcome for attempt in jobs[1].info().attempts] == ["failed", "failed"]
    assert batches(stage, "post")[0] == ["1", "2", "3", "4"]
    assert not any("1" in run for run in batches(stage, "post")[1:])


def test_arguments_are_checked_as_those_of_any_task(quaff: Quaff) -> None:
    """By the hint of the list: its tuple's kinds, or the class's parameters."""
    for task, args in (("double", ("one",)), ("double", (1, 2)), ("post", ()), ("post", (1, "a", 2))):
        with pytest.raises(TypeError, match=task):
            quaff.tasks[task].delay(*args)
    with pytest.raises(ConfigurationError, match="one list of calls"):
        quaff.task(lambda one, two: None, name="two", batch=Batch(5))  # type: ignore[call-overload]

    def numbers(calls: list[int]) -> None: ...

    with pytest.raises(ConfigurationError, match="list\\[tuple"):
        quaff.task(batch=Batch(5))(numbers)
    for size, within in ((0, 1), (501, 1), (5, -1), (5, 61), (True, 1)):
        with pytest.raises(ConfigurationError):
            Batch(size, within)


@pytest.mark.parametrize(("how", "text"), [("raise", "all of them"), ("long list", "called with 3 calls")])
def test_a_batch_that_raises_or_miscounts_fails_all_of_its_calls(
    stage: Stage, quaff: Quaff, how: str, text: str
) -> None:
    """Nobody can say whose value is whose."""
    jobs = quaff.tasks["odd"].map([(how,)] * 3)
    stage.worker("-p", "1", app=APP)
    assert all(text in failure(job).message for job in jobs)


def test_a_crash_charges_each_call_one_crash_and_from_then_on_they_run_alone(stage: Stage, quaff: Quaff) -> None:
    """Three starts for the one that kills, two for its neighbours, and none of them counts as a failure."""
    jobs = quaff.tasks["deadly"].map((number,) for number in range(10))
    stage.worker("-p", "1", app=APP)
    assert failure(jobs[7]).reason == "poison"
    for number, job in enumerate(jobs):
        if number != 7:
            assert job.result(timeout=20) is None
    runs = batches(stage, "deadly")
    assert len(runs[0]) == 10
    starts = [number for run in runs for number in run]
    assert starts.count("7") == 3
    assert all(starts.count(str(number)) == 2 for number in range(10) if number != 7)


def test_a_batch_over_its_limit_ends_for_all(stage: Stage, quaff: Quaff) -> None:
    """As one attempt each."""
    jobs = quaff.tasks["long"].map([(60.0,)] * 3)
    stage.worker("-p", "1", app=APP)
    assert {failure(job).reason for job in jobs} == {"timeout"}


def test_what_waits_for_company_goes_back_when_the_worker_stops(stage: Stage, quaff: Quaff) -> None:
    """At once, and at no cost."""
    jobs = quaff.tasks["patient"].map([(1,)] * 3)
    worker = stage.worker("-p", "1", app=APP)
    wait_until(lambda: quaff.queue("patient").stats().running == 3, 10)
    assert worker.stop(signal.SIGTERM) == 0
    assert quaff.queue("patient").stats().queued == 3
    quaff.tasks["patient"].map([(1,)] * 2)
    stage.worker("-p", "1", app=APP)
    for job in jobs:
        assert job.result(timeout=10) == 1
        assert [attempt.number for attempt in job.info().attempts] == [1]


def test_a_call_in_a_running_batch_is_not_ended_alone(stage: Stage, quaff: Quaff) -> None:
    """A cancellation comes too late for it; the batch goes on for the others."""
    jobs = quaff.tasks["long"].map([(0.7,)] * 3)
    stage.worker("-p", "1", app=APP, GRACE="0.1")
    wait_until(lambda: batches(stage, "long"), 10)
    jobs[0].cancel()
    assert [job.result(timeout=10) for job in jobs] == [None] * 3
    assert len(batches(stage, "long")) == 1


def test_a_queue_may_have_batch_tasks_and_others_and_a_limit(stage: Stage, quaff: Quaff) -> None:
    """Nothing waits in a busy worker, and nothing is lost."""
    jobs = quaff.tasks["mixed"].map((number,) for number in range(40))
    others = quaff.tasks["single"].map((number,) for number in range(40))
    stage.worker("-p", "1", "-c", "2", app=APP)
    assert [job.result(timeout=20) for job in [*jobs, *others]] == [None] * 40 + list(range(40))
    assert max(len(run) for run in batches(stage, "mixed")) <= 5
