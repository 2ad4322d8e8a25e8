"""What a test expects of the jobs of an application: which were sent, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from quaff.app import Quaff
from quaff.job import Job
from quaff.model import ids
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.task import Task
from quaff.testing.looking import Enqueued, Wanted, enqueued
from quaff.testing.store import Seen
from quaff.testing.worker import Worker

#: Seconds between two looks.
_EVERY = 0.01


class Expecting:
    """The part of a kit that looks.

    Args:
        app: the application.
        worker: runs its jobs.
        seen: the partitions of its queues.
    """

    def __init__(self, app: Quaff, worker: Worker, seen: Seen) -> None:
        self.app = app
        self._worker = worker
        self._seen = seen
        self._performed: set[JobId] = set()

    def enqueued(
        self,
        task: Task[Any, Any, Any] | str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
    ) -> list[Job[Any]]:
        """The jobs that wait, or have been run here, and fit.

        Args:
            task: a task, or its name; None: any.
            args, kwargs: those arguments that count, as in a call; others may be anything.
            queue: where they were sent; None: anywhere.

        Raises:
            TypeError: no call of the task could have these arguments; UnknownTask
        """
        wanted = Wanted(self.app, task, args, kwargs, queue)
        return [self.app.job(str(each.id)) for each in self._enqueued() if wanted.fits(each)]

    def assert_enqueued(
        self,
        task: Task[Any, Any, Any] | str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        within: float = 0,
        count: int | None = None,
    ) -> Job[Any]:
        """Fail unless such a job was enqueued; the first of them.

        Args:
            within: seconds in which it may still come, from another thread or process.
            count: how many there have to be; None: one or more. The others as of ``enqueued``.
        """
        __tracebackhide__ = True
        until = time.monotonic() + within
        while True:
            found = self.enqueued(task, args=args, kwargs=kwargs, queue=queue)
            if found and count in (None, len(found)):
                return found[0]
            if time.monotonic() >= until:
                break
            time.sleep(_EVERY)
        wanted = Wanted(self.app, task, args, kwargs, queue)
        there = "".join(f"\n  {each}" for each in self._enqueued()) or " nothing"
        much = f"{len(found)} times" if count is not None else "not"
        of = f", and {count} were expected" if count is not None else ""
        raise AssertionError(f"{wanted} was {much} enqueued{of}. What was enqueued:{there}")

    def refute_enqueued(
        self,
        task: Task[Any, Any, Any] | str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
    ) -> None:
        """Fail if such a job was enqueued; arguments as of ``enqueued``."""
        __tracebackhide__ = True
        wanted = Wanted(self.app, task, args, kwargs, queue)
        if found := [each for each in self._enqueued() if wanted.fits(each)]:
            raise AssertionError("was enqueued:" + "".join(f"\n  {each}" for each in found))

    def states(self, job: Job[Any]) -> list[JobState]:
        """The states that a job has been in since it first ran here, the present one last."""
        home = ids.parse(job.id)
        before = self._worker.history.get(home, []) if home else []
        now = job.state
        return [*before, now] if before[-1:] != [now] else list(before)

    def wait_for(self, job: Job[Any], state: JobState | str = JobState.SUCCEEDED, timeout: float = 5) -> Job[Any]:
        """Wait until a job is in a state, or has been: for what runs within ``working()``.

        Raises:
            AssertionError: it has ended otherwise, or time is up.
        """
        __tracebackhide__ = True
        wanted, until = JobState(state), time.monotonic() + timeout
        while wanted not in (states := self.states(job)):
            if states[-1].terminal:
                info = job.info()
                raise AssertionError(f"{job} was to be {wanted}, and is {states[-1]}: {info.error or 'no error'}")
            if time.monotonic() >= until:
                hint = "" if len(states) > 1 else " Does anything run it: run_all(), working()?"
                raise AssertionError(f"{job} was not {wanted} within {timeout:g} s, and is {states[-1]}.{hint}")
            time.sleep(_EVERY)
        return job

    def _enqueued(self) -> list[Enqueued]:
        started = {id: sent for id, sent in self._worker.known.items() if id not in self._performed}
        return [each for each in enqueued(self.app, self._seen, started) if each.id not in self._performed]
