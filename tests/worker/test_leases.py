"""F8, F25, F26: what may stand still for longer than a lease without anybody losing it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from quaff.task import submission
from tests.chaos import ledger
from tests.helpers import wait_until
from tests.worker.support import Stage, kill, side_by_side

LEASE = 1.0  # seconds; the least that can be set
#: Where a second worker sweeps and nobody may be taken for dead: longer than a busy machine holds up a supervisor.
CALM = 3.0
STILL = 3 * CALM + 0.5


def test_a_task_that_holds_everything_up_keeps_its_lease(new_stage: Callable[[], Stage]) -> None:
    """F8: the GIL held in C for three leases, and an event loop blocked as long: exactly one start each."""

    def scenario(name: str) -> None:
        stage = new_stage()
        stage.worker("-p", "1", LEASE=str(CALM))
        stage.worker("-p", "1", LEASE=str(CALM))  # somebody who could take it
        job = stage.send(name, name, STILL)
        assert job.result(timeout=20) == name
        assert len(stage.runs(name)) == 1
        assert [attempt.outcome for attempt in job.info().attempts] == ["succeeded"]

    side_by_side(lambda: scenario("hold_gil"), lambda: scenario("block_loop"), lambda: scenario("busy"))


def test_a_frozen_server_makes_nothing_run_twice(own_server: tuple[Callable[[], Stage], int]) -> None:
    """F26: three leases long, under 50 jobs: what ran goes on and is recorded once, what waited runs once."""
    new_stage, server = own_server
    stage = new_stage()
    workers = [stage.worker("-p", "1", "-c", "25", LEASE=str(CALM)) for _ in range(2)]
    path = stage.file()
    running = stage.many("gate", [(f"running {n}", str(path)) for n in range(50)])
    waiting = stage.many("mark", [(f"waiting {n}",) for n in range(20)])
    wait_until(lambda: len(stage.runs()) == 50)
    kill(server, signal.SIGSTOP)
    until = ledger.now() + STILL
    wait_until(lambda: ledger.now() > until)
    path.touch()  # half of what ran ends while the server is away
    kill(server, signal.SIGCONT)
    back = ledger.now()
    for job in running + waiting:
        job.result(timeout=20)
    assert {run.tag: run.attempt for run in stage.runs()} == {
        **{f"running {n}": 1 for n in range(50)},
        **{f"waiting {n}": 1 for n in range(20)},
    }
    assert len(stage.runs()) == 70
    assert min(run.started for run in stage.runs() if run.tag.startswith("waiting")) - back < 5
    # The leases were not only spared but renewed: a job that began before all that is still there a while later.
    for worker in workers:
        assert worker.stop() == 0, worker.output


def test_a_short_lease_is_reaped_all_the_same(stage: Stage) -> None:
    """The sweeps come often enough for the lease: a gap between them must not look like an outage."""
    first = stage.worker("-p", "1", LEASE=str(LEASE))
    path = stage.file()
    job = stage.send("gate", "lapses", str(path))
    stage.started("lapses")
    stage.worker("-p", "1", LEASE=str(LEASE))
    killed = ledger.now()
    for process in [each for each in stage.processes() if each.pid == first.pid or each.parent == first.pid]:
        kill(process.pid)
    again = stage.started("lapses", 2, timeout=10)
    assert again.started - killed < 4 * LEASE
    path.touch()
    job.result(timeout=10)


def test_a_job_of_silent_workers_ends_as_poison_after_four_starts(stage: Stage) -> None:
    """F54: where no supervisor survives, the first lapse is free, and the fourth start is the last one."""
    path = stage.file()
    job = None
    for number in range(1, 5):
        worker = stage.worker("-p", "1", LEASE=str(LEASE))
        job = job or stage.send("gate", "unlucky", str(path))
        stage.started("unlucky", number, timeout=15)
        for process in stage.processes():
            kill(process.pid)
        worker.wait()
    assert job is not None
    stage.worker("-p", "1", LEASE=str(LEASE))
    wait_until(lambda: job.state == "failed", 15)
    info = job.info()
    assert info.error is not None
    assert info.error.reason == "poison"
    assert "silent" in info.error.message
    assert len(stage.runs("unlucky")) == 4


@pytest.mark.early
def test_a_supervisor_without_its_server_keeps_its_processes(own_server: tuple[Callable[[], Stage], int]) -> None:
    """F25: a server that does not answer for 19 s, longer than an embedded one is waited for, costs no process."""
    new_stage, server = own_server
    stage = new_stage()
    worker = stage.worker("-p", "1")
    path = stage.file()
    job = stage.send("gate", "patient", str(path))
    run = stage.started("patient")
    short = stage.send("nap", "short", 0.5)
    stage.started("short")
    kill(server, signal.SIGSTOP)
    until = ledger.now() + 19
    wait_until(lambda: ledger.now() > until, 25)
    kill(server, signal.SIGCONT)
    assert short.result(timeout=10) == "short"
    path.touch()
    assert job.result(timeout=10) == "patient"
    assert len(stage.runs("patient")) == len(stage.runs("short")) == 1, worker.output
    os.kill(run.pid, 0)
    assert stage.send("mark", "after").result(timeout=10) == "after"


@pytest.mark.alone  # it counts seconds
def test_an_orphan_starts_nothing_while_its_server_is_away(own_server: tuple[Callable[[], Stage], int]) -> None:
    """The supervisor dies while the server is frozen: what was claimed in advance must not be begun any more."""
    new_stage, server = own_server
    stage = new_stage()
    worker = stage.worker("-p", "1", "-c", "1")
    stage.learn_tiny()
    tasks = stage.quaff.tasks
    jobs = [submission(tasks["nap"], (f"nap {n}", 0.02), {}) for n in range(250)]
    stage.quaff.send(jobs)
    wait_until(stage.runs)
    kill(server, signal.SIGSTOP)
    until = ledger.now() + 0.3
    wait_until(lambda: ledger.now() > until)
    killed = kill(worker.pid)
    wait_until(lambda: not stage.processes(), 15)
    assert ledger.now() - killed < 6
    late = [run for run in stage.runs() if run.started > killed + 2]
    assert not late, (len(stage.runs()), [run.started - killed for run in late])
