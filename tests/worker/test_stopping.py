"""F6: a worker that is told to stop ends in time, with nothing lost, nothing charged and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quaff import Inspector
from quaff.store import embedded
from quaff.task import submission
from tests.helpers import Program, end_embedded, wait_until
from tests.worker.support import Stage, after, children, kill, side_by_side, tree

NewStage = Callable[[], Stage]

#: Seconds that a worker may take beyond its grace: half a one until SIGKILL, the rest for a busy machine.
BEYOND = 3.0
LONG = "40"


def ends(stage: Stage, worker: Program, number: int = signal.SIGTERM, within: float = BEYOND) -> int:
    """Send a signal; the exit code of a worker that ends in time and leaves no process of its own."""
    began = time.monotonic()
    code = worker.stop(number)
    assert time.monotonic() - began < within, worker.output
    nothing_left(stage)
    assert worker.stdout == []
    return code


def nothing_left(stage: Stage) -> None:
    """No process of this stage lives; what was killed a moment ago may still be on its way out."""
    wait_until(lambda: not stage.processes(), 2, f"nobody is left: {stage.processes()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_worker_lets_running_jobs_finish(new_stage: NewStage, number: int) -> None:
    """Both signals: what runs, in threads and in the loop, ends in its own time; nothing else begins; exit code 0."""
    stage = new_stage()
    worker = stage.worker("-p", "2", "-c", "2", "--grace", LONG)
    path = stage.file()
    running = [*stage.many("gate", [(f"gate {n}", str(path)) for n in range(2)]), stage.send("agate", "a", str(path))]
    wait_until(lambda: len(stage.runs()) == 3)
    worker.send(number)
    worker.wait_for("stopping")
    late = stage.send("mark", "late")
    after(0.3)
    assert worker.process.poll() is None
    path.touch()
    assert worker.wait(BEYOND) == 0, worker.output
    assert [job.state for job in running] == ["succeeded"] * 3
    assert late.state == "queued"
    assert [run.attempt for run in stage.runs()] == [1] * 3
    nothing_left(stage)


def test_an_idle_worker_stops_at_once(new_stage: NewStage) -> None:
    """Grace is for jobs: where none runs nobody waits."""

    def scenario(number: int) -> None:
        stage = new_stage()
        assert ends(stage, stage.worker("-p", "2", "--grace", LONG), number) == 0

    side_by_side(lambda: scenario(signal.SIGTERM), lambda: scenario(signal.SIGINT))


#: Enough that a busy machine does not finish them before it comes to look.
MANY = 15_000


def test_jobs_claimed_in_advance_go_back_at_no_cost(stage: Stage) -> None:
    """Stopped while hundreds wait in the process: each of them runs exactly once, as attempt 1."""
    worker = stage.worker("-p", "1", "-c", "1", "--grace", LONG)
    stage.learn_tiny()
    jobs = stage.many("mark", [(f"mark {n}",) for n in range(MANY)])
    wait_until(lambda: stage.raw().hlen(stage.key("active")) > 30, 10, "many claimed")
    assert ends(stage, worker) == 0
    before = len(stage.runs())
    assert before < MANY, "it was to be stopped in the middle"
    assert stage.raw().hlen(stage.key("active")) == 0
    stage.worker("-p", "1")
    stage.quaff.wait_all(jobs, 60)
    assert sorted(run.tag for run in stage.runs()) == sorted(f"mark {n}" for n in range(MANY))
    assert {run.attempt for run in stage.runs()} == {1}
    assert [attempt.number for attempt in jobs[-1].info().attempts] == [1]


@pytest.mark.parametrize(
    ("blocker", "kind", "threads"),
    # With forty threads as well there is room for all of them in one claim, so they come to the event loop together.
    [("gate", "mark", "1"), ("block_loop_until", "amark", "1"), ("block_loop_until", "amark", "40")],
)
def test_jobs_behind_a_running_one_go_back_at_no_cost(stage: Stage, blocker: str, kind: str, threads: str) -> None:
    """They were claimed with it and never begun: another worker begins them, as attempt 1, while it still runs."""
    worker = stage.worker("-p", "1", "-c", threads, "--grace", LONG)
    if kind == "mark":
        stage.learn_tiny()
    tasks, path = stage.quaff.tasks, stage.file()
    first, *waiting = stage.quaff.send(
        [
            submission(tasks[blocker], ("first", str(path)), {}),
            *(submission(tasks[kind], (f"waits {n}",), {}) for n in range(30)),
        ]
    )
    run = stage.started("first")
    worker.send()
    worker.wait_for("stopping")
    other = stage.worker("-p", "1")
    for job in waiting:
        job.result(timeout=10)
    assert first.state == "running"
    runs = [stage.runs(f"waits {n}") for n in range(30)]
    assert all([each.attempt for each in found] == [1] for found in runs)
    assert {each.parent for found in runs for each in found} == {other.pid}
    assert all([attempt.number for attempt in job.info().attempts] == [1] for job in waiting)
    path.touch()
    assert worker.wait() == 0
    assert first.state == "succeeded"
    assert stage.runs("first")[0].pid == run.pid


@pytest.mark.parametrize("task", ["gate", "agate"])
def test_what_runs_at_the_end_of_grace_runs_elsewhere(new_stage: NewStage, task: str) -> None:
    """Given back, charged nothing: the other run is attempt 1 again, and that the first one began is remembered."""
    stage = new_stage()
    worker = stage.worker("-p", "1", "--grace", "0.5")
    path = stage.file()
    job = stage.send(task, "long", str(path))
    stage.started("long")
    other = stage.worker("-p", "1")
    assert ends_alone(worker, 0.5 + BEYOND) == 0
    again = stage.started("long", 2, 3)
    assert again.parent == other.pid
    assert again.attempt == 1
    path.touch()
    assert job.result(timeout=10) == "long"
    attempts = job.info().attempts
    assert [(each.number, each.outcome) for each in attempts] == [(1, "released"), (1, "succeeded")]
    assert attempts[0].pid == stage.runs()[0].pid
    assert len(stage.runs()) == 2


def ends_alone(worker: Program, within: float) -> int:
    """As ``ends``, where another worker of the stage lives on."""
    began = time.monotonic()
    code = worker.stop()
    assert time.monotonic() - began < within, worker.output
    return code


def test_a_job_that_hangs_in_c_does_not_hold_up_the_end(stage: Stage) -> None:
    """F8: the GIL is held when grace ends; the process is killed, its jobs are given back and nobody is charged."""
    worker = stage.worker("-p", "1", "--grace", "0.5")
    job = stage.send("hold_gil", "hangs", 5.0)
    stage.started("hangs")
    assert ends(stage, worker, within=0.5 + BEYOND) == 0
    assert job.state == "queued"
    stage.worker("-p", "1")
    assert job.result(timeout=15) == "hangs"
    assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "succeeded")]
    assert [run.attempt for run in stage.runs()] == [1, 1]


def test_nothing_that_a_task_leaves_behind_holds_up_the_end(new_stage: NewStage) -> None:
    """F6: a thread that keeps the interpreter, a program that a task started, the same with the GIL held."""

    def thread() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "--grace", "0.5")
        assert stage.send("lingering_thread", "lingers").result(timeout=10) == "lingers"
        assert ends(stage, worker, within=0.5 + BEYOND) == 0

    def program(hold: bool) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "--grace", "0.5")
        job = stage.send("with_program", "program", str(stage.file()), hold)
        wait_until(lambda: any("sleep 120" in each.command for each in stage.processes()))
        assert ends(stage, worker, within=0.5 + BEYOND) == 0
        assert job.state == "queued"

    side_by_side(thread, lambda: program(False), lambda: program(True))


def test_a_second_signal_gives_everything_back_now(new_stage: NewStage) -> None:
    """Exit code 128 and the second signal's number; the jobs are queued again, at no cost."""

    def scenario(first: int, second: int, task: str) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "--grace", LONG)
        path = stage.file()
        arguments = (5.0,) if task == "hold_gil" else (str(path),)
        job = stage.send(task, "given back", *arguments)
        stage.started("given back")
        worker.send(first)
        worker.wait_for("stopping")
        after(0.3)  # nearer together they would be one
        assert ends(stage, worker, second) == 128 + second, worker.output
        assert job.state == "queued"
        path.touch()
        stage.worker("-p", "1")
        job.result(timeout=15)
        assert [run.attempt for run in stage.runs()] == [1, 1]

    side_by_side(
        lambda: scenario(signal.SIGTERM, signal.SIGTERM, "gate"),
        lambda: scenario(signal.SIGINT, signal.SIGINT, "agate"),
        lambda: scenario(signal.SIGINT, signal.SIGTERM, "hold_gil"),
    )


def test_a_signal_to_the_whole_tree_is_one_signal(new_stage: NewStage) -> None:
    """As a container or a terminal sends it: to the group, or to each process; running jobs finish all the same."""

    def scenario(send: Callable[[Stage, Program], None]) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "2", "--grace", LONG)
        path = stage.file()
        jobs = [stage.send("gate", "gate", str(path)), stage.send("agate", "agate", str(path))]
        wait_until(lambda: len(stage.runs()) == 2)
        send(stage, worker)
        worker.wait_for("stopping")
        after(0.3)
        assert worker.process.poll() is None, worker.output
        path.touch()
        assert worker.wait(BEYOND) == 0, worker.output
        assert [job.state for job in jobs] == ["succeeded"] * 2
        assert not any("again" in line or "Traceback" in line for line in worker.stderr), worker.output
        nothing_left(stage)

    def twice(stage: Stage, worker: Program) -> None:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.send(signal.SIGTERM)  # an entry point that passes on what its group got anyway

    def each(stage: Stage, worker: Program) -> None:
        for pid in tree(stage, worker):
            kill(pid, signal.SIGINT)

    side_by_side(lambda: scenario(twice), lambda: scenario(each))


SLOW_APP = """
import time
open("loading", "w").close()
while True:
    time.sleep(0.01)
"""


def test_a_signal_during_the_start_ends_the_worker(new_stage: NewStage, tmp_path: Path) -> None:
    """While the application is being imported no job can be running: nobody waits for grace."""

    def scenario(number: int, *grace: str) -> None:
        stage = new_stage()
        folder = tmp_path / stage.namespace
        folder.mkdir()
        (folder / "slow.py").write_text(SLOW_APP)
        worker = stage.worker("-p", "2", *grace, app="slow", ready=False, cwd=folder)
        wait_until((folder / "loading").exists, 15, "the import")
        assert ends(stage, worker, number) == 0
        assert "Traceback" not in worker.output

    side_by_side(
        lambda: scenario(signal.SIGTERM),
        lambda: scenario(signal.SIGINT, "--grace", LONG),
    )


def test_a_signal_while_the_server_is_away_ends_the_worker(stage: Stage) -> None:
    """A process that waits for the server has no job either."""
    worker = stage.worker("-p", "1", "--grace", LONG, ready=False, URL="redis://127.0.0.1:1/0")
    worker.wait_for("trying again")
    assert children(worker)
    assert ends(stage, worker, within=2 + BEYOND) == 0


def test_a_worker_stops_in_time_when_its_server_stands_still(tmp_path: Path) -> None:
    """F26: a job runs, nothing can be given back: grace and a little more is all it takes. Its lease tells of it."""
    home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
    embedded.ensure(home)
    info = embedded.server_info(home)
    assert info is not None
    pid = info["pid"]
    assert isinstance(pid, int)
    stage = Stage(f"embedded://{home}", tmp_path)
    try:
        worker = stage.worker("-p", "1", "--grace", "0.5")
        stage.send("gate", "gate", str(stage.file()))
        stage.started("gate")
        kill(pid, signal.SIGSTOP)
        assert ends(stage, worker, within=0.5 + BEYOND) == 0
    finally:
        kill(pid, signal.SIGCONT)
        stage.end()
        end_embedded(home)
        shutil.rmtree(home, ignore_errors=True)


def test_a_worker_that_drains_lets_jobs_run_past_grace_and_a_signal_shortens_that(stage: Stage) -> None:
    """Its processes leave one by one; the last one has GRACE seconds from the signal on, and gives its job back."""
    worker = stage.worker("-p", "2", "-c", "1", "--grace", "1")
    first, second = stage.file(), stage.file()
    jobs = [stage.send("gate", tag, str(path)) for tag, path in (("first", first), ("second", second))]
    for tag in ("first", "second"):
        stage.started(tag)
    inspector = Inspector(stage.quaff)
    (row,) = wait_until(inspector.workers, 10, "the worker's word")
    assert inspector.drain(row)
    worker.wait_for("draining")
    late = stage.send("mark", "late")
    after(2)
    assert len(children(worker)) == 2
    first.touch()
    assert jobs[0].result(timeout=10) == "first"
    wait_until(lambda: len(children(worker)) == 1, 10, "the end of one process")
    assert late.state == "queued"
    assert worker.stop(timeout=4) == 0
    assert jobs[1].state == "queued"
    assert not inspector.drain(row)
    second.touch()
    after_it = stage.worker("-p", "1")
    assert (jobs[1].result(timeout=10), late.result(timeout=10)) == ("second", "late")
    assert after_it.process.poll() is None
