"""The nine words for where a job is, and which of them are final."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is. The last four never change again, except by a recorded requeue."""

    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """True once the job has ended."""
        return self in TERMINAL


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})

#: A tombstone opens with one letter; the scripts write and compare the same ones.
#: ``S``: it succeeded, and its result is not kept, because nobody wanted it to be or somebody has taken it.
#: ``r`` and ``w`` are no ends: they are how a settle says that the job comes back, after a failure or because it wants
#: to wait.
LETTER = {
    JobState.SUCCEEDED: "s",
    JobState.FAILED: "f",
    JobState.CANCELLED: "c",
    JobState.EXPIRED: "e",
    JobState.RETRYING: "r",
    JobState.SCHEDULED: "w",
}
BY_LETTER = {letter.encode(): state for state, letter in LETTER.items()} | {b"S": JobState.SUCCEEDED}
