"""One attempt, from a message to an outcome. No I/O here: the completer settles what comes out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from quaff.app import Quaff
from quaff.context import Attempt as Current
from quaff.context import enter, leave
from quaff.errors import EncodeError
from quaff.model import message, outcome
from quaff.model.ids import JobId
from quaff.model.message import CorruptMessage, Message, NewerMessage
from quaff.model.outcome import Attempt, Failure, Outcome, Settled
from quaff.model.states import JobState
from quaff.store.keys import Partition
from quaff.store.transitions import Lease
from quaff.task import Task

log = logging.getLogger("quaff.worker")


class Claim(msgspec.Struct, frozen=True):
    """A leased job in this process: ``place`` is its partition's place in the worker's list."""

    place: int
    partition: Partition
    lease: Lease

    @property
    def id(self) -> str:
        """The job's id in text form."""
        return str(JobId(self.partition.queue, self.partition.number, self.lease.id))


class Ready(msgspec.Struct, frozen=True):
    """A claim whose message was understood."""

    claim: Claim
    task: Task[Any, Any, Any]
    message: Message


class Parked(msgspec.Struct, frozen=True):
    """A claim that nobody here can run: give it back, for a worker that can.

    ``why`` is for the log; ``created_ms`` is 0 where nothing tells.
    """

    claim: Claim
    why: str
    created_ms: int = 0


class Finished(msgspec.Struct, frozen=True):
    """An attempt that ended; ``seconds`` it ran."""

    claim: Claim
    settled: Settled
    seconds: float


class Executor:
    """Runs attempts.

    Args:
        app: the application.
        worker: this worker's name, kept with each attempt.
        stopping: empty until the worker is stopping; ``current_job.should_stop`` looks at it.
    """

    def __init__(self, app: Quaff, worker: str, stopping: list[bool]) -> None:
        self._app = app
        self._settings = app.settings
        self._worker = worker
        self._pid = os.getpid()
        self._talks = log.isEnabledFor(logging.DEBUG)  # asked once: it is a question for each job
        self._stopping = stopping
        self._result_ms = int(app.settings.result_ttl * 1000)
        self._failed_ms = int(app.settings.failed_ttl * 1000)

    def prepare(self, claim: Claim) -> Ready | Parked | Finished:
        """Understand a claim's message; what cannot be run is parked or ended here."""
        try:
            sent = message.decode(claim.lease.message)
        except CorruptMessage as error:
            return self._ended(claim, "", 0, Failure("corrupt", type(error).__name__, str(error)), time.time())
        except NewerMessage as error:
            return Parked(claim, str(error))
        task = self._app.tasks.get(sent.task)
        if task is None:
            return Parked(claim, f"task {sent.task!r} is not registered in this worker", sent.created_ms)
        return Ready(claim, task, sent)

    def run(self, ready: Ready) -> Finished:
        """Run a plain function, here."""
        began = time.time()
        try:
            args, kwargs = ready.task.signature.unbind(ready.message.args, ready.message.kwargs)
        except BaseException as error:  # noqa: BLE001  a class of the user's was to be made, and may raise anything
            return self._failed(ready, error, began, "undeliverable")
        token = enter(self._current(ready))
        try:
            with self._app.attempt_scope():
                value = ready.task.fn(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  SystemExit or KeyboardInterrupt of a task ends the task, not the worker
            return self._failed(ready, error, began)
        finally:
            leave(token)
        return self._succeeded(ready, value, began)

    async def arun(self, ready: Ready) -> Finished:
        """Await a coroutine function."""
        began = time.time()
        try:
            args, kwargs = ready.task.signature.unbind(ready.message.args, ready.message.kwargs)
        except BaseException as error:  # noqa: BLE001  as in run
            return self._failed(ready, error, began, "undeliverable")
        token = enter(self._current(ready))
        try:
            with self._app.attempt_scope():
                coroutine: Callable[..., Awaitable[Any]] = ready.task.fn
                value = await coroutine(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  as in run
            return self._failed(ready, error, began)
        finally:
            leave(token)
        return self._succeeded(ready, value, began)

    def _current(self, ready: Ready) -> Current:
        claim = ready.claim
        home, lease = claim.partition, claim.lease
        return Current(home.queue, home.number, lease.id, ready.task.name, lease.attempt, self._stopping)

    def _succeeded(self, ready: Ready, value: Any, began: float) -> Finished:
        try:
            data = ready.task.signature.encode_result(value) if value is not None else b"\xc0"
        except EncodeError as error:
            text = (
                f"the result of {ready.task.name} cannot be stored: {error.args[0]}. "
                "Return plain data (numbers, text, bytes, dates, lists, dicts), or store it and return its id."
            )
            return self._failed(ready, EncodeError(text), began)
        except BaseException as error:  # noqa: BLE001  code of the result's own class, which may raise anything
            return self._failed(ready, error, began)
        if len(data) > self._settings.max_result:
            text = (
                f"the result of {ready.task.name} is {len(data):,} bytes, the limit is {self._settings.max_result:,} "
                "(MAX_RESULT). Store it and return its id or path."
            )
            return self._failed(ready, EncodeError(text), began)
        settings = ready.task.settings
        ttl = settings.result_ttl if value is not None or settings.keep_none else 0
        ended = time.time()
        attempt = self._attempt(ready.claim, began, ended, "succeeded", None)
        record = outcome.encode(Outcome(ready.task.name, ready.message.created_ms, attempt, msgspec.Raw(data)))
        ttl_ms = self._result_ms if ttl is None else int(ttl * 1000)
        if self._talks:
            log.debug("%s %s succeeded in %.3f s", ready.claim.id, ready.task.name, ended - began)
        return Finished(ready.claim, Settled(JobState.SUCCEEDED, ttl_ms, record), ended - began)

    def _failed(self, ready: Ready, error: BaseException, began: float, reason: str = "error") -> Finished:
        failure = outcome.failure_of(error, reason, frames=1)
        text = f"{failure.type}: {first_line(failure.message)}"
        pause = None if reason != "error" else self._pause(ready, error)
        if pause is None:
            log.warning("%s %s failed: %s", ready.claim.id, ready.task.name, text)
            self._show(failure)
            return self._ended(ready.claim, ready.task.name, ready.message.created_ms, failure, began)
        log.info("%s %s is tried again in %.1f s: %s", ready.claim.id, ready.task.name, pause, text)
        self._show(failure)
        ended = time.time()
        record = outcome.encode(self._attempt(ready.claim, began, ended, "failed", failure))
        # At least a millisecond: a task that asks to run again at once must not keep the others from running.
        settled = Settled(JobState.RETRYING, max(1, int(pause * 1000)), record)
        return Finished(ready.claim, settled, ended - began)

    def _show(self, failure: Failure) -> None:
        if self._talks:
            log.debug("%s", "\n".join(map(printable, failure.traceback.splitlines())))

    @staticmethod
    def _pause(ready: Ready, error: BaseException) -> float | None:
        """Seconds until the next attempt; None if this was the last one."""
        try:
            return ready.task.settings.retry.pause(ready.claim.lease.failures + 1, error)
        except BaseException as second:  # noqa: BLE001  the backoff is the user's code, too
            log.error("%s: its backoff raised %s: %s", ready.task.name, type(second).__name__, second)
            return None

    def _ended(self, claim: Claim, task: str, created_ms: int, failure: Failure, began: float) -> Finished:
        ended = time.time()
        attempt = self._attempt(claim, began, ended, "failed", failure)
        record = outcome.encode(Outcome(task, created_ms, attempt))
        return Finished(claim, Settled(JobState.FAILED, self._failed_ms, record), ended - began)

    def _attempt(self, claim: Claim, began: float, ended: float, word: str, error: Failure | None) -> Attempt:
        return Attempt(claim.lease.attempt, int(began * 1000), int(ended * 1000), self._worker, self._pid, word, error)


def first_line(text: str, limit: int = 200) -> str:
    """The beginning of a text as one printable line, so that one record is one line of the log."""
    return printable(text.splitlines()[0][:limit]) if text.strip() else ""


def printable(line: str) -> str:
    """A line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
