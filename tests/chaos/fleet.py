"""Worker processes as seen from outside: started, found, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import ledger
from tests.chaos.verdict import Deed


@dataclass(frozen=True)
class Process:
    """A living process: its pid, its parent's, its command line, and what it calls itself."""

    pid: int
    parent: int
    command: str
    name: str


def processes() -> list[Process]:
    """Every process of this machine that can be read; zombies are gone already."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().partition(" (")[2].rpartition(") ")
            status = rest.split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if status[0] != "Z":
            found.append(Process(int(entry.name), int(status[1]), command, name))
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
    return process.name == "quaff-process"


def children(supervisor: int) -> list[int]:
    """The pids of a supervisor's worker processes."""
    return [process.pid for process in processes() if process.parent == supervisor and is_child(process)]


class Fleet:
    """Some workers; the dead are started again by ``tend``.

    Args:
        commands: one for each, after ``python -m quaff worker``.
        env: laid over this process's environment.
        mark: ``NAME=value`` of it that no other process has.
        logs: the directory for what they say.

    Attributes:
        parents: the supervisor of each worker process that was seen.
        deeds: what was done to them.
        ended: how those that were asked to stop have ended.
    """

    def __init__(self, commands: Sequence[list[str]], env: Mapping[str, str], mark: str, logs: Path) -> None:
        self._commands = [[sys.executable, "-m", "quaff", "worker", *command] for command in commands]
        self._env = {**os.environ, **env}
        self._mark = mark
        self._log = logs / "workers.log"
        self.deeds: list[Deed] = []
        self.ended: list[int] = []
        self.parents: dict[int, int] = {}
        self.supervisors = [self._start(place) for place in range(len(commands))]

    def _start(self, place: int) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._commands[place],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tend(self) -> None:
        """Start the dead supervisors again."""
        for place, each in enumerate(self.supervisors):
            if each.poll() is not None:
                self.supervisors[place] = self._start(place)

    def alive(self) -> list[int]:
        """The pids of the supervisors."""
        return [each.pid for each in self.supervisors if each.poll() is None]

    def victims(self) -> list[tuple[int, str]]:
        """Who can be killed: the supervisors, their processes, and processes that were theirs."""
        alive = self.alive()
        found = [(pid, "supervisor") for pid in alive]
        for process in sorted(filter(is_child, marked(self._mark)), key=lambda each: each.pid):
            if process.parent in alive:
                self.parents[process.pid] = process.parent
            found.append((process.pid, "child" if process.parent in alive else "orphan"))
        return found

    def family(self, supervisor: int) -> list[int]:
        """A supervisor and its processes."""
        below = [pid for pid, kind in self.victims() if kind == "child" and self.parents[pid] == supervisor]
        return [supervisor, *below]

    def kill(self, pid: int, kind: str) -> None:
        """SIGKILL, noted with its time."""
        before = ledger.now()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.deeds.append(Deed(pid, kind, before, ledger.now()))
        for each in self.supervisors:
            if each.pid == pid:
                each.wait()

    def ask_to_stop(self, supervisor: int, seconds: float) -> None:
        """SIGTERM to one of them, and how it ended."""
        family, before = self.family(supervisor), ledger.now()
        (process,) = (each for each in self.supervisors if each.pid == supervisor)
        process.send_signal(signal.SIGTERM)
        self.ended.append(_end(process, seconds))
        self.deeds += [Deed(pid, "stopped", before, ledger.now()) for pid in family]

    @contextmanager
    def silence(self, supervisor: int) -> Iterator[None]:
        """A supervisor and its processes stand still."""
        family, before = self.family(supervisor), ledger.now()
        for pid in family:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                _signal(pid, signal.SIGCONT)
            self.deeds += [Deed(pid, "silent", before, ledger.now()) for pid in family]

    def said(self, text: str) -> int:
        """How many lines of the workers' log have ``text``."""
        return sum(text in line for line in self._log.read_text(errors="replace").splitlines())

    def stop(self, seconds: float) -> None:
        """SIGTERM to all, and how they ended."""
        for each in self.supervisors:
            each.send_signal(signal.SIGTERM)
        self.ended += [_end(each, seconds) for each in self.supervisors]


def _end(process: subprocess.Popen[bytes], seconds: float) -> int:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
