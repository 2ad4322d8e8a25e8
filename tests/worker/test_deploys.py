"""Deploys: workers come and go under load, and the system that runs them is told."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos import ledger
from tests.helpers import Program, wait_until
from tests.lacking import not_allowed
from tests.worker.support import Stage, kill

#: Seconds of grace, and those of short and of long jobs: ``FULL=1`` has them as they may be in production.
GRACE, SHORT, LONG = (5.0, (0.1, 3.0), 20.0) if os.environ.get("FULL") else (0.5, (0.01, 0.3), 2.0)


@pytest.mark.alone
@pytest.mark.early
@pytest.mark.timeout(600 if os.environ.get("FULL") else 60)
def test_twenty_rolling_restarts_of_four_workers_lose_and_charge_nothing(stage: Stage) -> None:
    """F6: TERM to the group, KILL a second after its grace; jobs that are shorter and longer than that."""
    grace, count = GRACE, 5
    chosen = random.Random(6)

    def start() -> Program:
        return stage.worker("-p", "1", "-c", "4", "--grace", f"{grace}")

    workers = [start() for _ in range(4)]
    jobs = []
    for _ in range(count):
        for place in range(4):
            for number in range(10):
                task = ("nap", "anap")[number % 2]
                seconds = LONG if number == 0 else chosen.uniform(*SHORT)
                jobs.append(stage.send(task, f"job {len(jobs)}", seconds))
            leaving, workers[place] = workers[place], start()
            began = time.monotonic()
            os.killpg(leaving.pid, signal.SIGTERM)
            assert leaving.process.wait(grace + 1.0) == 0, leaving.output
            assert time.monotonic() - began < grace + 1.0
    for number, job in enumerate(jobs):
        assert job.result(timeout=200) == f"job {number}"
        info = job.info()
        assert {attempt.number for attempt in info.attempts} == {1}
        assert info.attempts[-1].outcome == "succeeded"
    assert {run.attempt for run in stage.runs()} == {1}
    assert sum(run.ended is not None for run in stage.runs()) >= len(jobs)


def test_as_the_first_process_of_a_container_it_stops_and_collects_what_tasks_left(stage: Stage) -> None:
    """F6: PID 1 gets no default action for a signal, and every orphan for a child."""
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False).returncode:
        not_allowed("no process namespaces for this user (unshare --pid)")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "quaff", "worker"]
    program = stage.command(*command, "-A", "tests.worker.workapp:quaff", "-p", "1")
    program.wait_for("ready")
    (first,) = (each.pid for each in stage.processes() if each.parent == program.pid)
    assert Path(f"/proc/{first}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()[-1] == "1"
    assert stage.send("leave_orphans", "leaves", 5).result(timeout=15) == "leaves"
    wait_until(lambda: orphans(first), 5, "the orphans")
    wait_until(lambda: not orphans(first), 10, "the end of the orphans")
    kill(first, signal.SIGTERM)
    assert program.process.wait(10) == 0, program.output


def orphans(parent: int) -> list[int]:
    """Programs of tasks that are its children by now, ended or not."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            text = path.read_text()
            if "(sleep)" in text and int(text.rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def test_systemd_is_told_that_the_worker_is_ready_alive_and_stopping(stage: Stage, tmp_path: Path) -> None:
    """Type=notify with a watchdog; what tasks start cannot speak for the worker."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0quaff-{stage.namespace}")
        manager.settimeout(15)

        def heard() -> set[str]:
            return set(manager.recv(4096).decode().splitlines())

        os.environ.update(NOTIFY_SOCKET=f"@quaff-{stage.namespace}", WATCHDOG_USEC="1000000")
        try:
            worker = stage.worker("-p", "1", ready=False)
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        while "READY=1" not in (states := heard()):
            assert states == {"WATCHDOG=1"}
        assert "STATUS=1 of 1 processes ready" in states
        for _ in range(3):
            assert heard() == {"WATCHDOG=1"}
        over = stage.file()
        stage.send("with_program", "program", str(over), False)
        program = wait_until(lambda: [line for line in ledger.lines(stage.ledger) if line["event"] == "program"])[0]
        environment = Path(f"/proc/{program['program']}/environ").read_bytes()
        assert stage.mark.encode() in environment
        assert b"NOTIFY_SOCKET" not in environment
        assert b"WATCHDOG" not in environment
        over.touch()
        kill(worker.pid, signal.SIGSTOP)
        manager.settimeout(0.1)
        wait_until(lambda: _silent(manager), 10, "the silence of a worker that stands still")
        kill(worker.pid, signal.SIGCONT)
        manager.settimeout(15)
        kill(worker.pid, signal.SIGTERM)
        while "STOPPING=1" not in heard():
            continue
        assert worker.process.wait(10) == 0


def _silent(manager: socket.socket) -> bool:
    manager.settimeout(1.0)
    try:
        manager.recv(4096)
    except TimeoutError:
        return True
    return False
