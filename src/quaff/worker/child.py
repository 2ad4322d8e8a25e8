"""One process as its supervisor sees it: started by exec, heard over a line, seen off when it is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from quaff.worker import starts
from quaff.worker.control import Control, Orders, Word
from quaff.worker.maintenance import new_process_id
from quaff.worker.starts import Start, Starts


class Child:
    """A worker process.

    Args:
        app, flags, queues, worker, level: its orders.
    """

    def __init__(
        self, app: str, flags: Mapping[str, str | int | float], queues: list[str] | None, worker: str, level: str
    ) -> None:
        self.id = new_process_id()
        self.worker = worker
        self.loaded = False
        self.ready = False
        self.hopeless = ""
        self.began = time.monotonic()
        descriptor = starts.create()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "quaff.worker.process", str(theirs.fileno())]
        # A group of its own: Ctrl+C in the terminal reaches only the supervisor, and what tasks start can be ended too.
        self._popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), descriptor), process_group=0
        )
        theirs.close()
        self._starts = Starts(descriptor)
        orders = Orders(
            app=app,
            flags=dict(flags),
            queues=queues,
            process=self.id.hex(),
            worker=worker,
            starts=descriptor,
            level=level,
        )
        os.close(descriptor)
        self.control = Control(ours)
        self.control.say(Word(said="orders", orders=orders))

    @property
    def pid(self) -> int:
        """The process, and its group."""
        return self._popen.pid

    def gone(self) -> bool:
        """True once it has ended; not yet waited for, so that its pid is still its own."""
        if self._popen.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def see_off(self) -> int:
        """End what its tasks left running and collect it; the exit code, negative for a signal."""
        self.kill()
        code = self._popen.wait()
        self.control.close()
        return code

    def kill(self) -> None:
        """SIGKILL for it and all it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def started(self) -> list[Start]:
        """What it had begun and not ended; call once, after it is gone."""
        running = self._starts.running()
        self._starts.close()
        return running


def describe(code: int) -> tuple[str, str]:
    """An exit code in words: the signal's name or ``exit``, and a sentence."""
    if code < 0:
        name = signal.Signals(-code).name
        maybe = " (the system does this when memory runs out)" if name == "SIGKILL" else ""
        return name, f"its process was killed by {name}{maybe}"
    return "exit", f"its process ended with exit code {code}"
