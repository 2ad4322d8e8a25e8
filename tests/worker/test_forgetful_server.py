"""F15, F16, F20: a server that lost acknowledged writes: after a power cut, or a failover to a lagging replica."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quaff import JobNotFound
from quaff.store.keys import NAMES
from quaff.task import submission
from tests.helpers import wait_until
from tests.worker.support import Stage, children, kill, side_by_side

LEASE = 2.0
#: A process asks three times a lease what it is thought to hold, so everything is right again well within one.
SOON = LEASE


def remember(stage: Stage, queue: str = "default") -> Callable[[], None]:
    """Note all keys of a queue at one moment; what is returned puts them back, at one moment."""
    raw = stage.raw()
    keys = [stage.key(name, queue) for name in NAMES]
    with raw.pipeline(transaction=True) as pipe:
        for key in keys:
            pipe.dump(key)
        found = pipe.execute()

    def put_back() -> None:
        with raw.pipeline(transaction=True) as pipe:
            pipe.delete(*keys)
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    pipe.restore(key, 0, value)
            pipe.execute()

    return put_back


def test_a_job_whose_result_the_server_forgot_runs_again(new_stage: Callable[[], Stage]) -> None:
    """F20: it is running for the server, under a lease that is renewed: its process gives it back, within a lease."""

    def scenario(task: str) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", LEASE=str(LEASE))
        path = stage.file()
        job = stage.send(task, "forgotten", str(path))
        first = stage.started("forgotten")
        put_back = remember(stage)
        path.touch()
        assert job.result(timeout=10) == "forgotten"
        put_back()
        assert job.state == "running"
        again = stage.started("forgotten", 2, SOON + 1)
        wait_until(lambda: job.state == "succeeded", 5)
        assert job.result(timeout=5) == "forgotten"
        assert again.pid == first.pid
        assert children(worker) == [first.pid]
        # It is nobody's fault: no attempt is charged.
        assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "succeeded")]
        assert sum("has lost what it was told of 1 jobs" in line for line in worker.stderr) == 1, worker.output
        assert worker.stop() == 0
        assert len(stage.runs()) == 2

    side_by_side(lambda: scenario("gate"), lambda: scenario("agate"))


def test_a_job_that_is_running_is_no_stranger(stage: Stage) -> None:
    """F20: the server goes back to a moment when the job ran already; it still runs, and is recorded once."""
    worker = stage.worker("-p", "1", LEASE=str(LEASE))
    path = stage.file()
    job = stage.send("gate", "runs", str(path))
    run = stage.started("runs")
    put_back = remember(stage)
    for number in range(20):
        stage.send("mark", f"lost {number}").result(timeout=10)
    put_back()
    # Long enough for several comparisons; the process claims with lower numbers than the server remembers of it.
    wait_until(lambda: stage.leases() and min(stage.leases().values()) > 0)
    assert stage.send("mark", "after").result(timeout=10) == "after"
    path.touch()
    assert job.result(timeout=10) == "runs"
    assert stage.runs("runs")[0].pid == run.pid
    assert len(stage.runs("runs")) == 1
    assert worker.stop() == 0


def test_jobs_whose_giving_back_the_server_forgot_run_again(stage: Stage) -> None:
    """F20: more than two pages of jobs that a living process is thought to hold: all of them run, within two leases."""
    worker = stage.worker("-p", "1", LEASE=str(LEASE))
    stage.send("mark", "first").result(timeout=10)
    (process,) = stage.leases()
    with stage.raw().pipeline(transaction=True) as pipe:
        for number in range(1200):
            id = stage.forge(pipe, "mark", f"held {number}")
            pipe.hset(stage.key("active"), id, f"forgotten.{number}.1")
            pipe.zadd(stage.key("held"), {process + id: 0})
        pipe.execute()
    wait_until(lambda: len(stage.runs()) == 1201, 2 * SOON + 3, "all run")
    assert len({run.job for run in stage.runs()}) == 1201
    assert {run.attempt for run in stage.runs()} == {1}
    assert worker.stop() == 0
    assert stage.raw().zcard(stage.key("held")) == stage.raw().hlen(stage.key("active")) == 0


def test_a_job_of_a_dead_process_whose_burial_the_server_forgot_runs_again(stage: Stage) -> None:
    """F20: the process is dead, and the server has its lease again: nobody renews it, so the job comes back."""
    worker = stage.worker("-p", "1", LEASE=str(LEASE))
    path = stage.file()
    job = stage.send("gate", "forgotten", str(path))
    dead = stage.started("forgotten").pid
    put_back = remember(stage)
    kill(dead)
    path.touch()
    assert job.result(timeout=10) == "forgotten"
    put_back()
    assert job.state == "running"
    # A lease in which nothing is reaped, for there was a gap in the sweeps as the server sees it; then the lapse.
    stage.started("forgotten", 3, 2 * LEASE + 3)
    assert job.result(timeout=5) == "forgotten"
    assert [each.outcome for each in job.info().attempts] == ["lapsed", "succeeded"]
    assert worker.stop() == 0


def test_a_server_that_came_back_empty_is_worked_with(stage: Stage) -> None:
    """F18, F38: jobs, leases and scripts are gone: what ran ends and counts no more, what is sent now runs at once."""
    worker = stage.worker("-p", "1", LEASE=str(LEASE))
    path = stage.file()
    lost = stage.many("gate", [(f"lost {n}", str(path)) for n in range(3)])
    for number in range(3):
        stage.started(f"lost {number}")
    raw = stage.raw()
    raw.delete(*[stage.key(name) for name in NAMES])
    raw.script_flush()
    for number in range(5):
        assert stage.send("mark", f"mark {number}").result(timeout=3) == f"mark {number}"
    path.touch()
    wait_until(lambda: sum("too late (GONE)" in line for line in worker.stderr) == 3)
    assert stage.send("mark", "last").result(timeout=3) == "last"
    assert len(stage.runs()) == 9
    for job in lost:
        with pytest.raises(JobNotFound):
            job.info()
    wait_until(lambda: [left > LEASE / 2 for left in stage.leases().values()] == [True])
    assert worker.stop() == 0


def test_comparing_notes_takes_nothing_from_a_busy_process(stage: Stage) -> None:
    """Thousands of jobs are claimed, given back and settled while it goes on, on a line where much is on its way."""
    worker = stage.worker("-p", "1", "-c", "2", LEASE="1")
    stage.learn_tiny()
    tasks = stage.quaff.tasks
    jobs = [
        job
        for number in range(6)
        for job in stage.quaff.send(
            [
                *(submission(tasks["mark"], (f"tiny {number} {n}",), {}) for n in range(300)),
                submission(tasks["nap"], (f"long {number}", 0.5), {}),
                *(submission(tasks["amark"], (f"coroutine {number} {n}",), {}) for n in range(100)),
            ]
        )
    ]
    # A server that has forgotten a script is told it, and runs it after what was sent behind it.
    raw = stage.raw()
    for job in jobs[::4]:
        raw.script_flush()
        job.result(timeout=40)
    assert not [line for line in worker.stderr if "has lost" in line or "too late" in line], worker.output
    assert len(stage.runs()) == len({run.job for run in stage.runs()}) == len(jobs)
