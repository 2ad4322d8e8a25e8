"""What a job that has ended has to say: its value, or the exception that stands for another end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from quaff.config import Settings
from quaff.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    ResultCorrupt,
    ResultDropped,
    ResultExpired,
    ResultTimeout,
)
from quaff.model import codec, outcome, stored, value
from quaff.model.ids import JobId
from quaff.model.outcome import Outcome
from quaff.model.states import JobState
from quaff.results import ResultStore, fetch
from quaff.store.queries import Found

P = ParamSpec("P")
T = TypeVar("T")


def _unpacked(task: str, data: bytes) -> Any:
    return codec.unpack(data)


class Answers:
    """How an application reads what is kept of its jobs.

    Args:
        decode: a task's name, and bytes of a result -> the value.
        decode_value: the same for a value that a generator yielded.
        results: where large results are.
    """

    def __init__(
        self,
        decode: Callable[[str, bytes], Any] = _unpacked,
        decode_value: Callable[[str, bytes], Any] = _unpacked,
        results: ResultStore | None = None,
    ) -> None:
        self.decode = decode
        self.decode_value = decode_value
        self._results = results

    def value(self, job: JobId, record: Outcome, settings: Settings) -> Any:
        """The value in the record of a job that succeeded. Raises ResultExpired, ResultCorrupt, ConfigurationError."""
        data = bytes(record.value)
        try:
            elsewhere = stored.decode(data)
        except codec.UNREADABLE as error:
            raise _corrupt(job, error) from None
        if elsewhere is not None:
            data = fetch(self._results, elsewhere, str(job))
        try:
            opened = value.unseal(data, settings.seals, settings.namespace, job.queue, job.partition)
            if opened.raw not in (None, job.raw):
                raise ValueError("it is the value of another job")
            return self.decode(record.task, opened.data)
        except codec.UNREADABLE as error:
            raise _corrupt(job, error) from None

    def item(self, job: JobId, task: str, data: bytes) -> Any:
        """A value that a generator yielded. Raises ResultCorrupt."""
        try:
            return self.decode_value(task, data)
        except codec.UNREADABLE as error:
            raise ResultCorrupt(f"a value that job {job} has given cannot be read: {error}.", str(job)) from None

    def far(self, records: Iterable[bytes]) -> bool:
        """Whether a value has to be fetched from the store, so that reading it may take its time."""
        if self._results is None:
            return False
        return any(_elsewhere(outcome.read(each)) is not None for each in records if each)

    def drop(self, record: Outcome) -> None:
        """Delete what the store has of it, unless it belongs to a flow, which may give it to others."""
        elsewhere = _elsewhere(record)
        if elsewhere is not None and self._results is not None and stored.flow_of(elsewhere.name) is None:
            self._results.delete(elsewhere.name)


def _elsewhere(record: Outcome) -> stored.Stored | None:
    return codec.readable(stored.decode, bytes(record.value), None)


def _corrupt(job: JobId, error: Exception) -> ResultCorrupt:
    return ResultCorrupt(f"job {job} succeeded; what is kept of its value cannot be read: {error}.", str(job))


def record_of(id: str, found: Found) -> Outcome:
    """The record of a job that succeeded.

    Raises:
        JobFailed, JobCancelled, JobExpired, ResultExpired (ResultDropped), ResultCorrupt
    """
    if found.state is JobState.EXPIRED:
        raise JobExpired(f"job {id} expired: no worker came to it in time (expires=).", id)
    if found.state is JobState.CANCELLED:
        kept = outcome.read(found.record).attempt.error if found.record else None
        raise JobCancelled(id, kept.message if kept else "")
    if found.dropped:
        raise ResultDropped(f"job {id} succeeded; its result is not kept (result_ttl=0), or somebody took it.", id)
    if not found.record:
        raise ResultExpired(f"job {id} ended as {found.state}; its result is kept no longer (RESULT_TTL).", id)
    record = outcome.read(found.record)
    error = record.attempt.error
    if record is outcome.CORRUPT and found.state is JobState.SUCCEEDED:
        raise ResultCorrupt(f"job {id} succeeded; what is kept of it cannot be read.", id)
    if error is not None:
        raise JobFailed(id, error.reason, error.type, error.message, error.traceback)
    return record


def not_yet(id: JobId, found: Found, timeout: float | None, where: str) -> ResultTimeout:
    """What to raise for a job that had not ended when time was up, so many seconds later; ``where``: its server."""
    how = f"it goes on ({found.state})."
    if found.parked:
        how = "no worker that saw it knows its task (job.info().task); their logs say more."
    elif found.state is JobState.QUEUED:
        how = f"it is still queued at {where}. Is there a worker for queue {id.queue!r} there, with a free slot?"
    return ResultTimeout(f"job {id} had not ended after {timeout:g} s; {how}", str(id))


async def aside(far: bool, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it: in a thread, if it reads from a store, so that the event loop goes on."""
    return await asyncio.to_thread(read, *args, **kwargs) if far else read(*args, **kwargs)
