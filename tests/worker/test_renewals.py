"""F9: leases that are not renewed any more: what a worker makes of it, and who is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from quaff.store.scripts import load
from tests.helpers import wait_until
from tests.matrix import line_to
from tests.proxy import Proxy
from tests.worker.support import Stage
from tests.worker.test_health import ask, free_port

#: Seconds. A renewal is tried for DEADLINE, and sweeps, which wait for it, must not be half a lease apart: that would
#: look like an outage.
LEASE, DEADLINE = 2.0, 0.3
#: Seconds in which a job runs again whose lease is not renewed, also on a busy machine.
SOON = LEASE + 5.0


class Leaky:
    """A line to the server on which each renewal of a lease breaks the connection, as long as ``leaks``."""

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self.leaks = False
        self.proxy = Proxy(upstream, self._look)

    def _look(self, data: bytes) -> None:
        if self.leaks and load("heartbeat").sha in data:
            self.proxy.on_request("cut")


@pytest.fixture
def leaky(stage: Stage) -> Iterator[Leaky]:
    """One before the server of the stage."""
    line = Leaky(line_to(stage.url))
    yield line
    stage.end()
    line.proxy.close()


def test_a_process_whose_lease_is_not_renewed_takes_nothing_more(stage: Stage, leaky: Leaky) -> None:
    """F9, I4: it is said, and tried again; what it still has comes too late; its worker starts another one in time."""
    worker = stage.worker("-p", "1", URL=leaky.proxy.url, LEASE=f"{LEASE}", DEADLINE=f"{DEADLINE}")
    path = stage.file()
    path.write_text("")
    job = stage.send("gate_by_pid", "late", str(path))
    first = stage.started("late")
    path.write_text(str(first.pid))

    leaky.leaks = True
    worker.wait_for("renewing leases: no answer")
    worker.wait_for("this process was silent for longer than its lease; it takes nothing more")
    worker.wait_for("its leases cannot be renewed: this worker starts no process until they can")
    other = stage.worker("-p", "1", LEASE=f"{LEASE}", DEADLINE=f"{DEADLINE}")
    again = stage.started("late", 2, SOON)
    assert again.pid != first.pid
    assert job.result(timeout=SOON) == again.pid
    for number in range(5):
        assert stage.send("mark", f"mark {number}").result(timeout=SOON) == f"mark {number}"
    assert {run.pid for run in stage.runs() if run.tag != "late"} == {again.pid}
    path.write_text("go on")
    assert job.id in worker.wait_for("this run came too late (FENCED)")
    worker.wait_for(f"process {first.pid}, which was silent for too long, has ended")
    assert job.result(timeout=SOON) == again.pid
    assert sum("renewing leases: " in line for line in worker.stderr) == 1, worker.output
    assert other.stop() == 0

    leaky.leaks = False
    assert stage.send("nap", "long", 2 * LEASE).result(timeout=2 * LEASE + SOON) == "long"
    assert len(stage.runs("long")) == 1
    assert worker.stop() == 0


def test_a_job_is_not_given_up_because_its_worker_cannot_renew(stage: Stage, leaky: Leaky) -> None:
    """F9: it takes longer than a lease, so a run lapses, and no other is begun before leases can be renewed."""
    worker = stage.worker("-p", "1", URL=leaky.proxy.url, LEASE=f"{LEASE}", DEADLINE=f"{DEADLINE}")
    leaky.leaks = True
    job = stage.send("nap", "long", 1.75 * LEASE)
    worker.wait_for("this worker starts no process until they can")
    until = time.monotonic() + 4 * LEASE  # by when it would have lapsed again
    wait_until(lambda: time.monotonic() > until, 5 * LEASE)
    leaky.leaks = False
    assert job.result(timeout=2 * LEASE + SOON) == "long"
    assert [each.outcome for each in job.info().attempts] == ["lapsed", "succeeded"]


#: Read at the start of each interpreter: something that nobody has foreseen ends a thread of the supervisor.
ENDS = """
import ctypes, os, threading, time

def end():
    while not os.path.exists(os.environ["END_CHORES"]):
        time.sleep(0.02)
    for thread in threading.enumerate():
        if thread.name == "quaff-chores":
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))

if "END_CHORES" in os.environ:
    threading.Thread(target=end, daemon=True).start()
"""


def test_a_supervisor_whose_chores_have_ended_says_that_it_is_not_well(stage: Stage) -> None:
    """F9: nobody renews its leases; whoever asks is told so, and another worker's sweep gives its jobs back."""
    folder, told, path, port = stage.folder / "site", stage.file(), stage.file(), free_port()
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ENDS)
    unwell = {"PYTHONPATH": f"{folder}:{stage.environment()['PYTHONPATH']}", "END_CHORES": str(told)}
    stage.worker("-p", "1", "--health", str(port), environment=unwell, LEASE=f"{LEASE}")
    job = stage.send("gate", "left alone", str(path))
    first = stage.started("left alone")
    assert ask(port, "/livez") == (200, "ok\n")
    other = stage.worker("-p", "1", LEASE=f"{LEASE}")

    told.touch()
    wait_until(lambda: ask(port, "/livez")[0] == 503, 10, "an alarm")
    assert ask(port, "/livez")[1].startswith("the supervisor's chores have not gone on for")
    assert ask(port, "/readyz")[0] == 503
    assert "took 1 jobs back from workers that fell silent" in other.wait_for("took 1 jobs back")
    again = stage.started("left alone", 2, SOON)
    assert again.pid != first.pid
    path.touch()
    assert job.result(timeout=SOON) == "left alone"
    assert [each.outcome for each in job.info().attempts] == ["lapsed", "succeeded"]
    assert other.stop() == 0
