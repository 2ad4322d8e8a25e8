"""Job[R]: the handle of one enqueued call. It holds an id and asks the server each time; it never caches a state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from quaff.config import Settings
from quaff.errors import (
    ConfigurationError,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
)
from quaff.model import codec, ids, message, outcome
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.placement import PRIORITIES
from quaff.model.states import JobState
from quaff.store.client import Store
from quaff.store.keys import partition
from quaff.store.queries import Found, lookup
from quaff.store.transitions import Call, cancel, discard, prioritize, requeue

R = TypeVar("R")

#: Seconds between two looks at a job that has not ended: short at first, because most jobs are.
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1


class AttemptInfo(msgspec.Struct, frozen=True):
    """One run of a job; times are aware UTC datetimes. ``outcome``: ``running succeeded failed crashed lapsed
    cancelled snoozed released`` (given back at no cost)."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    worker: str
    pid: int
    outcome: str
    error: Failure | None


class JobInfo(msgspec.Struct, frozen=True):
    """Everything the server knows of one job; times are aware UTC datetimes.

    ``scheduled_for`` is when it is due, for a job that is scheduled or retrying;
    ``parked`` is True for a job that waits because no worker that saw it knows its task.
    """

    id: str
    key: str | None
    task: str | None
    queue: str
    state: JobState
    parked: bool
    created_at: datetime | None
    scheduled_for: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    attempts: list[AttemptInfo]
    error: Failure | None


class Job(Generic[R]):
    """The handle of one job; making one costs no I/O.

    Args:
        store: the server.
        settings: the application's.
        id: where the job lives.
        key: ``<queue>/<task>/<key>`` for a job with ``key=``.
        decode: bytes of a value -> the value.
        existing: True if ``delay`` found a job with its ``key=`` there already; also where a reply was lost and the job
            found by the second try may be the one that the first has made.
        fresh: it was put in line by the call that makes this handle.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        id: JobId,
        *,
        key: str | None = None,
        decode: Callable[[str, bytes], Any] | None = None,
        existing: bool = False,
        fresh: bool = False,
    ) -> None:
        self._store = store
        self._settings = settings
        self._home = partition(settings.namespace, id.queue, id.partition)
        self._id = id
        self._decode = decode or (lambda task, data: codec.unpack(data))
        self.key = key
        self.existing = existing
        self._fresh = fresh

    @property
    def id(self) -> str:
        """The job's id: ``quaff.job(id)`` makes the handle again anywhere."""
        return str(self._id)

    @property
    def queue(self) -> str:
        """The queue it was sent to."""
        return self._id.queue

    @property
    def state(self) -> JobState:
        """Where the job is now, asked of the server each time.

        Raises:
            JobNotFound, ServerUnavailable
        """
        return self._state(self._look())

    def state_at_hand(self) -> JobState:
        """``queued``, once, for a job straight from ``delay``, with no question to the server; else as ``state``."""
        if not self._fresh:
            return self.state
        self._fresh = False
        return JobState.QUEUED

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end and give the value.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            ResultTimeout, JobFailed, JobCancelled, JobExpired, ResultExpired, JobNotFound, ServerUnavailable
        """
        until, pause = _until(timeout), _FIRST_LOOK
        while True:
            found = self._look()
            if self._state(found).terminal:
                return self._value(found)
            pause = self._next(pause, until, timeout)
            time.sleep(pause)

    async def aresult(self, timeout: float | None = None) -> R:
        """As ``result``, in a coroutine."""
        until, pause = _until(timeout), _FIRST_LOOK
        while True:
            found = await self._store.aio.run(self._call())
            if self._state(found).terminal:
                return self._value(found)
            pause = self._next(pause, until, timeout)
            await asyncio.sleep(pause)

    def cancel(self, reason: str = "") -> bool:
        """Call the job off: one that waits never starts, one that runs is asked to end and does not come back.

        A coroutine is cancelled at once. A function can look at ``current_job.should_stop``; after some seconds it is
        interrupted, and after GRACE its process is replaced. Works with no worker about; asking again changes nothing.

        Args:
            reason: kept with the job.

        Returns:
            True if it is cancelled or was asked to end; False if it has ended otherwise.

        Raises:
            JobNotFound, ServerUnavailable
        """
        record = outcome.cancelled(reason)
        ttl_ms, window_ms = int(self._settings.result_ttl * 1000), int(self._settings.key_window * 1000)
        raw = [self._id.raw]
        self._fresh = False
        (answer,) = self._store.run(cancel(self._home, outcome=record, ttl_ms=ttl_ms, window_ms=window_ms, ids=raw))
        if not answer:
            raise self._not_found()
        return answer in (b"c", b"r")

    def prioritize(self, priority: int) -> bool:
        """Give the job another priority, from -100 to 100; one that waits in line goes to its new place.

        Returns:
            False if it has ended.

        Raises:
            ConfigurationError, ServerUnavailable
        """
        if type(priority) is not int or priority not in PRIORITIES:
            raise ConfigurationError(f"prioritize({priority!r}): give a whole number from -100 to 100.")
        return self._store.run(prioritize(self._home, priority, [self._id.raw])) == [1]

    def requeue(self) -> bool:
        """Send a job that failed back to its queue; its attempts are counted anew, those before are remembered.

        Returns:
            True if it is on its way (again); False if it has ended otherwise, was discarded, or another job holds its
            unique key now.

        Raises:
            JobNotFound, ServerUnavailable
        """
        (answer,) = self._store.run(requeue(self._home, [self._id.raw]))
        if not answer:
            raise self._not_found()
        return answer in (b"q", b"n")

    def discard(self) -> bool:
        """Delete what is kept of a job that failed. It stays ``failed`` until its id is forgotten.

        Returns:
            False if it is not one that failed.

        Raises:
            ServerUnavailable
        """
        return self._store.run(discard(self._home, [self._id.raw])) != [0]

    def info(self) -> JobInfo:
        """All that is known of the job.

        Raises:
            JobNotFound, ServerUnavailable
        """
        found = self._look(all=True)
        state = self._state(found)
        record = outcome.decode(found.record) if found.record else None
        attempts = [_attempt_info(attempt) for attempt in outcome.decode_history(found.history)]
        if found.attempt:
            attempts.append(AttemptInfo(found.attempt, None, None, "", 0, "running", None))
        last = record.attempt if record else None
        if last and last.number:
            attempts.append(_attempt_info(last))
        task, created = _origin(found, record)
        return JobInfo(
            id=self.id,
            key=self.key,
            task=task,
            queue=self.queue,
            state=state,
            parked=found.parked,
            created_at=_instant(ids.created_ms(self._id.raw) or created),
            scheduled_for=_instant(found.due_ms),
            started_at=attempts[0].started_at if attempts else None,
            ended_at=_instant(last.ended_ms) if last else None,
            attempts=attempts,
            error=last.error if last else None,
        )

    def _call(self, all: bool = False) -> Call[Found]:
        self._fresh = False
        return lookup(self._home, self._id.raw, all=all)

    def _look(self, all: bool = False) -> Found:
        return self._store.run(self._call(all))

    def _state(self, found: Found) -> JobState:
        if found.state is None:
            raise self._not_found()
        return found.state

    def _not_found(self) -> JobNotFound:
        return JobNotFound(
            f"job {self.id} is not known: it never was, its quaff.batch() block has not ended, or its record and "
            "tombstone are gone.",
            self.id,
        )

    def _next(self, pause: float, until: float, timeout: float | None) -> float:
        left = until - time.monotonic()
        if left <= 0:
            raise ResultTimeout(f"job {self.id} had not ended after {timeout:g} s; it goes on.", self.id)
        return min(pause * 1.5, _LAST_LOOK, left)

    def _value(self, found: Found) -> R:
        if found.state is JobState.EXPIRED:
            raise JobExpired(f"job {self.id} expired: no worker came to it in time (expires=).", self.id)
        if found.state is JobState.CANCELLED:
            kept = outcome.decode(found.record).attempt.error if found.record else None
            raise JobCancelled(self.id, kept.message if kept else "")
        if not found.record:
            raise ResultExpired(
                f"job {self.id} ended as {found.state}; its result is kept no longer (RESULT_TTL).", self.id
            )
        record = outcome.decode(found.record)
        error = record.attempt.error
        if error is not None:
            raise JobFailed(self.id, error.reason, error.type, error.message, error.traceback)
        value: R = self._decode(record.task, bytes(record.value))
        return value

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other._id == self._id and other._home is self._home

    def __hash__(self) -> int:
        return hash(self._id)


def _until(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _instant(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def _attempt_info(attempt: Attempt) -> AttemptInfo:
    return AttemptInfo(
        attempt.number,
        _instant(attempt.started_ms),
        _instant(attempt.ended_ms),
        attempt.worker,
        attempt.pid,
        attempt.outcome,
        attempt.error,
    )


def _origin(found: Found, record: Outcome | None) -> tuple[str | None, int]:
    """The task's name and, for a job with ``key=``, the time it was created, from whatever is still kept."""
    if record and record.task:
        return record.task, record.created_ms
    try:
        sent = message.decode(found.message) if found.message else None
    except (message.CorruptMessage, message.NewerMessage):
        sent = None
    return (sent.task, sent.created_ms) if sent else (None, 0)
