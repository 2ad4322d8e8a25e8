"""What a worker's processes are like where they are forked: as if they had been executed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quaff.errors import BUG, BUG_TEXT
from tests.helpers import Program, gone, wait_until
from tests.worker import forkapp
from tests.worker.support import ROOT, Stage, children, kill
from tests.worker.test_supervisors import guard, guards

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is a fresh interpreter")

APP = "tests.worker.forkapp:quaff"


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two processes, for the tests that end none."""
    stage = Stage(server_url, tmp_path_factory.mktemp("forks"))
    stage.sends(forkapp.quaff)
    # Its own folder comes first on the path, and is the working directory.
    folder = stage.folder / "project"
    folder.mkdir()
    path = os.pathsep.join(map(str, (folder, ROOT / "src", ROOT)))
    stage.worker("-p", "2", "-c", "1", app=APP, cwd=folder, environment={"PYTHONPATH": path})
    yield stage
    stage.end()


def ask(stage: Stage, name: str, *arguments: Any) -> Any:
    return stage.send(name, *arguments).result(timeout=20)


def worker_of(stage: Stage) -> Program:
    return stage._programs[0]


def command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def test_a_process_sees_what_an_executed_one_would_see(shared: Stage) -> None:
    seen = ask(shared, "seen")
    assert [Path(each).name for each in seen["argv"]] == ["process.py"]
    assert seen["main"] == "quaff.worker.process"
    assert seen["input"] == os.devnull
    assert seen["cwd"] == str(shared.folder / "project")
    assert seen["path"][:3] == [seen["cwd"], str(ROOT / "src"), str(ROOT)]
    assert not {"_QUAFF_PLAN", "NOTIFY_SOCKET"} & seen["environment"].keys()
    assert len(ask(shared, "inherited")) == 3


def test_no_two_processes_have_a_descriptor_or_a_random_number_in_common(shared: Stage) -> None:
    """Each has the line to its supervisor, which ends with it, for itself."""
    seen: dict[int, Any] = {}

    def both() -> bool:
        one = ask(shared, "seen")
        seen[one["pid"]] = one
        return len(seen) == 2

    wait_until(both, 20)
    one, other = seen.values()
    assert not {*one["sockets"]} & {*other["sockets"]}
    assert not {*map(str, one["random"])} & {*map(str, other["random"])}


def test_a_task_may_use_fresh_interpreters(shared: Stage) -> None:
    assert ask(shared, "pools") == [1, 1]


@pytest.mark.parametrize("leave", [False, True], ids=["in its group", "in one of its own"])
def test_what_a_dead_process_has_forked_holds_up_nothing(stage: Stage, leave: bool) -> None:
    """F1, F11: it has a copy of the line to the supervisor, which does not end then; the job runs again all the same,
    and the worker stops when it is told to."""
    stage.sends(forkapp.quaff)
    worker = stage.worker("-p", "1", app=APP)
    assert stage.send("fork_and_die", leave).result(timeout=10) == 2
    assert worker.stop(timeout=10) == 0


def test_the_command_line_is_what_was_typed(shared: Stage) -> None:
    """``pkill -f "quaff worker"`` finds it, and nothing is in ``ps`` that was not typed."""
    worker = worker_of(shared)
    for pid in (worker.pid, *children(worker)):
        assert command_of(pid)[1:] == ["-P", "-m", *worker.command[2:]]


def test_a_signal_to_whoever_has_that_command_line_ends_no_process(shared: Stage) -> None:
    pids = children(worker_of(shared))
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        for pid in pids:
            os.kill(pid, number)
    assert ask(shared, "status", "true") == 0
    assert children(worker_of(shared)) == pids
    assert ask(shared, "status", "sh", "-c", "kill -HUP $$") == -signal.SIGHUP


def test_what_a_task_prints_is_seen_when_the_guard_was_replaced(stage: Stage) -> None:
    stage.sends(forkapp.quaff)
    worker = stage.worker("-p", "1", app=APP)
    ask(stage, "say", "before")
    kill(guard(stage, worker))
    kill(children(worker)[0])
    worker.wait_for("in the place of another one")
    ask(stage, "say", "after")
    wait_until(lambda: worker.stdout == ["before", "after"])


def test_a_guard_that_is_gone_is_missed_at_once(stage: Stage) -> None:
    """And not by the next process that is to be started, perhaps days later."""
    worker = stage.worker("-p", "1")
    first = guard(stage, worker)
    before = children(worker)
    kill(first)
    worker.wait_for("the guard process is gone; another one takes its place")
    wait_until(lambda: guards(stage, worker) not in ([], [first]))
    assert children(worker) == before
    kill(before[0])
    worker.wait_for("in the place of another one")
    assert not any("no other process" in line for line in worker.stderr), worker.output


def test_a_guard_that_stands_still_does_not_hold_up_a_stop(stage: Stage) -> None:
    worker = stage.worker("-p", "1")
    kill(guard(stage, worker), signal.SIGSTOP)
    assert worker.stop(timeout=15) == 0
    wait_until(lambda: not stage.processes())


def test_children_can_be_waited_for_where_whoever_started_the_worker_ignores_theirs(stage: Stage) -> None:
    stage.sends(forkapp.quaff)
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-m", "quaff", "worker", "-A", APP, "-p", "1"]
    worker = stage.command(sys.executable, "-c", ignoring, *command)
    worker.wait_for("ready")
    assert ask(stage, "status", "false") == 1
    assert worker.stop() == 0
    assert not any("guard" in line or "Traceback" in line for line in worker.stderr), worker.output


TELLS = """
import atexit, os
from tests.worker.forkapp import quaff

atexit.register(lambda: print("at exit:", os.readlink("/proc/self/fd/3").partition(":")[0], flush=True))
"""


def test_a_process_that_ends_closes_nothing_before_the_exit_handlers_run(stage: Stage) -> None:
    """What its interpreter was before the fork is forgotten, and may not take with it what has its numbers now,
    such as the first one after the three streams, the line to the supervisor."""
    folder = stage.folder / stage.namespace
    folder.mkdir()
    (folder / "tells.py").write_text(TELLS)
    worker = stage.worker("-p", "1", app="tells:quaff", cwd=folder)
    assert worker.stop() == 0
    assert worker.stdout == ["at exit: socket"]
    assert not any("Traceback" in line for line in worker.stderr), worker.output


SLOW = """
import time
from pathlib import Path

Path(__file__).with_name("loading").touch()
time.sleep(60)
"""


def test_ctrl_c_during_the_start_shows_no_traceback(stage: Stage) -> None:
    folder = stage.folder / stage.namespace
    folder.mkdir()
    (folder / "uvloop.py").write_text(SLOW)
    path = os.pathsep.join(map(str, (folder, ROOT / "src", ROOT)))
    worker = stage.worker(ready=False, environment={"PYTHONPATH": path})
    wait_until((folder / "loading").exists)
    assert worker.stop(signal.SIGINT) == -signal.SIGINT
    assert worker.stderr == []


def test_a_mistake_of_ours_has_its_own_exit_code(stage: Stage) -> None:
    (stage.folder / "uvloop.py").write_text("1 / 0")
    path = os.pathsep.join(map(str, (stage.folder, ROOT / "src", ROOT)))
    worker = stage.worker(ready=False, environment={"PYTHONPATH": path})
    assert worker.wait() == BUG
    assert worker.stderr[-2:] == ["ZeroDivisionError: division by zero", f"Error: {BUG_TEXT}"]


@pytest.mark.parametrize("inputs", [">&-", "<&- >&-"])
def test_a_worker_whose_standard_streams_are_closed_works(stage: Stage, inputs: str) -> None:
    stage.sends(forkapp.quaff)
    start = f'exec "{sys.executable}" -m quaff "$@" {inputs}'
    worker = stage.command("sh", "-c", start, "sh", "worker", "-A", APP, "-p", "1")
    worker.wait_for("ready")
    ask(stage, "say", "nobody hears it")
    assert ask(stage, "status", "echo", "nor this") == 0
    kill(children(worker)[0])
    worker.wait_for("in the place of another one")
    ask(stage, "status", "echo", "nor this")
    assert worker.stop() == 0
    assert not any("guard" in line or "error" in line for line in worker.stderr), worker.output


AGENTS = {
    "thread": "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "socket": "import socket; end = socket.socket()",
}


@pytest.mark.parametrize("agent", AGENTS)
def test_where_something_else_is_at_work_processes_are_executed(stage: Stage, agent: str) -> None:
    """It has come by the environment; in a fork it would be torn apart."""
    stage.sends(forkapp.quaff)
    (stage.folder / "sitecustomize.py").write_text(AGENTS[agent])
    path = os.pathsep.join(map(str, (stage.folder, ROOT / "src", ROOT)))
    worker = stage.worker("-p", "1", app=APP, environment={"PYTHONPATH": path})
    assert "quaff.worker.process" in command_of(children(worker)[0])
    assert ask(stage, "status", "true") == 0
    assert worker.stop() == 0


def before_it_answers(guard: int, ask: Callable[[], None], line: socket.socket) -> None:
    os.kill(guard, signal.SIGSTOP)
    ask()
    line.close()
    os.kill(guard, signal.SIGCONT)


def before_the_answer_is_read(guard: int, ask: Callable[[], None], line: socket.socket) -> None:
    ask()
    assert line.recv(1, socket.MSG_PEEK)
    line.close()


@pytest.mark.parametrize("die", [before_it_answers, before_the_answer_is_read])
def test_a_guard_does_its_duty_when_the_supervisor_dies_during_a_start(
    die: Callable[[int, Callable[[], None], socket.socket], None],
) -> None:
    """F1: what is there already ends, though it cannot hear."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", "quaff.worker.forkserver"]
    with theirs, subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True) as server:
        deaf = subprocess.Popen(["sleep", "60"], process_group=0)
        ours.sendall(b"+%d\n" % deaf.pid)

        def ask() -> None:
            line, other = socket.socketpair()
            with line, other, open(os.devnull) as starts, open(os.devnull) as traces:
                socket.send_fds(ours, [b"*\n"], [other.fileno(), starts.fileno(), traces.fileno()])

        die(server.pid, ask, ours)
        assert deaf.wait(20) == -signal.SIGKILL
        assert server.wait(20) == 0
        assert server.stderr is not None
        assert server.stderr.read() == ""
    assert gone(deaf.pid)
