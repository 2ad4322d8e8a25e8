"""F1, F2, F8, F52: whole workers that are killed or frozen, at default settings where the issue says so."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from quaff.task import submission
from tests.chaos import ledger
from tests.helpers import gone, wait_until
from tests.worker.support import Stage, after, children, kill, side_by_side, tree

LOST = 35.0  # seconds: after the kill if another worker serves the queues, else after the next one is ready


@pytest.mark.early
@pytest.mark.timeout(120)
def test_the_jobs_of_a_lost_machine_run_again_within_35_seconds(new_stage: Callable[[], Stage]) -> None:
    """F1: supervisor, guard and processes are killed at once; lease and intervals as they are by default."""

    def with_another_worker() -> None:
        stage = new_stage()
        first = stage.worker("-p", "2")
        path = stage.file()
        jobs = [*stage.many("gate", [(f"a {n}", str(path)) for n in range(3)]), stage.send("agate", "a 3", str(path))]
        for number in range(4):
            stage.started(f"a {number}")
        second = stage.worker("-p", "2")
        killed = ledger.now()
        for pid in tree(stage, first):
            kill(pid)
        _run_again(stage, "a", killed, "kill -> second start, another worker lives")
        path.touch()
        for job in jobs:
            job.result(timeout=20)
            assert [attempt.outcome for attempt in job.info().attempts] == ["lapsed", "succeeded"]
            # The starts are unknown, so nobody is charged the first time.
            assert job.info().attempts[-1].number == 1
        assert second.stop() == 0

    def with_nobody() -> None:
        stage = new_stage()
        first = stage.worker("-p", "2")
        path = stage.file()
        jobs = stage.many("gate", [(f"b {n}", str(path)) for n in range(4)])
        for number in range(4):
            stage.started(f"b {number}")
        for pid in tree(stage, first):
            kill(pid)
        wait_until(lambda: not stage.processes())
        stage.worker("-p", "2")
        _run_again(stage, "b", ledger.now(), "next worker ready -> second start")
        path.touch()
        for job in jobs:
            job.result(timeout=20)

    def only_the_supervisor() -> None:
        # Its processes notice, finish or give back what they can, and go: nobody has to wait for the lease.
        stage = new_stage()
        first = stage.worker("-p", "2")
        path = stage.file()
        job = stage.send("gate", "c 0", str(path))
        stage.started("c 0")
        second = stage.worker("-p", "1")
        killed = kill(first.pid)
        again = stage.started("c 0", 2)
        print(f"supervisor killed -> second start: {again.started - killed:.2f} s")
        assert again.started - killed < 5
        path.touch()
        job.result(timeout=10)
        assert second.stop() == 0

    side_by_side(with_another_worker, with_nobody, only_the_supervisor)


def test_a_job_that_began_in_time_does_not_expire_with_its_worker(stage: Stage) -> None:
    """F1: its first attempt is cut short and not counted, and it runs again, though later than ``expires=``."""
    first = stage.worker("-p", "1", LEASE="1")
    path = stage.file()
    job = stage.send("gate", "began", str(path), expires=4)
    stage.started("began")
    for pid in tree(stage, first):
        kill(pid)
    after(4)
    path.touch()
    stage.worker("-p", "1", LEASE="1")
    assert job.result(timeout=20) == "began"
    assert [each.outcome for each in job.info().attempts] == ["lapsed", "succeeded"]


def _run_again(stage: Stage, tag: str, since: float, what: str) -> None:
    """The first of four jobs runs again in time; the others follow one by one, each alone in a process."""
    wait_until(
        lambda: len([run for run in stage.runs() if run.tag.startswith(tag)]) > 4, LOST + 10, f"{tag} runs again"
    )
    again = [run for run in stage.runs() if run.tag.startswith(tag)][4]
    print(f"{what}: {again.started - since:.1f} s")
    assert 10 < again.started - since < LOST


def test_a_worker_that_was_frozen_past_its_lease_is_refused(stage: Stage) -> None:
    """F2, F52: SIGSTOP for the whole tree, a second run elsewhere, SIGCONT: the late result does not count."""
    frozen = stage.worker("-p", "1", "-n", "frozen", LEASE="2")
    path = stage.file()
    path.write_text("")
    job = stage.send("gate_by_pid", "zombie", str(path))
    first = stage.started("zombie")
    path.write_text(str(first.pid))
    other = stage.worker("-p", "1", "-n", "other", LEASE="2")
    pids = tree(stage, frozen)
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    second = stage.started("zombie", 2, timeout=15)
    assert job.result(timeout=10) == second.pid
    for pid in pids:
        kill(pid, signal.SIGCONT)
    path.write_text("go on")
    line = frozen.wait_for("this run came too late (FENCED)")
    assert job.id in line
    assert job.result(timeout=5) == second.pid
    info = job.info()
    assert info.attempts[-1].worker == "other"
    assert info.attempts[-1].pid == second.pid
    assert len(stage.runs("zombie")) == 2
    # The frozen process was given up by the server: a new one takes its place, and both workers go on.
    frozen.wait_for("which was silent for too long, has ended")
    wait_until(lambda: children(frozen) and children(frozen) != [first.pid])
    assert other.stop() == 0
    assert stage.send("mark", "after").result(timeout=10) == "after"


def test_a_frozen_process_alone_keeps_its_jobs(stage: Stage) -> None:
    """F8: while its supervisor lives a child may stand still for three leases; its jobs are nobody else's."""
    worker = stage.worker("-p", "1", LEASE="3")
    other = stage.worker("-p", "1", LEASE="3")
    path = stage.file()
    job = stage.send("gate", "still", str(path))
    run = stage.started("still")
    assert run.pid in children(worker) + children(other)
    kill(run.pid, signal.SIGSTOP)
    until = ledger.now() + 9.5
    wait_until(lambda: ledger.now() > until)
    kill(run.pid, signal.SIGCONT)
    path.touch()
    assert job.result(timeout=10) == "still"
    assert len(stage.runs("still")) == 1


@pytest.mark.alone  # what is measured here are seconds, and two of its tasks want a core each
def test_a_process_without_supervisor_starts_nothing_and_is_soon_gone(new_stage: Callable[[], Stage]) -> None:
    """The supervisor is killed: no start after 2 s, everything gone after 5 s, programs of tasks and GIL hogs too."""

    def gone_in_time(stage: Stage, supervisor: int, before: set[int]) -> float:
        killed = kill(supervisor)
        wait_until(lambda: all(gone(pid) for pid in before) and not stage.processes(), 15)
        took = ledger.now() - killed
        late = [run for run in stage.runs() if run.started > killed + 2]
        assert not late, late
        return took

    def waiting_in_python() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "2")
        stage.many("with_program", [(f"program {n}", str(stage.file()), False) for n in range(3)])
        wait_until(lambda: len(programs(stage)) == 3)
        assert gone_in_time(stage, worker.pid, programs(stage)) < 5

    def holding_the_gil() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1")
        stage.send("with_program", "hog", str(stage.file()), True)
        wait_until(lambda: programs(stage))
        assert gone_in_time(stage, worker.pid, programs(stage)) < 5.5

    def holding_the_gil_for_a_while() -> None:
        # When the GIL is free again, the threads see the waiting jobs before anybody hears of the supervisor's death.
        stage = new_stage()
        worker = stage.worker("-p", "1", "-c", "1")
        stage.learn_tiny()
        jobs = [submission(stage.quaff.tasks["hold_gil"], ("hog", 3.0), {})]
        jobs += [submission(stage.quaff.tasks["mark"], (f"waiting {n}",), {}) for n in range(100)]
        stage.quaff.send(jobs)
        stage.started("hog")
        assert gone_in_time(stage, worker.pid, set()) < 5.5

    def idle() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "2")
        pids = children(worker)
        kill(worker.pid)
        wait_until(lambda: all(gone(pid) for pid in pids), 2)

    def in_the_event_loop() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1")
        stage.many("anap", [(f"coroutine {n}", 60.0) for n in range(20)])
        wait_until(lambda: len(stage.runs()) == 20)
        assert gone_in_time(stage, worker.pid, set(children(worker))) < 5

    side_by_side(waiting_in_python, holding_the_gil, holding_the_gil_for_a_while, idle, in_the_event_loop)


def test_an_orphan_lets_short_jobs_finish(stage: Stage) -> None:
    """A job that ends within three seconds of its supervisor's death is recorded, and does not run again."""
    worker = stage.worker("-p", "1")
    path = stage.file()
    job = stage.send("gate", "short", str(path))
    run = stage.started("short")
    kill(worker.pid)
    wait_until(lambda: any(each.pid == run.pid and each.parent != worker.pid for each in stage.processes()))
    path.touch()
    assert job.result(timeout=5) == "short"
    assert len(stage.runs("short")) == 1


def programs(stage: Stage) -> set[int]:
    """The programs that tasks have started."""
    return {line["program"] for line in ledger.lines(stage.ledger) if line["event"] == "program"}
