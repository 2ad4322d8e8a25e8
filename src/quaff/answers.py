"""What a job that has ended has to say: its value, or the exception that stands for another end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quaff.errors import JobCancelled, JobExpired, JobFailed, ResultDropped, ResultExpired
from quaff.model import outcome
from quaff.model.states import JobState
from quaff.store.queries import Found


def answer(id: str, found: Found, decode: Callable[[str, bytes], Any]) -> Any:
    """The value; ``decode``: its task, and its bytes -> the value.

    Raises:
        JobFailed, JobCancelled, JobExpired, ResultExpired (ResultDropped)
    """
    if found.state is JobState.EXPIRED:
        raise JobExpired(f"job {id} expired: no worker came to it in time (expires=).", id)
    if found.state is JobState.CANCELLED:
        kept = outcome.decode(found.record).attempt.error if found.record else None
        raise JobCancelled(id, kept.message if kept else "")
    if found.dropped:
        raise ResultDropped(f"job {id} succeeded; its result is not kept (result_ttl=0), or somebody took it.", id)
    if not found.record:
        raise ResultExpired(f"job {id} ended as {found.state}; its result is kept no longer (RESULT_TTL).", id)
    record = outcome.decode(found.record)
    error = record.attempt.error
    if error is not None:
        raise JobFailed(id, error.reason, error.type, error.message, error.traceback)
    return decode(record.task, bytes(record.value))
