"""Processes that are replaced while the worker goes on: by SIGHUP, and when they are worn."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from quaff import JobFailed
from quaff.cli import program
from tests.chaos import ledger
from tests.helpers import gone, wait_until
from tests.worker.support import Stage, children, kill, side_by_side

NewStage = Callable[[], Stage]


def replaced(worker: object, before: list[int], timeout: float = 20.0) -> list[int]:
    """The processes, once none of those before is among them."""
    return wait_until(lambda: _new(worker, before), timeout, "new processes")


def _new(worker: object, before: list[int]) -> list[int]:
    now = children(worker)  # type: ignore[arg-type]
    return now if len(now) == len(before) and not set(now) & set(before) else []


def test_sighup_replaces_each_process_and_interrupts_no_job(stage: Stage) -> None:
    """F6: with jobs all the time: none runs twice, none waits for a process to start, the supervisor stays."""
    worker = stage.worker("-p", "2", "-c", "2")
    before = children(worker)
    jobs = [stage.send("nap", f"job {number}", 0.05) for number in range(300)]
    kill(worker.pid, signal.SIGHUP)
    after = replaced(worker, before)
    jobs += [stage.send("nap", f"late {number}", 0.01) for number in range(20)]
    for job in jobs:
        job.result(timeout=30)
    assert {run.attempt for run in stage.runs()} == {1}
    assert len(stage.runs()) == 320
    kill(worker.pid, signal.SIGHUP)
    replaced(worker, after)
    assert worker.stop() == 0


def test_poison_is_charged_also_in_a_process_that_is_on_its_way_out(stage: Stage) -> None:
    """F54: three starts, though each of its processes is being replaced when it dies; its neighbour starts twice."""
    worker = stage.worker("-p", "1", "-c", "2", "--grace", "30")
    neighbour = stage.send("gate", "neighbour", str(path := stage.file()))
    job = stage.send("die_when_told", "poison", str(told := stage.file()))
    before = children(worker)
    for tag in ("neighbour", "poison"):
        stage.started(tag)
    kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: len(children(worker)) == 2, 15, "the next process")
    worker.wait_for(f"process {before[0]} is replaced")
    told.touch()
    wait_until(lambda: gone(before[0]), 10, "the first crash")
    path.touch()
    with pytest.raises(JobFailed, match="SIGKILL"):
        job.result(timeout=30)
    assert neighbour.result(timeout=15) == "neighbour"
    assert [each.outcome for each in job.info().attempts] == ["crashed"] * 3
    assert len(stage.runs("poison")) == 3
    assert [each.outcome for each in neighbour.info().attempts] == ["crashed", "succeeded"]
    assert len(stage.runs("neighbour")) == 2
    assert worker.stop() == 0


def test_new_processes_have_the_new_code_and_broken_code_is_refused(stage: Stage, tmp_path: Path) -> None:
    """A deploy by SIGHUP: what cannot be loaded is said, who is there stays, and the next try counts."""
    app = tmp_path / "shop.py"

    def write(answer: str) -> None:
        app.write_text(
            f"from quaff import Quaff\nquaff = Quaff()\n@quaff.task(name='ask')\ndef ask():\n    return {answer}\n"
        )
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)

    write("'old'")
    worker = stage.worker("-p", "1", app="shop:quaff", cwd=tmp_path)
    ask = stage.quaff.task(_ask, name="ask")
    assert ask.delay().result(timeout=15) == "old"
    before = children(worker)
    write("'broken' +")
    kill(worker.pid, signal.SIGHUP)
    worker.wait_for("did not start")
    assert ask.delay().result(timeout=15) == "old"
    wait_until(lambda: children(worker) == before, 10, "the end of the try")
    write("'newest'")
    kill(worker.pid, signal.SIGHUP)
    replaced(worker, before)
    wait_until(lambda: ask.delay().result(timeout=15) == "newest", 10, "the new code")


def test_with_reload_a_saved_file_is_a_reload(stage: Stage, tmp_path: Path) -> None:
    """The process that is there goes on until its successor can claim, and its job ends in it."""
    app = tmp_path / "shop.py"
    text = (
        "import time\nfrom quaff import Quaff\nquaff = Quaff()\n"
        "@quaff.task(name='ask')\ndef ask():\n    time.sleep(1)\n    return 'old'\n"
    )
    app.write_text(text)
    worker = stage.worker("-p", "1", "--reload", app="shop:quaff", cwd=tmp_path)
    before = children(worker)
    ask = stage.quaff.task(_ask, name="ask")
    running = ask.delay()
    wait_until(lambda: running.state == "running", 10, "its start")
    app.write_text(text.replace("old", "new"))
    replaced(worker, before)
    assert running.result(timeout=15) == "old"
    assert [attempt.number for attempt in running.info().attempts] == [1]
    assert ask.delay().result(timeout=15) == "new"
    assert not (tmp_path / "__pycache__").exists()
    assert worker.stop() == 0


def _ask() -> str:
    return ""


def test_a_process_that_does_not_end_in_time_gives_its_jobs_back(stage: Stage) -> None:
    """At no cost, when grace is over; its successor has been at work since."""
    worker = stage.worker("-p", "1", "-c", "2", GRACE="1")
    before = children(worker)
    long = stage.send("gate", "long", str(path := stage.file()))
    stage.started("long")
    kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: len(children(worker)) == 2, 15, "the successor")
    assert stage.send("mark", "meanwhile").result(timeout=15) == "meanwhile"
    replaced(worker, before)
    again = stage.started("long", 2)
    assert again.attempt == 1
    path.touch()
    assert long.result(timeout=15) == "long"


def test_a_worn_process_is_replaced_between_its_jobs(new_stage: NewStage) -> None:
    """After so many jobs, at an age, over a size; every job is done once."""

    def scenario(*flags: str, task: str = "mark") -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "-c", "2", *flags)
        before = children(worker)
        stage.send(task, "first").result(timeout=15)
        done = 1

        def work() -> bool:
            nonlocal done
            stage.send("mark", "more").result(timeout=15)
            done += 1
            return bool(_new(worker, before))

        wait_until(work, 20, f"a replacement for {flags}")
        assert len(stage.runs()) == done
        assert {run.attempt for run in stage.runs()} == {1}
        assert "is replaced" in worker.output

    side_by_side(
        lambda: scenario("--max-jobs", "20"),
        lambda: scenario("--max-age", "1.5"),
        lambda: scenario("--max-memory", "150M", task="grow"),
    )


def test_a_long_job_ends_in_a_worker_whose_processes_are_soon_worn(stage: Stage) -> None:
    """A worn process leaves when its jobs have ended: given back after GRACE, this one would never come to its end."""
    worker = stage.worker("-p", "1", "-c", "2", "--max-jobs", "10", GRACE="0.5")
    long = stage.send("nap", "long", 3.0)
    stage.started("long")
    while not long.state.terminal and len(stage.runs("long")) == 1:
        stage.send("mark", "short").result(timeout=15)
    assert long.result(timeout=15) == "long"
    assert len(stage.runs("long")) == 1
    assert "is replaced" in worker.output
    assert worker.stop() == 0


def test_a_process_whose_task_closed_its_output_leaves_like_any_other(stage: Stage) -> None:
    """F10: there is nothing to flush, which is no reason for a traceback, nor for another exit code."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    assert stage.send("close_output").result(timeout=15) is None
    kill(worker.pid, signal.SIGHUP)
    replaced(worker, before)
    assert stage.send("mark", "after").result(timeout=15) == "after"
    assert worker.stop() == 0
    assert "exit code" not in worker.output
    assert "Traceback" not in worker.output


def test_the_second_signal_says_what_still_runs(stage: Stage) -> None:
    """Before it is given back: its id, its process and for how long."""
    worker = stage.worker("-p", "1", "-c", "2")
    job = stage.send("gate", "stays", str(stage.file()))
    run = stage.started("stays")
    kill(worker.pid, signal.SIGTERM)
    worker.wait_for("stopping")
    wait_until(lambda: ledger.now() > run.started + 0.3, 5)
    kill(worker.pid, signal.SIGTERM)
    worker.wait_for(f"still running in process {run.pid}: {job.id}, for ")
    assert worker.process.wait(10) == 143
    assert job.state == "queued"


@pytest.mark.parametrize("size", ["12", "0M", "many", "5T", "-3G"])
def test_a_size_that_cannot_be_is_refused(size: str) -> None:
    """With what to give instead."""
    told = CliRunner().invoke(program(), ["worker", "-A", "tests.worker.workapp:quaff", f"--max-memory={size}"])
    assert told.exit_code == 2
    assert "give a size of at least 1M, such as 512M or 2G" in told.output
