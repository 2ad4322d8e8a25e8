"""Worker processes as seen from outside: started, found, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import ledger


@dataclass(frozen=True)
class Process:
    """A living process: its pid, its parent's, and its command line."""

    pid: int
    parent: int
    command: str


@dataclass(frozen=True)
class Kill:
    """A SIGKILL sent between two instants; ``kind``: supervisor, child, or orphan (its supervisor was gone already)."""

    pid: int
    kind: str
    before: float
    after: float


def processes() -> list[Process]:
    """Every process of this machine that can be read; zombies are gone already."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if status[0] != "Z":
            found.append(Process(int(entry.name), int(status[1]), command))
    return found


def marked(mark: str) -> list[Process]:
    """The living processes with ``mark`` in their environment, as they were started: whatever a worker left behind."""
    found = []
    for process in processes():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in environment.split(b"\0"):
            found.append(process)
    return found


def is_child(process: Process) -> bool:
    """Whether a process is one of a worker's that runs jobs."""
    return "-m quaff.worker.process" in process.command


def children(supervisor: int) -> list[int]:
    """The pids of a supervisor's worker processes."""
    return [process.pid for process in processes() if process.parent == supervisor and is_child(process)]


class Fleet:
    """Some workers; the dead are started again by ``tend``.

    Args:
        count: of workers.
        command: after ``python -m quaff worker``.
        env: laid over this process's environment.
        mark: ``NAME=value`` of it that no other process has.
        logs: the directory for what they say.

    Attributes:
        parents: the supervisor of each worker process that was seen.
    """

    def __init__(self, count: int, command: list[str], env: Mapping[str, str], mark: str, logs: Path) -> None:
        self._command = [sys.executable, "-m", "quaff", "worker", *command]
        self._env = {**os.environ, **env}
        self._mark = mark
        self._log = logs / "workers.log"
        self.kills: list[Kill] = []
        self.restarts = 0
        self.parents: dict[int, int] = {}
        self.supervisors = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def tend(self) -> None:
        """Start the dead supervisors again."""
        for place, each in enumerate(self.supervisors):
            if each.poll() is not None:
                self.supervisors[place] = self._start()
                self.restarts += 1

    def victims(self) -> list[tuple[int, str]]:
        """Who can be killed: the supervisors, their processes, and processes that were theirs."""
        alive = [each.pid for each in self.supervisors if each.poll() is None]
        found = [(pid, "supervisor") for pid in alive]
        for process in sorted(filter(is_child, marked(self._mark)), key=lambda each: each.pid):
            if process.parent in alive:
                self.parents[process.pid] = process.parent
            found.append((process.pid, "child" if process.parent in alive else "orphan"))
        return found

    def kill(self, pid: int, kind: str) -> None:
        """SIGKILL, noted with its time."""
        before = ledger.now()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills.append(Kill(pid, kind, before, ledger.now()))
        for each in self.supervisors:
            if each.pid == pid:
                each.wait()

    def said(self, text: str) -> int:
        """How many lines of the workers' log have ``text``."""
        return sum(text in line for line in self._log.read_text(errors="replace").splitlines())

    def stop(self, seconds: float) -> list[int]:
        """SIGTERM to all; their exit codes."""
        for each in self.supervisors:
            each.send_signal(signal.SIGTERM)
        codes = []
        for each in self.supervisors:
            try:
                codes.append(each.wait(seconds))
            except subprocess.TimeoutExpired:
                each.kill()
                codes.append(each.wait())
        return codes
