"""One attempt while it runs, and how it is made to end before it would by itself.

A coroutine is cancelled. In a thread an exception is set from outside; it arrives at the next step of the interpreter,
so not within a call of C code, and must not arrive after the attempt: ``open`` says that it may, ``leave`` that it may
no more. What is due before it may waits until it does. What does not end by that is ended with its process, by the
supervisor.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine, Generator, Iterator
from typing import Any, NamedTuple

import msgspec

from quaff.context import Attempt as Current
from quaff.model import outcome
from quaff.model.outcome import Attempt
from quaff.model.steering import SoftTimeout
from quaff.worker.ready import Ready

#: Why an attempt was cut short.
SOFT, LIMIT, CANCEL = "soft", "limit", "cancel"

FOREVER = float("inf")
#: What says when a run is due, the first that counts first.
_TIMES = {LIMIT: "ends_at", CANCEL: "cancel_at", SOFT: "soft_at"}
#: Functions of ``logging`` that take a lock or give it back, in the Pythons that there are.
_LOCKING = frozenset(("acquire", "release", "_acquireLock", "_releaseLock"))
#: Held while an exception is set, and while what was set is taken back.
_setting = threading.Lock()


class Interrupt(BaseException):
    """Set in a thread whose attempt has to end. No ``Exception``: a task that catches those must not catch it."""


class Large(NamedTuple):
    """A result that goes to the store of results before its attempt is settled; ``seconds`` it has to stay there."""

    job: Ready
    name: str
    data: bytes
    seconds: float


class Run(msgspec.Struct, eq=False):
    """An attempt in a slot.

    Attributes:
        job, current: what runs, and how it sees itself.
        at: Unix seconds of the start; began, soft_at, ends_at, cancel_at: monotonic seconds.
        thread: the identifier of the thread it runs in; 0 for a coroutine.
        task: the coroutine's.
        steered: what raises SoftTimeout in a coroutine that asked for it.
        open: it may be cut short; not while its arguments are fetched, and after ``leave`` no more.
        cut: why it was, last; empty if it was not.
        unfit: of a batch, what is wrong with the calls that are not in it, by the token of their jobs.
        large: its results that do not go to the server.
        error: what it has failed with, last.
        smallest, largest: bytes of memory that the process had when it began, and at most since (``Gauge``).
    """

    job: Ready
    current: Current
    at: float
    began: float
    soft_at: float
    ends_at: float
    cancel_at: float = FOREVER
    thread: int = 0
    task: asyncio.Task[Any] | None = None
    steered: Steered | None = None
    open: bool = False
    cut: str = ""
    unfit: dict[bytes, BaseException] = {}
    large: list[Large] = []
    error: BaseException | None = None
    smallest: int = 0
    largest: int = 0

    def due(self, now: float) -> str:
        """Why it is to be cut short now, each reason once; empty if it is not, or may not be yet."""
        if not self.open or now < min(self.ends_at, self.cancel_at, self.soft_at):
            return ""
        why = next(why for why, name in _TIMES.items() if now >= getattr(self, name))
        setattr(self, _TIMES[why], FOREVER)
        if why == LIMIT:
            self.soft_at = FOREVER
        return why

    def _postpone(self, why: str) -> None:
        """It is due again when somebody looks next."""
        setattr(self, _TIMES[why], 0.0)

    def interrupt(self, why: str) -> None:
        """Set an exception in its thread, or at a better moment; from another one."""
        with _setting:
            before, self.cut = self.cut, why
            # In this order, and in the other one in ``leave``: whoever comes second sees what the first one did.
            if not self.open:
                self.cut = before
            elif _is_locking(self.thread):
                self.cut = before
                self._postpone(why)
            else:
                _set(self.thread, SoftTimeout if why == SOFT else Interrupt)

    def cancel(self, why: str) -> None:
        """Cancel its coroutine; in its event loop."""
        if not self.open or self.task is None:
            return
        if why == SOFT:
            if self.steered is None:  # the scope of a framework is still being entered
                self._postpone(why)
                return
            self.steered.error = SoftTimeout()
        self.cut = why
        self.task.cancel()

    def leave(self) -> None:
        """The attempt is over: from here on nothing is set, and what was set and has not arrived never does."""
        while True:
            try:
                self.open = False
                if self.cut and self.thread:
                    with _setting:
                        _set(self.thread, None)
                return
            except (Interrupt, SoftTimeout):
                continue  # it arrived on the way out


def _is_locking(thread: int) -> bool:
    """Whether it takes a lock of ``logging`` or gives one back; an exception in there would leave it held for ever."""
    frame = sys._current_frames().get(thread)
    return frame is not None and frame.f_globals is vars(logging) and frame.f_code.co_name in _LOCKING


def _set(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)


class Steered:
    """Awaits a coroutine; a cancellation becomes ``error`` in it, where that is set."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.error: BaseException | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.coroutine.__await__()
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                awaited = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            value, error = None, None
            try:
                value = yield awaited
            except asyncio.CancelledError as cancelled:
                error, self.error = self.error or cancelled, None
                task = asyncio.current_task()
                if error is not cancelled and task is not None:
                    task.uncancel()
            except BaseException as thrown:  # noqa: BLE001  whatever it is, it is the coroutine's
                error = thrown


def released(run: Run, worker: str) -> Iterator[tuple[bytes, bytes]]:
    """What is remembered of an attempt that is given back, by the token of each of its jobs."""
    for job in run.job.all:
        lease, started_ms = job.claim.lease, int(run.at * 1000)
        ended_ms, said = time.time_ns() // 1_000_000, run.current.progress
        attempt = Attempt(lease.attempt, started_ms, ended_ms, worker, os.getpid(), "released", None, said)
        yield lease.token, outcome.encode(attempt)


def left_programs(since: float) -> bool:
    """Whether a program that was started after ``since`` (monotonic seconds) still runs in this process's group.

    Of several attempts at once nobody can tell which one has started it. Where there is no ``/proc``: False.
    """
    began = time.clock_gettime(time.CLOCK_BOOTTIME) - (time.monotonic() - since) if os.path.isdir("/proc/self") else 0.0
    group, tick = os.getpgrp(), os.sysconf("SC_CLK_TCK")
    for name in os.listdir("/proc") if began else ():
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX" and int(fields[2]) == group and (int(fields[19]) + 1) / tick >= began:
                return True
    return False
