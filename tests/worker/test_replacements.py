"""F1, F2: processes that take the place of others: at once, for the same queues, whatever stands in the way."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

from quaff.store.keys import partition
from tests.helpers import Program, gone, wait_until
from tests.store.engine import Desk
from tests.worker.support import Stage, after, children, kill, side_by_side

NewStage = Callable[[], Stage]

#: Seconds in which a dead or closed process has been replaced and the next one runs a job, also on a busy machine.
SOON = 5.0

CHANGING = """
from pathlib import Path

from tests.worker.workapp import mark, quaff

if (Path(__file__).parent / "extra").exists():
    quaff.task(name="mark_extra", queue="extra")(mark.fn)
"""

THREAD = """
import threading
import time

from tests.worker.workapp import quaff

threading.Thread(target=time.sleep, args=(10000,)).start()
"""


def write_app(stage: Stage, name: str, text: str) -> Path:
    """A folder with an application of that name."""
    folder = stage.folder / stage.namespace
    folder.mkdir()
    (folder / f"{name}.py").write_text(text)
    return folder


def replaced(stage: Stage, worker: Program) -> None:
    """Kill the only process and wait until the next one works."""
    (pid,) = children(worker)
    kill(pid)
    assert stage.send("mark", "replaced").result(timeout=SOON) == "replaced"
    assert stage.runs("replaced")[0].pid != pid


def test_a_replacement_serves_what_the_first_process_served(new_stage: NewStage) -> None:
    """The code has changed since: with queues of its own nobody would renew the leases of what it claims there."""

    def more_queues_now() -> None:
        stage = new_stage()
        stage.quaff.task(lambda tag: tag, name="mark_extra", queue="extra")
        folder = write_app(stage, "changing", CHANGING)
        first = stage.worker("-p", "1", app="changing:quaff", cwd=folder, LEASE="1")
        (folder / "extra").touch()
        replaced(stage, first)
        job = stage.send("mark_extra", "extra")
        for number in range(5):
            assert stage.send("mark", f"mark {number}").result(timeout=SOON) == f"mark {number}"
            after(0.2)
        assert job.state == "queued"
        second = stage.worker("-p", "1", app="changing:quaff", cwd=folder, LEASE="1")
        assert job.result(timeout=SOON) == "extra"
        assert {run.parent for run in stage.runs("extra")} == {second.pid}

    def fewer_queues_now() -> None:
        stage = new_stage()
        folder = write_app(stage, "changing", CHANGING)
        (folder / "extra").touch()
        worker = stage.worker("-p", "1", app="changing:quaff", cwd=folder, LEASE="1")
        (folder / "extra").unlink()
        replaced(stage, worker)
        assert stage.send("mark", "mark", queue="extra").result(timeout=SOON) == "mark"

    side_by_side(more_queues_now, fewer_queues_now)


ELSEWHERE = """
import os
from pathlib import Path

here = Path(__file__).parent
if (here / "lease").exists():
    os.environ["QUAFF_LEASE"] = "7"

from tests.worker.workapp import quaff
"""


def test_a_replacement_with_another_lease_is_refused(stage: Stage) -> None:
    """It says what to do, tries again now and then, and goes on when the change is undone."""
    folder = write_app(stage, "elsewhere", ELSEWHERE)
    worker = stage.worker("-p", "1", app="elsewhere:quaff", cwd=folder)
    (folder / "lease").touch()
    (pid,) = children(worker)
    kill(pid)
    worker.wait_for("its server, namespace or lease is not that of this worker: restart the worker")
    job = stage.send("mark", "late")
    after(0.5)
    assert job.state == "queued"
    (folder / "lease").unlink()
    assert job.result(timeout=15) == "late"
    assert worker.stop() == 0


def give_up(stage: Stage, pid: int) -> None:
    """Have the server take back the lease of the only process, which hears of it at its next claim."""
    desk = Desk(stage.url, stage.namespace)
    desk.home = partition(stage.namespace, "default")
    (process,) = stage.leases()

    def lapsed() -> bool:
        desk.let_lapse(process)
        desk.sweep()
        return process not in stage.leases()

    wait_until(lapsed)
    assert not gone(pid)
    desk.close()


def test_a_process_that_the_server_closed_makes_room_at_once(new_stage: NewStage) -> None:
    """F2: its long job goes on in it, too late to count; another process does the work meanwhile."""

    def long_job() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1")
        path = stage.file()
        path.write_text("")
        job = stage.send("gate_by_pid", "long", str(path))
        old = stage.started("long").pid
        path.write_text(str(old))
        give_up(stage, old)
        assert stage.send("mark", "woken").result(timeout=SOON) == "woken"
        again = stage.started("long", 2)
        assert job.result(timeout=SOON) == again.pid != old
        assert not gone(old)
        assert set(children(worker)) == {old, again.pid}
        path.write_text("end")
        worker.wait_for("this run came too late (FENCED)")
        wait_until(lambda: gone(old), SOON)
        assert set(children(worker)) == {again.pid}
        assert worker.stop() == 0

    def stray_thread() -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", app="stray:quaff", cwd=write_app(stage, "stray", THREAD))
        assert stage.send("mark", "first").result(timeout=SOON) == "first"
        old = stage.started("first").pid
        give_up(stage, old)
        assert stage.send("mark", "woken").result(timeout=SOON) == "woken"
        assert stage.started("woken").pid != old
        wait_until(lambda: gone(old), SOON)
        assert worker.stop() == 0

    side_by_side(long_job, stray_thread)


def test_a_thread_of_the_application_holds_up_no_end(new_stage: NewStage) -> None:
    """F6: it was started at import and would keep the interpreter for ever: exit code 0 in time all the same."""

    def scenario(*arguments: str) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "2", *arguments, app="stray:quaff", cwd=write_app(stage, "stray", THREAD))
        assert stage.send("mark", "first").result(timeout=SOON) == "first"
        since = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - since < SOON, worker.output
        wait_until(lambda: not stage.processes(), 2)

    side_by_side(scenario, lambda: scenario("--grace", "40"))


def test_a_replacement_that_cannot_be_started_is_tried_again(stage: Stage) -> None:
    """The system has no file descriptors left for it: the supervisor says so, lives on, and starts it later."""
    worker = stage.worker("-p", "1")
    (pid,) = children(worker)
    before = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path(f"/proc/{worker.pid}/fd").iterdir())
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (highest - 1, before[1]))
    kill(pid)
    worker.wait_for("no other process can be started")
    job = stage.send("mark", "late")
    after(1.0)
    assert worker.process.poll() is None
    assert sum("no other process" in line for line in worker.stderr) < 8, "it waits longer each time"
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)
    assert job.result(timeout=SOON + 5) == "late"
    assert worker.stop() == 0
