"""The guard, held by whoever starts processes: what ends them if he dies without having done so (see ``guard.py``)."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

log: logging.Logger = logging.getLogger("quaff.worker")


class Guard:
    """A guard process and the process groups it has been told of. One that is killed is replaced."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._popen = self._start()

    @property
    def pid(self) -> int:
        """The guard's."""
        return self._popen.pid

    def add(self, group: int) -> None:
        """Watch over a process group."""
        self._groups.add(group)
        self._say(f"+{group}\n")

    def discard(self, group: int) -> None:
        """It has been seen off."""
        self._groups.discard(group)
        self._say(f"-{group}\n")

    def close(self) -> None:
        """End it; all groups must have been seen off."""
        self._hang_up()
        self._popen.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: it must outlive what ends the others.
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)

    def _say(self, line: str) -> None:
        try:
            self._write(line)
        except OSError:
            log.error("the guard process is gone; another one takes its place")
            self._hang_up()
            self._popen.wait()
            try:
                self._popen = self._start()
                self._write("".join(f"+{group}\n" for group in self._groups))
            except OSError as error:
                log.error("no guard: %s; if this process is killed, jobs in C code may outlive it", error)

    def _write(self, text: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def _hang_up(self) -> None:
        try:
            if self._popen.stdin is not None:
                self._popen.stdin.close()
        except OSError:
            pass  # what it was told last did not reach it, because it is gone
