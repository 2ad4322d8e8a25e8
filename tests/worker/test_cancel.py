"""Calling jobs off, wherever they are."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from quaff import ConfigurationError, Job, JobCancelled, JobFailed, JobState
from tests.helpers import gone, wait_until
from tests.worker.support import Stage, after, children, side_by_side

NewStage = Callable[[], Stage]
FULL = bool(os.environ.get("FULL"))


def cancelled(job: Job[object], timeout: float = 15.0) -> str:
    """Its reason, once it is."""
    with pytest.raises(JobCancelled) as caught:
        job.result(timeout=timeout)
    return caught.value.reason


def test_what_waits_is_called_off_with_no_worker_about_and_never_starts(stage: Stage) -> None:
    """Queued or retrying; asked again nothing changes, and what has ended stays as it is (pain 20)."""
    queued, kept = stage.send("mark", "queued"), stage.send("mark", "kept")
    assert queued.cancel("not needed any more")
    assert queued.cancel("for another reason")
    assert (queued.state, cancelled(queued)) == (JobState.CANCELLED, "not needed any more")
    worker = stage.worker("-p", "1")
    assert kept.result(timeout=15) == "kept"
    assert not kept.cancel()
    assert kept.state is JobState.SUCCEEDED
    retrying = stage.send("steer", "retry in an hour")
    wait_until(lambda: retrying.state is JobState.RETRYING, 15, "the failure")
    assert retrying.cancel()
    assert [each.outcome for each in retrying.info().attempts] == ["failed"]
    assert cancelled(retrying) == ""
    assert stage.runs("queued") == []
    assert worker.process.poll() is None


def test_the_reason_of_one_that_runs_is_kept_as_well(stage: Stage) -> None:
    """Its process does not know it: the end has the reason, and the attempt how it came to that."""
    stage.worker("-p", "1")
    job = stage.send("anap", "long", 30.0)
    stage.started("long")
    assert job.cancel("not needed any more")
    assert cancelled(job) == "not needed any more"
    assert [(each.outcome, each.number) for each in job.info().attempts] == [("cancelled", 1)]
    assert job.info().attempts[0].pid > 0


@pytest.mark.parametrize("reason", [None, 5, b"bytes"])
def test_a_reason_that_is_no_text_is_refused_before_anything_is_sent(stage: Stage, reason: object) -> None:
    """It would be kept with the job, and nobody could read the record any more."""
    job = stage.send("mark", "waits")
    with pytest.raises(ConfigurationError, match="give the reason as a text"):
        job.cancel(reason)  # type: ignore[arg-type]
    assert job.state is JobState.QUEUED


def test_a_reason_is_any_text_and_a_long_one_is_cut(stage: Stage) -> None:
    """Also one that UTF-8 cannot hold."""
    odd, long = stage.send("mark", "odd"), stage.send("mark", "long")
    assert odd.cancel("half a pair: \ud800")
    assert cancelled(odd) == "half a pair: \\ud800"
    assert long.cancel("x" * 10_000_000)
    assert cancelled(long) == "x" * 16_384


def test_what_runs_is_asked_then_interrupted_then_ended_with_its_process(new_stage: NewStage) -> None:
    """A coroutine at once; a function that looks, one that does not, one that catches all, one that cannot hear."""

    def asked(task: str, *arguments: str, at_most: float, same_process: bool) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "-c", "2", GRACE="3")
        before = children(worker)
        neighbour = stage.send("gate", "neighbour", str(path := stage.file()))
        stage.started("neighbour")
        job = stage.send(task, "called off", *arguments)
        stage.started("called off")
        began = time.monotonic()
        assert job.cancel("by hand")
        cancelled(job, at_most + 5)
        assert time.monotonic() - began < at_most
        assert (children(worker) == before) == same_process
        path.touch()
        neighbour.result(timeout=15)
        assert {run.attempt for run in stage.runs("neighbour")} == {1}
        assert len(stage.runs("called off")) == 1

    side_by_side(
        lambda: asked("anap", 60, at_most=4, same_process=True),  # type: ignore[arg-type]
        lambda: asked("hang_long", "computing", at_most=6, same_process=True),
        lambda: asked("hang_long", "swallowing", at_most=9, same_process=False),
        lambda: asked("hang_long", "holding the GIL", at_most=9, same_process=False),
    )


def test_hundreds_that_are_called_off_in_a_process_that_hangs_end_with_it(stage: Stage) -> None:
    """F7: it hears nothing, whatever its supervisor says to it; that one must not wait until it does."""
    worker = stage.worker("-p", "1", GRACE="2", ASYNC_CONCURRENCY="501")
    jobs = stage.many("anap", [(f"nap {number}", 600) for number in range(500)])
    wait_until(lambda: len(stage.runs()) == 500, 30, "the starts")
    jobs.append(stage.send("hang_long", "hangs", "holding the GIL"))
    stage.started("hangs")
    (process,) = children(worker)
    for job in jobs:
        assert job.cancel("all of it")
    wait_until(lambda: gone(process), 15, "the end of the process")
    assert {cancelled(job) for job in jobs} == {"all of it"}
    assert worker.stop() == 0


def test_a_function_that_looks_ends_by_itself_and_its_value_counts(stage: Stage) -> None:
    """``current_job.should_stop``: what has finished stays finished."""
    stage.worker("-p", "1")
    job = stage.send("stubborn", "looks", str(told := stage.file()))
    stage.started("looks")
    assert job.cancel()
    assert job.result(timeout=15) == "ended by itself"
    assert told.exists()


def test_what_was_asked_to_stop_does_not_come_back_from_a_crash(stage: Stage) -> None:
    """Nor from a worker that stops: it is cancelled, with the attempt on record (F60)."""
    worker = stage.worker("-p", "1", "-c", "2", GRACE="30")
    job = stage.send("die_when_told", "dies", str(path := stage.file()))
    stage.started("dies")
    assert job.cancel("enough")
    path.touch()
    assert cancelled(job) == "enough"
    assert [each.outcome for each in job.info().attempts] == ["crashed"]
    assert len(stage.runs("dies")) == 1
    assert worker.process.poll() is None


def test_thousands_of_races_end_each_in_one_state_that_never_changes(stage: Stage) -> None:
    """F60: cancelled while it is sent, starts, runs, fails, is tried again or finishes; ten thousand with FULL=1."""
    stage.worker("-p", "2", "-c", "4", MAX_RESULT="1000")
    count, batch = 10_000 if FULL else 3_000, 250
    chosen = random.Random(60)
    ends: dict[str, int] = {}

    def race(number: int) -> None:
        fails = [chosen.random() < 0.3 for _ in range(batch)]
        jobs = [
            job
            for failing in (False, True)
            for job in stage.many("race", [(number, failing)] * sum(each == failing for each in fails))
        ]
        chosen.shuffle(jobs)
        answers = {}
        for job in jobs[: batch * 4 // 5]:
            answers[job] = job.cancel()
        for job in jobs:
            wait_until(lambda job=job: job.state.terminal, 60, f"the end of {job}")
        first = {job: (job.state, job.info()) for job in jobs}
        for job, said in answers.items():
            assert job.cancel() == (first[job][0] is JobState.CANCELLED)
            if not said:
                assert first[job][0] in (JobState.SUCCEEDED, JobState.FAILED)
        assert {job: (job.state, job.info()) for job in jobs} == first
        for state, _ in first.values():
            ends[state.value] = ends.get(state.value, 0) + 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(race, number) for number in range(count // batch)]:
            done.result()
    assert sum(ends.values()) == count
    assert set(ends) == {"succeeded", "failed", "cancelled"}, ends
    assert min(ends.values()) > count // 100, ends
    meta = stage.raw().hgetall(stage.key("meta"))
    assert {state: int(meta[state.encode()]) for state in ends} == ends
    assert all(stage.raw().hlen(stage.key(name)) == 0 for name in ("stop", "active", "tries", "ghosts"))
    after(0)


def test_a_dead_letter_is_sent_back_or_deleted(stage: Stage) -> None:
    """With the attempts it had; what succeeded can be neither."""
    stage.worker("-p", "1")
    fine = stage.send("mark", "fine")
    job = stage.send("fail", "SystemExit")
    with pytest.raises(JobFailed):
        job.result(timeout=15)
    assert job.requeue()
    wait_until(lambda: len(job.info().attempts) == 2 and job.state is JobState.FAILED, 15, "the second failure")
    assert job.discard()
    assert job.state is JobState.FAILED
    assert job.info().attempts == []
    assert not job.requeue()
    assert job.discard()
    assert fine.result(timeout=15) == "fine"
    assert not fine.requeue()
    assert not fine.discard()
