"""How a process is started: by fork where that can be done, or by exec."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
from typing import NamedTuple, Protocol

from quaff.worker import orphans
from quaff.worker.guarding import Guard, Program, execute

#: Seconds for an answer of the fork server, in which the supervisor does nothing else: one that has just been executed
#: has to load all of it, and a watchdog must not lose its patience.
_ANSWER = 10.0


class Launched(NamedTuple):
    """A process that has been started, and the numbers that two descriptors have in it."""

    program: Program
    starts: int
    traces: int


class Launcher(Protocol):
    """Starts processes.

    Attributes:
        guard: what ends them if this process dies.
        adopting: this process inherits what descends from it.
    """

    guard: Guard
    adopting: bool

    def launch(self, line: int, starts: int, traces: int) -> Launched:
        """Start one that has these descriptors: its line, its start records, the file for its stacks. It has a group of
        its own: Ctrl+C in the terminal reaches only the supervisor, and what tasks start ends with it.

        Raises:
            OSError: the system has no room for another process.
        """
        ...


def launcher(*, clean: bool) -> Launcher:
    """The better one of those that can be had here.

    Args:
        clean: this process has loaded nothing but Quaff, and opened nothing.
    """
    return Forking() if clean and sys.platform == "linux" and _alone() and orphans.adopt() else Executing()


def _alone() -> bool:
    """Whether nothing else is at work here, an agent that the environment has started perhaps: its threads would be cut
    off in the midst of whatever they do, and what it has opened would be closed behind its back."""
    try:
        return len(os.listdir("/proc/self/task")) == 1 and not any(map(_opened_here, os.listdir("/proc/self/fd")))
    except FileNotFoundError:  # there is no /proc
        return False


def _opened_here(name: str) -> bool:
    """Whether a descriptor is no inherited one."""
    try:
        return int(name) > 2 and not os.get_inheritable(int(name))
    except OSError:  # that of the list itself
        return False


class Executing:
    """Each process is a fresh interpreter."""

    def __init__(self) -> None:
        self.guard: Guard = Guard()
        self.adopting: bool = False

    def launch(self, line: int, starts: int, traces: int) -> Launched:
        command = [sys.executable, "-P", "-m", "quaff.worker.process", str(line)]
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(line, starts, traces), process_group=0)
        return Launched(program, starts, traces)


class Forking:
    """Each process is a fork of the guard, which is a fork of this one, as it was at its start (``forkserver.py``).

    Later there are threads here, so a guard that has to be replaced is a fresh interpreter, with a memory of its own.
    """

    def __init__(self) -> None:
        self.adopting: bool = True
        # Here and not above: where processes are executed nobody needs all this.
        from quaff.worker import forkserver

        self._main = forkserver.main
        self._command = [sys.executable, "-P", "-m", forkserver.__name__]
        self._forked = False
        # A collector that looks at what is in common writes to it, and then it is in common no more.
        gc.collect()
        _give_back()
        gc.freeze()
        self.guard: Guard = Guard(self._begin)

    def launch(self, line: int, starts: int, traces: int) -> Launched:
        answer = self.guard.ask("*\n", [line, starts, traces], _ANSWER)
        if answer.startswith("!"):
            number = int(answer[1:])
            raise OSError(number, os.strerror(number))
        pid, starts, traces = map(int, answer.split())
        return Launched(Forked(pid), starts, traces)

    def _begin(self, line: socket.socket, ours: socket.socket) -> Program:
        if self._forked:
            return execute(self._command, line, None)  # what its processes print goes where ours does
        self._forked = True
        pid = os.fork()
        if pid == 0:
            _cut_loose(line)
            ours.detach()  # it is closed, and must not close what has its number by the time it is forgotten
            self._main()
        return Forked(pid)


class Forked:
    """A child of this process that was not started by ``subprocess``."""

    def __init__(self, pid: int) -> None:
        self.pid: int = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def _cut_loose(line: socket.socket) -> None:
    """What ``exec`` would have done: a session of its own, the line as standard input, and nothing else that was open
    here but the two outputs."""
    os.setsid()
    os.dup2(line.detach(), 0, inheritable=False)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)


def _give_back() -> None:
    """To the system, what imports have left free: whoever takes of it later takes new pages then."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
