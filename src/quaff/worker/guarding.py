"""The guard, held by whoever starts processes: what ends them if he dies without having done so (see ``guard.py``)."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from quaff.worker.poll import readable

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds in which one that has taken another one's place is not replaced for having ended, too.
_AGAIN = 1.0


class Program(Protocol):
    """A child of this process: as much of ``subprocess.Popen`` as is needed."""

    @property
    def pid(self) -> int:
        """Its pid."""
        ...

    @property
    def returncode(self) -> int | None:
        """None until it has been waited for."""
        ...

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


def execute(command: list[str], line: socket.socket, output: int | None) -> Program:
    """Start a guard by its command; ``line`` is its standard input, ``output`` as ``stdout`` of ``Popen``. A session of
    its own: it outlives what ends us."""
    return subprocess.Popen(command, stdin=line.fileno(), stdout=output, start_new_session=True)


def _alone(line: socket.socket, _: socket.socket) -> Program:
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))]
    return execute(command, line, subprocess.DEVNULL)


class Guard:
    """A guard process and the process groups it has been told of. One that is killed is replaced.

    Args:
        begin: starts one that reads the first end of a line; the other one is ours.
    """

    def __init__(self, begin: Callable[[socket.socket, socket.socket], Program] = _alone) -> None:
        self._begin = begin
        self._groups: set[int] = set()
        self._look_at = 0.0
        self._program, self._line = self._start()

    @property
    def pid(self) -> int:
        """The guard's."""
        return self._program.pid

    def add(self, group: int) -> None:
        """Watch over a process group."""
        self._groups.add(group)
        self._say(f"+{group}\n")

    def discard(self, group: int) -> None:
        """It has been seen off."""
        self._groups.discard(group)
        self._say(f"-{group}\n")

    def look(self) -> None:
        """Replace it if it is gone, now and then: it says nothing unasked, so only then there is something to read."""
        line = self._line.fileno()
        if time.monotonic() >= self._look_at and (line < 0 or readable([line], 0)):
            self._replace()

    def ask(self, question: str, descriptors: list[int], seconds: float) -> str:
        """What it answers to a line, which has these descriptors with it; one that does not is replaced.

        Raises:
            OSError: it did not answer in that time.
        """
        try:
            self._line.settimeout(seconds)
            socket.send_fds(self._line, [question.encode()], descriptors)
            answer = self._line.recv(4096).decode()
            if not answer:
                raise ConnectionResetError("the guard process is gone")
            self._line.settimeout(None)
        except OSError:
            self._replace()
            raise
        return answer

    def close(self) -> None:
        """End it; all groups must have been seen off."""
        self._program.kill()  # it has nothing left to do, and one that is stopped would not see the end of its line
        self._program.wait()
        self._line.close()

    def _start(self) -> tuple[Program, socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return self._begin(theirs, ours), ours
            except OSError:
                ours.close()
                raise

    def _say(self, line: str) -> None:
        try:
            self._line.sendall(line.encode())
        except OSError:
            self._replace()

    def _replace(self) -> None:
        log.error("the guard process is gone; another one takes its place")
        self._look_at = time.monotonic() + _AGAIN
        # Before its line is closed: one that is only stuck would take that for our end.
        self._program.kill()
        self._program.wait()
        self._line.close()
        try:
            self._program, self._line = self._start()
            self._line.sendall("".join(f"+{group}\n" for group in self._groups).encode())
        except OSError as error:
            log.error("no guard: %s; if this process is killed, jobs in C code may outlive it", error)
