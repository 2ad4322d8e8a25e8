"""A retry that goes on in another queue: one job, one id, one history, wherever it runs."""

from __future__ import annotations

import pytest

from quaff import JobCancelled, JobFailed, StreamGap
from tests.helpers import wait_until
from tests.worker.support import Stage, children, kill


def test_a_job_wanders_from_queue_to_queue_and_ends_at_home(stage: Stage) -> None:
    """Its id is the same in every run, each attempt is counted once and kept, and its queue is the one it runs in."""
    stage.worker("-p", "1", "-Q", "default,slow,slower")
    job = stage.send("wanderer", "w", 4)
    assert job.result(timeout=20) == [f"{queue} {job.id}" for queue in ("default", "slow", "slower", "default", "slow")]
    attempts = job.info().attempts
    assert [each.number for each in attempts] == [1, 2, 3, 4, 5]
    assert [each.outcome for each in attempts] == ["failed"] * 4 + ["succeeded"]
    raw, queues = stage.raw(), ("default", "slow", "slower")
    assert not [each for each in queues for name in ("away", "origin", "msg") if raw.exists(stage.key(name, each))]
    # What was delivered is crossed off in the next call.
    wait_until(lambda: not [each for each in queues if raw.exists(stage.key("outbox", each))], 10, "the outboxes")


def test_whoever_waits_and_asks_needs_not_know_where_it_runs(stage: Stage) -> None:
    """Queued while nobody serves the other queue, cancelled from its id, found by everybody."""
    stage.worker("-p", "1", "-Q", "default")
    job = stage.send("wanderer", "far", 2)
    wait_until(lambda: job.state == "queued" and len(job.info().attempts) == 1, 15)
    assert job.cancel("not any more")
    with pytest.raises(JobCancelled, match="not any more"):
        job.result(timeout=20)
    assert len(stage.runs("far")) == 1


def test_a_crash_over_there_is_charged_once(stage: Stage) -> None:
    """F1: killed in the other queue it runs again there."""
    stage.worker("-p", "1", "-Q", "default,slow")
    job = stage.send("lost_on_the_way", "lost")
    assert job.result(timeout=30) == "slow"
    assert [each.outcome for each in job.info().attempts] == ["failed", "crashed", "succeeded"]


def test_retries_are_counted_over_all_queues(stage: Stage) -> None:
    """Given up at home, where it is sent back from, too."""
    stage.worker("-p", "1", "-Q", "default,slow,slower")
    failed = stage.send("wanderer", "never", 99)
    for attempts in (7, 14):
        with pytest.raises(JobFailed, match="attempt 7"):
            failed.result(timeout=30)
        assert len(failed.info().attempts) == attempts
        assert failed.requeue()


def test_jobs_on_their_way_survive_the_loss_of_every_process(stage: Stage) -> None:
    """F1: workers of both queues are killed again and again while a hundred jobs wander; each ends, in its order."""
    workers = [stage.worker("-p", "1", "-Q", "default,slow"), stage.worker("-p", "1", "-Q", "slow,slower")]
    jobs = [stage.send("wanderer", f"j{number}", 3) for number in range(100)]
    for round in range(8):
        wait_until(lambda goal=10 * (round + 1): len(stage.runs()) >= goal, 30)
        for pid in children(workers[round % 2]):
            kill(pid)
    for job in jobs:
        value = job.result(timeout=60)
        assert value[-1] == f"default {job.id}" or "crashed" in {each.outcome for each in job.info().attempts}


def test_whoever_watches_sees_it_run_in_the_other_queue(stage: Stage) -> None:
    """What it logs and how far it comes there, and its end at home; its values cannot be streamed, which is said."""
    gate = stage.file()
    stage.worker("-p", "1", "-Q", "default,slow,slower")
    job = stage.send("reporter", str(gate))
    seen: list[str] = []
    for event in job.watch(20):
        seen.append(event.log.text if event.log else event.state.value)
        if event.log:
            with pytest.raises(StreamGap, match="queue slow"):
                list(job.stream(timeout=5))
            gate.touch()
    assert seen[-3:] == ["running", "in slow", "succeeded"]


def test_what_it_remembers_and_what_it_is_sent_goes_where_the_job_goes(stage: Stage) -> None:
    """A step that was done at home is not done again; a signal finds the job before, on and after its way."""
    stage.worker("-p", "1", "-Q", "default")
    jobs = [stage.send("remembers", f"r{number}") for number in range(3)]
    jobs[0].signal("go", "before it left")
    wait_until(lambda: all(job.state == "queued" and job.info().attempts for job in jobs), 15)
    jobs[1].signal("go", "on its way")
    stage.worker("-p", "1", "-Q", "slow")
    wait_until(lambda: jobs[2].state == "scheduled", 15)
    jobs[2].signal("go", "while it waits")
    said = [job.result(timeout=20) for job in jobs]
    assert said == [
        ["R0", "slow", "before it left"],
        ["R1", "slow", "on its way"],
        ["R2", "slow", "while it waits"],
    ]
    assert [len(stage.runs(f"r{number} step")) for number in range(3)] == [1, 1, 1]
