"""Cancels and time limits at bad moments: none is lost, and none does harm to what runs beside."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from quaff import FileResults, JobCancelled, JobFailed, Quaff, chain
from quaff.model import message
from quaff.model.states import JobState
from quaff.store.keys import partition
from quaff.store.transitions import Lease
from quaff.worker.executor import Executor
from quaff.worker.logs import set_up
from quaff.worker.ready import Claim, Ready
from quaff.worker.run import CANCEL, LIMIT, SOFT, Interrupt, Run, _set
from tests.helpers import Program, wait_until
from tests.worker import cutapp
from tests.worker.support import Stage, after, children

pytestmark = pytest.mark.alone
APP = "tests.worker.cutapp:quaff"


class Waits:
    """A worker with a job that waits for its arguments, which lie in the store of results.

    Attributes:
        job: that one; gate: a file that it waits for.
    """

    def __init__(self, stage: Stage, name: str, **options: Any) -> None:
        folder = stage.folder / f"results-{stage.namespace}"
        self.gate = stage.file()
        quaff = Quaff(stage.url, namespace=stage.namespace, results=FileResults(folder))
        task = stage.sends(cutapp.quaff).tasks[name].options(**options)
        own = {"RESULTS": str(folder), "GATE": str(self.gate)}
        self.worker: Program = stage.worker("-p", "1", app=APP, environment=own, GRACE="20")
        self.before = children(self.worker)
        flow = chain(stage.quaff.tasks["large"].s(), task.s()).delay()
        awaited(self.gate)
        self.job = quaff.job(next(node.job for node in flow.graph() if node.name.startswith(name)))

    def same_process(self) -> bool:
        """The process lives in which it began."""
        return children(self.worker) == self.before


def awaited(gate: Path) -> None:
    """Somebody waits for it."""
    wait_until(Path(f"{gate}.awaited").exists, 15, "one who waits for the file")


@pytest.mark.parametrize("name", ["stay", "astay"])
def test_what_is_called_off_while_its_arguments_are_fetched_is_cancelled_when_it_begins(
    stage: Stage, name: str
) -> None:
    """F60: by its process, which goes on; there is a second for whoever hears of it late."""
    waits = Waits(stage, name)
    assert waits.job.cancel()
    after(1.0)  # the supervisor looks twice a second, and says it then
    waits.gate.touch()
    with pytest.raises(JobCancelled):
        waits.job.result(timeout=10)
    assert [each.outcome for each in waits.job.info().attempts] == ["cancelled"]
    assert waits.same_process()


@pytest.mark.parametrize("name", ["stay", "astay"])
def test_a_limit_that_is_over_before_the_arguments_are_there_ends_the_job_and_not_its_process(
    stage: Stage, name: str
) -> None:
    """F7: fetched within the second that a process has to end it by itself."""
    waits = Waits(stage, name, timeout=2)
    after(2.2)
    waits.gate.touch()
    with pytest.raises(JobFailed) as caught:
        waits.job.result(timeout=10)
    assert (caught.value.reason, caught.value.type) == ("timeout", "TimeLimit")
    assert "cutapp.py" in caught.value.traceback
    assert waits.same_process()


@pytest.mark.parametrize("name", ["soft", "asoft"])
def test_a_soft_limit_that_is_over_before_the_arguments_are_there_comes_when_the_task_begins(
    stage: Stage, name: str
) -> None:
    """F7: it can clean up, as ever."""
    waits = Waits(stage, name)
    after(1.0)
    waits.gate.touch()
    assert waits.job.result(timeout=10) == "cleaned up"


def test_an_exception_that_is_set_in_a_thread_leaves_no_lock_of_logging_held(stage: Stage) -> None:
    """F10: it would be raised where the thread has just got the lock of a handler, which nobody else gets any more."""
    quaff = stage.sends(cutapp.quaff)
    worker = stage.worker("-p", "1", "-c", "2", app=APP)
    before = children(worker)
    gate, began = stage.file(), stage.file()
    first = quaff.tasks["log"].delay(str(gate))
    awaited(gate)
    beside = quaff.tasks["log_beside"].delay(str(began), str(gate))
    wait_until(began.exists, 15, "the start of the second one")
    after(1.0)  # its soft limit is over
    gate.touch()
    assert first.result(timeout=10) == "logged"
    assert beside.result(timeout=10) == "cleaned up"
    # In both threads: the one that has such a lock could take it again.
    second = stage.file()
    again = quaff.tasks["log"].map([(str(second),)] * 2)
    awaited(second)
    second.touch()
    assert [job.result(timeout=10) for job in again] == ["logged"] * 2
    assert children(worker) == before


def test_an_exception_that_is_set_while_a_line_waits_leaves_the_workers_own_log_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F10: the next thread that has something to say gets the lock, whenever it came."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    set_up("info")
    (handler,) = root.handlers
    assert handler.lock is not None
    record = logging.makeLogRecord({"name": "quaff.worker", "msg": "a line"})
    ended: list[BaseException] = []

    def speak() -> None:
        try:
            handler.handle(record)
        except BaseException as error:  # noqa: BLE001  it is none that a task catches
            ended.append(error)

    def waits() -> bool:
        frame = sys._current_frames()[speaking.ident or 0]
        return frame.f_code.co_name in ("acquire", "handle")

    with handler.lock:
        speaking = threading.Thread(target=speak, daemon=True)
        speaking.start()
        wait_until(waits, 5, "the thread at the lock")
        after(0.1)  # it has come from there to the call that waits
        _set(speaking.ident or 0, Interrupt)
    speaking.join(5)
    assert [type(error) for error in ended] == [Interrupt]
    assert handler.lock.acquire(timeout=5)
    handler.lock.release()


class Late(Run):
    """One in whose thread an exception is set when it has ended and not left yet."""

    why: str = ""

    def leave(self) -> None:
        """At the last moment, once."""
        if self.why:
            why, self.why = self.why, ""
            self.interrupt(why)
        super().leave()


@pytest.mark.parametrize(
    ("name", "why", "error"),
    [
        ("fails", SOFT, "ValueError"),
        ("fails", LIMIT, "TimeLimit"),
        ("fails", CANCEL, "ValueError"),
        ("returns", SOFT, "SoftTimeout"),
        ("returns", LIMIT, "TimeLimit"),
        ("returns", CANCEL, ""),
    ],
)
def test_an_exception_that_is_set_while_an_attempt_leaves_ends_in_an_outcome(name: str, why: str, error: str) -> None:
    """F10: and never goes on into the thread of its slot, which would be the end of that."""
    executor = Executor(cutapp.quaff, "worker", [], lambda _: None)
    lease = Lease(b"8bytes..", message.encode(name, [], {}), b"1.1")
    ready = executor.prepare(Claim(0, partition("cuts", "default"), lease), 0)
    assert isinstance(ready, Ready)
    run = executor.begin(ready, threading.get_ident())
    fields = {field: getattr(run, field) for field in Run.__struct_fields__}
    late = Late(**fields, why=why)
    finished = executor.run(late)
    assert finished.settled.state is (JobState.FAILED if error else JobState.CANCELLED)
    assert finished.failure is None or finished.failure.type == error
    assert (late.why, late.open) == ("", False)
