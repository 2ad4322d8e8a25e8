"""Where running jobs are in their code: for the log at a signal, and for whoever asks about one of them."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from quaff import Inspector, Job
from quaff.worker.stacks import MOST
from tests.helpers import Program, wait_until
from tests.worker.support import Stage, children, kill

#: What a job is called with: no dump has it.
SECRET = "hunter2-hunter2"


class Worker:
    """A stage with one worker of one process, and a job in a thread and one in the event loop."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.program: Program = stage.worker("-p", "1", "-c", "4")
        self.path = stage.file()
        self.jobs = [stage.send(name, f"{name} {SECRET}", str(self.path)) for name in ("gate", "agate")]
        for name in ("gate", "agate"):
            stage.started(f"{name} {SECRET}")
        self.inspector = Inspector(stage.quaff)

    def logged(self, since: int, *wanted: str) -> str:
        """What the worker has logged since that line, once all of this is in it."""
        try:
            return wait_until(
                lambda: (
                    (text := "\n".join(self.program.stderr[since:])) and all(each in text for each in wanted) and text
                ),
                10,
                f"{wanted}",
            )
        except AssertionError as error:
            error.add_note(self.program.output)  # with what has come meanwhile, which is not what was wanted
            raise


@pytest.fixture(scope="module")
def worker(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One for all tests here: none of them ends it."""
    stage = Stage(server_url, tmp_path_factory.mktemp("stacks"))
    yield Worker(stage)
    stage.end()


def shows(text: str, jobs: list[Job[Any]]) -> None:
    """Both jobs: their ids, tasks, attempts, times and lines of code, and no values."""
    for job, name, where in zip(jobs, ("gate", "agate"), (r"thread quaff-\d", "the event loop"), strict=True):
        found = re.search(rf"job {job.id}, {name}, attempt 1, for \d+\.\d s, in {where}\n(.+\n)+", f"{text}\n")
        assert found, text
        assert re.search(rf"workapp\.py:\d+ in {name}\n", found[0])
        assert "executor.py" not in found[0]
    assert SECRET not in text


@pytest.mark.parametrize("whom", ["supervisor", "process"])
def test_a_signal_puts_the_stacks_of_all_threads_and_coroutines_into_the_log(worker: Worker, whom: str) -> None:
    """Sent to the worker, or to one of its processes; everything goes on."""
    before = len(worker.program.stderr)
    kill(worker.program.pid if whom == "supervisor" else children(worker.program)[0], signal.SIGUSR1)
    text = worker.logged(before, "thread quaff-watch", "in agate", "in gate", "3 threads wait")
    shows(text, worker.jobs)
    assert worker.stage.send("mark", f"after {whom}").result(timeout=10) == f"after {whom}"


def test_who_asks_about_a_job_is_shown_the_stacks_of_its_process_its_own_first(worker: Worker) -> None:
    """Within a second or so; it is in the list of changes, and kept no longer than a few minutes."""
    for job in worker.jobs:
        assert worker.inspector.ask_stack(job.id)
        found = worker.inspector.stack(job.id, timeout=10)
        assert found is not None
        shows(found.text, worker.jobs)
        assert found.text.index(job.id) == min(found.text.index(each.id) for each in worker.jobs)
        assert found.pid == children(worker.program)[0]
        assert worker.inspector.changes(1)[0].what == "stack"
        assert worker.inspector.changes(1)[0].about == job.id
    raw = worker.stage.raw()
    now = raw.time()[0]
    assert (
        0 < max(at for _, at in raw.zrange(worker.stage.key("dumps_until"), 0, -1, withscores=True)) / 1000 - now < 301
    )
    assert raw.zcard(worker.stage.key("requests")) == 0


def test_what_does_not_run_cannot_be_asked_about(worker: Worker) -> None:
    done = worker.stage.send("mark", "over")
    done.result(timeout=10)
    assert not worker.inspector.ask_stack(done.id)
    assert not worker.inspector.ask_stack(worker.stage.send("mark", "later", delay=600).id)
    assert worker.inspector.stack(done.id) is None


def test_an_interpreter_that_is_held_up_is_seen_into_all_the_same(new_stage: Any) -> None:
    """By a signal handler that needs no interpreter; which jobs run the supervisor knows."""
    stage: Stage = new_stage()
    program = stage.worker("-p", "1", "-c", "2")
    job = stage.send("hold_gil", "held", 6.0)
    stage.started("held")
    inspector = Inspector(stage.quaff)
    assert inspector.ask_stack(job.id)
    found = inspector.stack(job.id, timeout=5)
    assert found is not None
    assert f"process {children(program)[0]} does not answer" in found.text
    assert re.search(rf"job {job.id}, for \d\.\d s", found.text)
    assert re.search(r'workapp\.py", line \d+ in hold_gil', found.text)
    assert job.result(timeout=20) == "held"


def test_a_dump_has_a_bound_however_much_there_is(worker: Worker) -> None:
    """A recursion, and an event loop full of tasks."""
    deep, wide = (
        worker.stage.send("deep", "deep", str(worker.path)),
        worker.stage.send("wide", "wide", str(worker.path)),
    )
    worker.stage.started("deep")
    worker.stage.started("wide")
    assert worker.inspector.ask_stack(deep.id)
    found = worker.inspector.stack(deep.id, timeout=10)
    assert found is not None
    assert 4000 < len(found.text.encode()) <= MOST
    assert found.text.index(deep.id) < found.text.index("other asyncio tasks")
    assert found.text.count("in _deeper") < 50
    wide.cancel()
    deep.cancel()
