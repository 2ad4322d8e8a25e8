"""Inspector: reads and operates an application's queues, for commands and screens. Workers do without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from quaff.errors import ConfigurationError, JobNotFound
from quaff.info import info_of
from quaff.inspector import counted
from quaff.inspector.bulk import MOST, Action, Bulk, Matching
from quaff.inspector.counted import Counted, Surveyed
from quaff.inspector.errands import Errands
from quaff.inspector.homes import Application, Homes
from quaff.inspector.letters import DeadLetter, Letters
from quaff.inspector.listing import Listing, arguments_of, read_message
from quaff.inspector.shapes import (
    Bucket,
    FailureGroup,
    JobDetail,
    JobPage,
    JobRow,
    JobStack,
    Overview,
    QueueRow,
    TaskRow,
    WorkerRow,
)
from quaff.job import Job, found_of
from quaff.model import ids
from quaff.model.filters import Filter, parse
from quaff.queues import Change, Queue, QueueStats, stats_of
from quaff.stepwise import Step
from quaff.store.keys import Partition

#: Minutes, and kinds of failures, on the first screen.
_MINUTES, _LATEST = 60, 5


class Inspector:
    """Looks into the queues of one application. Every method raises ServerUnavailable where no server answers.

    Args:
        quaff: the application's ``Quaff``.
        queues: look into these alone; None: into those that its tasks name.
    """

    def __init__(self, quaff: Application, queues: Sequence[str] | None = None) -> None:
        self._homes = Homes(quaff, queues)
        self._counted = Counted(self._homes)
        self._listing = Listing(self._homes, self._began)
        self._bulk = Bulk(self._homes, self._listing, self._named)
        self._letters = Letters(self._homes)
        self._errands = Errands(self._homes)

    # Queues and workers

    def overview(self) -> Overview:
        """Queues, the last hour by the minute, the workers and the latest failures; one round trip."""
        seen = self._counted.survey(_MINUTES, _LATEST)
        return Overview(
            queues=_queue_rows(seen),
            throughput=counted.together(seen.minutes.values()),
            workers=seen.workers,
            failures=seen.failures,
        )

    def queues(self) -> list[QueueRow]:
        """Each queue: where its jobs are, what it did in the last hour, and who serves it."""
        return _queue_rows(self._counted.survey(_MINUTES, 0))

    @property
    def queue_names(self) -> Sequence[str]:
        """The queues that it looks into."""
        return self._homes.queues

    @property
    def homes(self) -> list[Partition]:
        """All of their partitions."""
        return self._homes.of()

    def stats(self) -> dict[str, QueueStats]:
        """How many jobs of each queue are where, and no more than that."""
        return stats_of(self._homes.store, self.homes)

    def workers(self) -> list[WorkerRow]:
        """The workers that serve these queues, each as it said of itself some seconds ago."""
        return self._counted.workers()

    def changes(self, most: int = 100) -> list[Change]:
        """What was changed by hand in these queues, the newest first."""
        store, settings, tasks = self._homes.store, self._homes.settings, self._homes.tasks
        found = [change for name in self._homes.queues for change in Queue(store, settings, name, tasks).changes(most)]
        return sorted(found, key=lambda change: change.at, reverse=True)[:most]

    # What was counted

    def series(
        self, *, queue: str | None = None, task: str = "", minutes: int | None = None, hours: int | None = None
    ) -> list[Bucket]:
        """What was counted minute by minute (kept for a day) or hour by hour (for fourteen), the oldest first.

        Of a single task, where a partition has more than 34 (or 148) of them, minutes (or hours) are kept for a shorter
        time, an hour (or a day) at least; what was kept no longer is none.

        Args:
            queue: of this one; None: of all together.
            task: of this task; empty: of all together.
            minutes, hours: so many, with the present one; one of the two. 60 minutes by default.

        Raises:
            ConfigurationError
        """
        if minutes is not None and hours is not None:
            raise ConfigurationError("series(minutes=, hours=): give one of them.")
        count = hours if hours is not None else _MINUTES if minutes is None else minutes
        if not 1 <= count <= 1440:
            raise ConfigurationError(f"series(): {count} is too many or too few; give 1 to 1440.")
        names = self._homes.queues if queue is None else [queue]
        return counted.together(self._counted.buckets(names, "m" if hours is None else "h", task, count).values())

    def tasks(self, by: str = "name") -> list[TaskRow]:
        """Every task of which an attempt has ended in the last fourteen days.

        Args:
            by: ``name``; or with the most first ``failures`` (their rate), ``slowest`` and ``waits`` (95 % took no
                longer), ``time`` (in all), ``memory`` (95 % took no more), ``size`` (of a job on the server) or
                ``bytes`` (of all jobs there).

        Raises:
            ConfigurationError: another word.
        """
        return self._counted.tasks(by)

    def failures(self, *, queue: str | None = None, task: str | None = None) -> list[FailureGroup]:
        """Failed attempts by task, exception and place in the code, the last first; five hundred a queue are kept."""
        return self._counted.failures(queue, task)

    # Jobs

    def jobs(self, wanted: Filter | str = "", *, limit: int = 50, cursor: str | None = None) -> JobPage:
        """A page of jobs.

        By state: those that run; wait, in the order of the line; are due, the next one first; were given up, are
        cancelled or expired, or have succeeded, the newest first. Of what was called off, and of what has succeeded, a
        thousand each are kept. Within a state by queue. Jobs that wait for others are counted, not listed.

        Args:
            wanted: a filter, or its text (``quaff.model.filters``).
            limit: jobs in one page, up to 500.
            cursor: of the page before.

        Raises:
            ConfigurationError: the filter or the cursor is none.
        """
        if not 1 <= limit <= 500:
            raise ConfigurationError(f"jobs(limit={limit}): give 1 to 500.")
        chosen = parse(wanted) if isinstance(wanted, str) else wanted
        if chosen.ids:
            rows = self._named(chosen)
            return JobPage(rows[:limit], None, len(set(chosen.ids)))
        return self._listing.page(chosen, limit, cursor)

    def job(self, id: str) -> JobDetail:
        """All that is known of one job. Raises JobNotFound."""
        place = ids.parse(id)
        if place is None:
            raise JobNotFound(f"{id[:80]!r} is no job's id.", id)
        found = found_of(Job(self._homes.store, self._homes.settings, place), all=True)
        if found.state is None:
            raise JobNotFound(f"job {id} is not known: it never was, or what was kept of it is gone.", id)
        info = info_of(place, None, found.state, found, self._homes.settings)
        return JobDetail(info, arguments_of(self._homes, read_message(self._homes, place, found.message)))

    def _named(self, wanted: Filter) -> list[JobRow]:
        rows: list[JobRow] = []
        for id in dict.fromkeys(wanted.ids):
            try:
                row = _row_of(self.job(id))
            except JobNotFound:
                continue
            error = f"{row.error or ''} {row.reason or ''}"
            meant = not wanted.states or row.state in wanted.states
            if meant and wanted.has_queue(row.queue) and wanted.has(row.task, id, error, row.message or "", row.at):
                rows.append(row)
        return rows

    def _began(self, queue: str) -> Mapping[str, datetime]:
        return {job.id: job.started_at for worker in self._counted.workers(queue) for job in worker.jobs}

    # Steering

    def matching(self, action: Action, wanted: Filter | str, *, most: int = MOST) -> Matching:
        """Ids of the jobs that an action would touch: count them before you act.

        Args:
            action: ``retry`` or ``discard`` what has failed, ``cancel`` what waits or runs.
            wanted: a filter, or its text.
            most: no more than these.

        Raises:
            ConfigurationError: the filter is none, or names a state in which that cannot be done.
        """
        return self._bulk.matching(action, parse(wanted) if isinstance(wanted, str) else wanted, most)

    def act(self, action: Action, jobs: Sequence[str], *, reason: str = "") -> Iterator[Step]:
        """Do it to these jobs, thirty at a time; nothing is done before the first step is taken.

        Args:
            action: as of ``matching``.
            jobs: their ids.
            reason: why they are cancelled; kept with them.

        Raises:
            ConfigurationError: one is no id.
        """
        return self._bulk.act(action, jobs, reason)

    # Workers

    def drain(self, worker: WorkerRow) -> bool:
        """Ask a worker to claim nothing more and to end when its running jobs have, however long they take. It hears of
        it at once, or within seconds; in the list of changes.

        Args:
            worker: one of ``workers()``.

        Returns:
            False if it has not been heard of lately.
        """
        return self._errands.drain(worker)

    def ask_stack(self, id: str) -> bool:
        """Ask the worker that runs a job where it is in its code; False if the job does not run. It is in the list of
        changes. Raises ConfigurationError: that is no id."""
        return self._errands.ask_stack(id)

    def stack(self, id: str, *, timeout: float = 0.0) -> JobStack | None:
        """What came of ``ask_stack``, kept for five minutes while the job runs and after; None: nothing (yet).

        Args:
            id: the job's.
            timeout: seconds to wait for an answer that was asked for.

        Raises:
            ConfigurationError: that is no id.
        """
        return self._errands.stack(id, timeout)

    # Dead letters

    def failed(
        self, *, queue: str | None = None, task: str | None = None, error: str | None = None
    ) -> Iterator[DeadLetter]:
        """Dead letters, the newest of each queue first; read from the server a page at a time.

        Args:
            queue: of this one; None: of every queue that the application's tasks name.
            task: of this task.
            error: with this reason or exception class.
        """
        return self._letters.failed(queue, task, error)

    def requeue_failed(self, *, queue: str | None = None, task: str | None = None, error: str | None = None) -> int:
        """Send back those that ``failed`` would give, thirty at a time; how many. Errors as there."""
        return self._to_failed("retry", queue, task, error)

    def discard_failed(self, *, queue: str | None = None, task: str | None = None, error: str | None = None) -> int:
        """Delete those that ``failed`` would give, thirty at a time; how many. Errors as there."""
        return self._to_failed("discard", queue, task, error)

    def _to_failed(self, action: Action, queue: str | None, task: str | None, error: str | None) -> int:
        # All are read before the first is touched: what fails again meanwhile is not met twice.
        chosen = [letter.id for letter in self._letters.failed(queue, task, error)]
        return max((step.done for step in self._bulk.act(action, chosen, "")), default=0)


def _queue_rows(seen: Surveyed) -> list[QueueRow]:
    return [
        QueueRow(
            name=name,
            stats=numbers,
            recent=counted.total(seen.minutes[name]),
            ended=[each.counts.ended for each in seen.minutes[name]],
            workers=sum(name in worker.queues for worker in seen.workers),
        )
        for name, numbers in seen.stats.items()
    ]


def _row_of(detail: JobDetail) -> JobRow:
    info = detail.info
    last = info.attempts[-1] if info.attempts else None
    started = last.started_at if last else None
    seconds = (last.ended_at - last.started_at).total_seconds() if last and last.ended_at and last.started_at else None
    return JobRow(
        id=info.id,
        queue=info.queue,
        task=info.task,
        state=info.state,
        parked=info.parked,
        at=info.ended_at or info.scheduled_for or started or info.created_at,
        created_at=info.created_at,
        scheduled_for=info.scheduled_for,
        started_at=started,
        ended_at=info.ended_at,
        attempt=last.number if last else 0,
        seconds=seconds,
        reason=info.error.reason if info.error else None,
        error=info.error.type or None if info.error else None,
        message=info.error.message[:300] or None if info.error else None,
        arguments=detail.arguments,
    )
