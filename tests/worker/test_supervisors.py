"""F1, F3, F8: supervisors and guards that are killed, starts that fail, and what is left of them: nothing."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import ledger
from tests.helpers import Program, gone, python, wait_until
from tests.worker.support import Stage, after, children, kill, load_of, side_by_side

NewStage = Callable[[], Stage]

#: Seconds until an orphan is gone: what it may still finish, then the guard after four; the rest is for a busy machine.
GONE = 8.0


def guard(stage: Stage, worker: Program) -> int:
    """The pid of a worker's guard."""
    (pid,) = guards(stage, worker)
    return pid


def guards(stage: Stage, worker: Program) -> list[int]:
    """The pids of all that are its guards now: none, while it is being replaced."""
    return [each.pid for each in stage.processes() if each.parent == worker.pid and each.name == "quaff-guard"]


def known(pid: int) -> set[str]:
    """The pids of all children of a process, zombies with them."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def shared(pid: int) -> float:
    """Of the memory that is no file's, the part that a process has in common with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["Shared_Dirty"] / (sizes["Shared_Dirty"] + sizes["Private_Dirty"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is a fresh interpreter")
def test_processes_share_the_memory_of_what_they_have_loaded(stage: Stage) -> None:
    """Before a task has run, and those that come later, from a guard that came later, among themselves."""
    worker = stage.worker("-p", "2")
    assert all(shared(pid) > 0.5 for pid in children(worker))
    kill(guard(stage, worker))
    for pid in children(worker):
        kill(pid)
    wait_until(lambda: sum("in the place of another one" in line for line in worker.stderr) == 2, 20)
    assert all(shared(pid) > 0.5 for pid in children(worker))
    assert worker.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it inherits nothing")
def test_what_a_program_of_a_task_leaves_behind_is_collected(stage: Stage) -> None:
    """A supervisor inherits it, as the first process of a container would."""
    worker = stage.worker("-p", "1")
    before = known(worker.pid)
    stage.send("leave_orphans", "some", 3).result(timeout=10)
    wait_until(lambda: len(known(worker.pid)) == len(before) + 3)
    wait_until(lambda: known(worker.pid) == before, 20)


COLLECTS = """
import subprocess, sys, threading, time
from pathlib import Path
from quaff import ConfigurationError
from quaff.store import embedded
from quaff.worker import orphans

def run() -> None:
    for _ in range(200):
        subprocess.run(["true"], check=False)

def start() -> None:
    sys.executable = "false"  # a keeper that ends at once, and says by its exit code that it could not
    for _ in range(10):
        try:
            embedded.ensure(Path(sys.argv[2]))
        except ConfigurationError as error:
            print(error)

assert orphans.adopt()
other = threading.Thread(target=globals()[sys.argv[1]])
other.start()
while other.is_alive():
    orphans.collect((), adopting=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it inherits nothing")
def test_one_whom_another_thread_has_waited_for_is_collected_by_nobody_else(
    running: Callable[[Program], Program],
) -> None:
    """It is seen to have ended and gone in the next moment: that ends no supervisor."""
    program = running(python("-c", COLLECTS, "run"))
    assert program.wait() == 0, program.output


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it inherits nothing")
def test_the_keeper_of_an_embedded_server_is_no_orphan(tmp_path: Path, running: Callable[[Program], Program]) -> None:
    """A supervisor's chores may start one: how its start has ended is theirs to know."""
    program = running(python("-c", COLLECTS, "start", str(tmp_path / "home")))
    assert program.wait() == 0, program.output
    told = [line for line in program.stdout if "cannot run the embedded server's keeper" in line]
    assert len(told) == 10, program.output


def test_a_killed_guard_changes_no_exit_code(stage: Stage) -> None:
    """It is of use only if the supervisor dies; without it a worker ends with 0 as ever."""
    worker = stage.worker("-p", "2")
    kill(guard(stage, worker))
    assert stage.send("mark", "mark").result(timeout=5) == "mark"
    assert worker.stop() == 0
    assert not any("Traceback" in line for line in worker.stderr), worker.output
    wait_until(lambda: not stage.processes(), 2)


def test_another_guard_knows_all_that_the_first_one_knew(stage: Stage) -> None:
    """F1, F8: it ends jobs in C code when the supervisor is killed, in processes that are older than it and younger."""
    worker = stage.worker("-p", "2")
    first = guard(stage, worker)
    kill(first)
    worker.wait_for("the guard process is gone; another one takes its place")
    wait_until(lambda: guards(stage, worker) not in ([], [first]))
    kill(children(worker)[0])
    worker.wait_for("in the place of another one")
    assert len(children(worker)) == 2
    for number in range(20):
        stage.send("hold_gil", f"hog {number}", 60.0)
        stage.started(f"hog {number}")
        if len({run.pid for run in stage.runs()}) == 2:
            break
    killed = kill(worker.pid)
    wait_until(lambda: not stage.processes(), 15)
    assert ledger.now() - killed < GONE + 0.5


def test_orders_that_come_in_pieces_are_heard_to_their_end(stage: Stage) -> None:
    """F1: what a later process is told names each partition of its worker, and may be longer than one packet."""
    queues = [letter * 128 for letter in "ab"]
    worker = stage.worker("-p", "1", "-Q", ",".join(queues), PARTITIONS=",".join(f"{each}=256" for each in queues))
    kill(children(worker)[0])
    worker.wait_for("in the place of another one")
    assert stage.send("mark", "mark", queue=queues[0]).result(timeout=20) == "mark"
    assert worker.stop() == 0


def test_a_wrong_application_is_told_at_once(stage: Stage) -> None:
    """With four processes: one error, exit code 2, and nothing is left; nobody waits for the guard's patience."""
    began = time.monotonic()
    worker = stage.worker("-p", "4", app="no_such_module:quaff", ready=False)
    worker.wait_for("Error: ")
    told = time.monotonic()
    assert worker.wait() == 2
    ended = time.monotonic()
    print(f"told after {told - began:.1f} s, ended {ended - told:.1f} s later")
    # The first part is the time that interpreters take to start on this machine now.
    assert ended - told < 2, worker.output
    assert sum(line.startswith("Error: ") for line in worker.stderr) == 1, worker.output
    wait_until(lambda: not stage.processes(), 5)


SLOW = """
import time
from pathlib import Path

(Path(__file__).parent / "loading").touch()
while not (Path(__file__).parent / "go").exists():
    time.sleep(0.005)

from tests.worker.workapp import quaff
"""


def test_a_process_whose_supervisor_died_during_its_import_starts_nothing(new_stage: NewStage) -> None:
    """F1: the application is imported slowly; whenever that ends, no job is begun, and soon nobody is left."""

    def scenario(seconds: float | None) -> None:
        stage = new_stage()
        folder = stage.folder / stage.namespace
        folder.mkdir()
        (folder / "slow.py").write_text(SLOW)
        jobs = stage.many("mark", [(f"waits {n}",) for n in range(20)])
        jobs += stage.many("amark", [(f"waits too {n}",) for n in range(20)])
        worker = stage.worker("-p", "2", app="slow:quaff", ready=False, cwd=folder)
        wait_until((folder / "loading").exists)
        wait_until(lambda: len(children(worker)) == 2)
        pids = children(worker)
        killed = kill(worker.pid)
        worker.process.wait(10)  # on a busy machine it takes a moment until SIGKILL has ended it
        if seconds is not None:
            after(seconds)
            (folder / "go").touch()
        wait_until(lambda: all(gone(pid) for pid in pids), 15)
        took = ledger.now() - killed
        print(f"import ends after {seconds} s: gone after {took:.1f} s")
        assert took < GONE
        assert stage.runs() == []
        assert {job.state for job in jobs} == {"queued"}
        wait_until(lambda: not stage.processes(), GONE, "the guard has gone too")

    side_by_side(*[lambda seconds=seconds: scenario(seconds) for seconds in (0.0, 1.0, 3.0, None)])


def test_a_replacement_whose_supervisor_died_during_its_import_starts_nothing(stage: Stage) -> None:
    """F1: the same for a later process, when chores and leases are there already; the jobs are another worker's."""
    folder = stage.folder / stage.namespace
    folder.mkdir()
    (folder / "slow.py").write_text(SLOW)
    (folder / "go").touch()
    worker = stage.worker("-p", "1", app="slow:quaff", cwd=folder)
    (pid,) = children(worker)
    for name in ("go", "loading"):
        (folder / name).unlink()
    kill(pid)
    wait_until((folder / "loading").exists)
    (new,) = wait_until(lambda: [each for each in children(worker) if each != pid])
    killed = kill(worker.pid)
    worker.process.wait(10)
    jobs = stage.many("mark", [(f"waits {n}",) for n in range(20)])
    (folder / "go").touch()
    wait_until(lambda: gone(new), 15)
    assert ledger.now() - killed < GONE
    assert stage.runs() == []
    other = stage.worker("-p", "1")
    for job in jobs:
        job.result(timeout=10)
    assert {run.parent for run in stage.runs()} == {other.pid}


def test_an_orphan_does_not_turn_in_circles(stage: Stage) -> None:
    """In the seconds that it has for its running job it waits, and does not ask again and again who is there."""
    worker = stage.worker("-p", "1")
    stage.send("gate", "long", str(stage.file()))
    pid = stage.started("long").pid
    killed = kill(worker.pid)
    load = load_of(pid, 2.0)
    print(f"{load:.2f}")
    assert load < 0.25
    wait_until(lambda: gone(pid), 10)
    assert ledger.now() - killed < GONE


def test_ctrl_c_ends_a_worker_whose_server_is_not_there(stage: Stage) -> None:
    """F27: it has no job, so it ends within 2 s, whatever its grace."""
    worker = stage.worker("-p", "2", "--grace", "40", ready=False, URL="redis://127.0.0.1:1/0")
    worker.wait_for("trying again")
    since = time.monotonic()
    assert worker.stop(signal.SIGINT) == 0
    took = time.monotonic() - since
    assert took < 2, worker.output
    wait_until(lambda: not stage.processes(), 5)
