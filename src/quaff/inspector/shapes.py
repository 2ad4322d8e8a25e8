"""What an inspector gives, as data. Times are aware UTC datetimes, durations seconds, sizes bytes."""

from __future__ import annotations

from datetime import datetime

import msgspec

from quaff.info import JobInfo
from quaff.model.counts import Counts
from quaff.model.states import JobState
from quaff.queues import QueueStats


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job in a list; ``Inspector.job(id)`` has the rest.

    Attributes:
        task: None where its message is large, cannot be read, or is kept no longer.
        parked: it is queued and waits for a worker that knows its task.
        at: what its list is sorted by: when it has ended, is due, has begun or was sent.
        created_at: None for a job with ``key=`` whose message is not at hand.
        scheduled_for: when it is due, of one that waits for its time.
        started_at: of a running one, where its worker has told so already.
        attempt: the number of the running one, or how many there were.
        seconds: how long the last attempt ran; waited: how long the job did before its first one.
        error: the exception's class, or what else it failed by; message: its text, 300 characters at most.
        arguments: in one line, without what is secret; None where the task is not known here or they are large.
    """

    id: str
    queue: str
    task: str | None
    state: JobState
    parked: bool = False
    at: datetime | None = None
    created_at: datetime | None = None
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    seconds: float | None = None
    waited: float | None = None
    reason: str | None = None
    error: str | None = None
    message: str | None = None
    arguments: str | None = None


class JobPage(msgspec.Struct, frozen=True):
    """A page of jobs.

    Attributes:
        jobs: those that match.
        cursor: gives the next page; None at the end. A page may be short, or empty, and there is more all the same,
            where few of many match: a page looks at a thousand jobs.
        looked_at: how many that were.
    """

    jobs: list[JobRow]
    cursor: str | None
    looked_at: int


class JobDetail(msgspec.Struct, frozen=True):
    """One job: all that is known of it, and its arguments as ``JobRow`` has them."""

    info: JobInfo
    arguments: str | None


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue.

    Attributes:
        name: its name.
        stats: where its jobs are, and the exact counters.
        recent: what was counted in the last hour; ended: how many jobs ended in each of its minutes, the oldest first.
        workers: how many serve it.
    """

    name: str
    stats: QueueStats
    recent: Counts
    ended: list[int]
    workers: int


class Bucket(msgspec.Struct, frozen=True):
    """What was counted in one minute or hour that begins then."""

    at: datetime
    counts: Counts


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """One task that has run in the last fourteen days.

    Attributes:
        name: its name; queues: where it ran.
        total: outcomes and times since it is counted; ``Inspector.series(task=...)`` has them by minute and hour.
        last_at: when an attempt of it ended last.
    """

    name: str
    queues: list[str]
    total: Counts
    last_at: datetime


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that failed in the same way: task, exception and place in the code are the same.

    Attributes:
        id: of the group, the same in every process.
        reason: ``error``, ``timeout``, ``corrupt`` or ``undeliverable``; error: the exception's class.
        frame: ``mail.py in send``, the innermost frame of the application's own code; empty where there is none.
        message: the text of the last one, 300 characters at most.
        attempts: how many failed; given_up: how many of their jobs were given up.
        jobs: ids of some of them, the last one first.
    """

    id: str
    queue: str
    task: str | None
    reason: str
    error: str
    frame: str
    message: str
    attempts: int
    given_up: int
    first_at: datetime
    last_at: datetime
    jobs: list[str]


class ProcessRow(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a worker; ``serving``: it claims jobs, or will. ``memory`` is None where that is not known."""

    id: str
    pid: int
    started_at: datetime
    memory: int | None
    running: int
    serving: bool


class RunningRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker runs."""

    id: str
    queue: str
    attempt: int
    pid: int
    started_at: datetime


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One worker, as it said of itself some seconds ago.

    Attributes:
        slots: of each process, in words.
        memory: of all its processes; None where that is not known.
        running: how many jobs; jobs: the hundred that began first.
    """

    id: str
    name: str
    host: str
    pid: int
    version: str
    queues: list[str]
    started_at: datetime
    stopping: bool
    slots: str
    memory: int | None
    running: int
    processes: list[ProcessRow]
    jobs: list[RunningRow]


class JobStack(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running job was in its code.

    Attributes:
        at: when.
        worker, pid: who ran it.
        text: the stacks of its process, its own first: places and lines of code, no values; 32 KiB at most.
    """

    at: datetime
    worker: str
    pid: int
    text: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All on one screen: queues, the last hour by the minute (the oldest first), workers, the five latest failures."""

    queues: list[QueueRow]
    throughput: list[Bucket]
    workers: list[WorkerRow]
    failures: list[FailureGroup]
