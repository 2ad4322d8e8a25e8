"""One process as its supervisor sees it: started, heard over a line, seen off when it is gone."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec

from quaff.model.ids import JobId
from quaff.worker import starts, traces
from quaff.worker.control import Control, Orders, Word
from quaff.worker.launching import Launcher
from quaff.worker.starts import Start, Starts

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds from "stop" to SIGKILL.
_STOP = 0.5


class Child:
    """A worker process.

    Args:
        orders: what it is told; its id and its start records are added here.
        launcher: starts it.

    Attributes:
        introduction: what it said when it had loaded the application.
        ready: it can claim.
        closed: the server gave it up; it ends when its jobs have, and another one does the work.
        hopeless: why it cannot start; code: what its worker ends with then.
        began: monotonic time.
        jobs_done: attempts that have ended in it, as it said last.
        worn: why it is to be replaced; empty if it is not.
        leaves_at: monotonic seconds at which it has to give back what it holds, or is killed; None while it serves.
        told_to_stop: whether it was told to give back what it holds; killed: whether it was killed by its supervisor.
        cancelled: the tokens of jobs that it was told to cancel, and when (monotonic seconds).
        ended: why its jobs were ended with it, by token, where it was killed for one of them.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, orders: Orders, launcher: Launcher) -> None:
        self.id: bytes = new_process_id()
        self.worker: str = orders.worker
        self.introduction: Word | None = None
        self.ready = self.closed = False
        self.hopeless: str = ""
        self.code: int = 2
        self.began: float = time.monotonic()
        self.jobs_done = 0
        self.worn = ""
        self.leaves_at: float | None = None
        self.told_to_stop: bool = False
        self.killed: bool = False
        self.cancelled: dict[bytes, float] = {}
        self.ended: dict[bytes, str] = {}
        with ExitStack() as opened:
            descriptor = starts.create()
            opened.callback(os.close, descriptor)
            ours, theirs = socket.socketpair()
            opened.enter_context(theirs)
            on_failure = opened.enter_context(ExitStack())
            on_failure.callback(ours.close)
            self._traces = traces.create()
            on_failure.callback(os.close, self._traces)
            self._starts = Starts(descriptor)
            launched = launcher.launch(theirs.fileno(), descriptor, self._traces)
            self._program = launched.program
            on_failure.pop_all()
        self.control: Control = Control(ours)
        own = msgspec.structs.replace(orders, process=self.id.hex(), starts=launched.starts, traces=launched.traces)
        self.control.say(Word(said="orders", orders=own))

    @property
    def pid(self) -> int:
        """The process, and its group."""
        return self._program.pid

    @property
    def sent_away(self) -> bool:
        """True if it ends, with jobs that run in it, because it has to: that is no fault of theirs."""
        return self.told_to_stop or self.killed

    @property
    def serving(self) -> bool:
        """True while it claims, or will."""
        return not self.closed and self.leaves_at is None

    def leave(self, at: float) -> None:
        """Claim nothing more, and end when the running jobs have, or at that time; told twice, at the earlier one."""
        if not self.told_to_stop:
            self.leaves_at = at if self.leaves_at is None else min(at, self.leaves_at)
            self.control.say(Word(said="drain"))

    def press(self, now: float) -> None:
        """At the time at which it leaves it is told to give back what it holds, and soon after it is killed."""
        if self.leaves_at is None or now < self.leaves_at:
            return
        if self.told_to_stop:
            self.kill()
        self.told_to_stop = True
        self.control.say(Word(said="stop"))
        self.leaves_at = now + _STOP

    def gone(self) -> bool:
        """True once it has ended; not yet waited for, so that its pid is still its own."""
        if self._program.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def see_off(self) -> int:
        """End what its tasks left running and collect it; the exit code, negative for a signal."""
        self._end_group()
        code = self._program.wait()
        self.control.close()
        return code

    def kill(self) -> None:
        """SIGKILL for it and all it started."""
        self.killed = True
        self._end_group()

    def _end_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def running(self) -> list[Start]:
        """What it has begun and not ended."""
        return self._starts.running()

    def unsettled(self) -> list[Start]:
        """What it has ended, and perhaps not told the server."""
        return self._starts.unsettled()

    def shout(self) -> bool:
        """Have it write its stacks, though it hears nothing; False where the application has that signal for itself."""
        if self.introduction is None or not self.introduction.traces:
            return False
        traces.clear(self._traces)
        try:
            os.kill(self.pid, traces.SIGNAL)
        except ProcessLookupError:
            return False
        return True

    def traces(self) -> str:
        """What it has written."""
        return traces.read(self._traces)

    def forget(self) -> None:
        """Its records are needed no more."""
        self._starts.close()
        os.close(self._traces)


def describe(code: int) -> tuple[str, str]:
    """An exit code in words: the signal's name or ``exit``, and a sentence."""
    if code < 0:
        name = signal.Signals(-code).name
        maybe = ", by hand or by the system when memory ran out" if name == "SIGKILL" else ""
        return name, f"its process was killed by {name}{maybe}"
    return "exit", f"its process ended with exit code {code}"


def say_what_runs(children: Sequence[Child], partitions: Sequence[tuple[str, int]]) -> None:
    """Put into the log which jobs these processes have begun and not ended."""
    now = time.time()
    for child in children:
        for start in child.running():
            id = JobId(*partitions[start.partition], start.id)
            log.info("still running in process %d: %s, for %.1f s", child.pid, id, now - start.started_ms / 1000)


def new_process_id() -> bytes:
    """Random per start, never a host name or pid: a restarted container must not look like the one that died."""
    return os.urandom(8)
