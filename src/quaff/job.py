"""Job[R]: the handle of one enqueued call. It holds an id and asks the server each time; it never caches a state."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from quaff.answers import Answers, aside, not_yet, record_of
from quaff.config import Settings
from quaff.durable.sending import Remembering
from quaff.errors import ConfigurationError, ResultTimeout
from quaff.following import Following, unknown
from quaff.info import JobInfo, info_of, task_of
from quaff.model import elsewhere, outcome
from quaff.model.events import Event
from quaff.model.ids import JobId
from quaff.model.message import Where
from quaff.model.outcome import Outcome
from quaff.model.placement import PRIORITIES
from quaff.model.states import JobState
from quaff.store.client import Store
from quaff.store.keys import partition
from quaff.store.queries import Found, at_home, lookup
from quaff.store.transitions import Call, cancel, discard, forget, prioritize
from quaff.streaming import Stream
from quaff.waiting import Place, aended, ataken, ended, taken, until_of

R = TypeVar("R")


class Job(Remembering, Generic[R]):
    """The handle of one job; making one costs no I/O.

    Args:
        store: the server.
        settings: the application's.
        id: where the job lives.
        key: ``<queue>/<task>/<key>`` for a job with ``key=``.
        answers: reads what is kept of it.
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
        answers: Answers | None = None,
        existing: bool = False,
        fresh: bool = False,
    ) -> None:
        self._store = store
        self._settings = settings
        self._home = partition(settings.namespace, id.queue, id.partition)
        self._id = id
        self._answers = answers or Answers()
        self.key = key
        self.existing: bool = existing
        self._fresh = fresh

    if not TYPE_CHECKING:  # where a name that is not there has to stay an error

        def __getattr__(self, name: str) -> Any:
            raise elsewhere.missing(self, name, elsewhere.OF_JOBS)

    @property
    def id(self) -> str:
        """The job's id, of which ``quaff.job(id)`` makes the handle again anywhere."""
        return str(self._id)

    def become(self, other: Job[Any]) -> None:
        """What was sent at the end of a ``batch()`` block came to this job, which may have been there already."""
        self._id, self.existing, self._fresh = other._id, other.existing, other._fresh

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
            ResultTimeout, JobFailed, JobCancelled, JobExpired, ResultExpired (ResultDropped), ResultCorrupt,
            JobNotFound, ServerUnavailable, ConfigurationError (it is large, and this application does not say where
            such are kept)
        """
        return value_of(self, self._end(timeout))

    async def aresult(self, timeout: float | None = None) -> R:
        """As ``result``, in a coroutine."""
        found = await self._aend(timeout)
        return await aside(is_far(self, found), value_of, self, found)

    def take(self, timeout: float | None = None) -> R:
        """As ``result``; the value is then dropped, and who asks again gets ResultDropped."""
        found = self._end(timeout)
        value = value_of(self, found)
        self._store.run(self._forget())
        self._answers.drop(record_of(self.id, found))
        return value

    async def atake(self, timeout: float | None = None) -> R:
        """As ``take``, in a coroutine."""
        found = await self._aend(timeout)
        far = is_far(self, found)
        value = await aside(far, value_of, self, found)
        await self._store.aio.run(self._forget())
        await aside(far, self._answers.drop, record_of(self.id, found))
        return value

    def _end(self, timeout: float | None) -> Found:
        until = until_of(timeout)
        while True:
            # One straight from delay has hardly ended.
            if not self._fresh:
                found = self._look()
                if self._state(found).terminal:
                    return found
                if time.monotonic() >= until:
                    raise not_yet(self._id, found, timeout, self._store.endpoint.where)
            self._fresh = False
            for _ in ended(self._store, [place_of(self)], until):
                pass

    async def _aend(self, timeout: float | None) -> Found:
        until = until_of(timeout)
        while True:
            if not self._fresh:
                found = await self._store.aio.run(self._call())
                if self._state(found).terminal:
                    return found
                if time.monotonic() >= until:
                    raise not_yet(self._id, found, timeout, self._store.endpoint.where)
            self._fresh = False
            async for _ in aended(self._store, [place_of(self)], until):
                pass

    def watch(self, timeout: float | None = None, *, every: float | None = None) -> Iterator[Event]:
        """What happens to the job as it happens: where it is, how far it has come, what it logs; to its end.

        The first event is its present state, the last one a terminal state. Of what happens faster than one looks some
        states are passed over, and of progress all but the last word.

        Args:
            timeout: seconds for all of it; None watches for ever.
            every: tell the state again after so many seconds without news, for somebody who passes events on and has to
                notice that nobody listens any more.

        Raises:
            ResultTimeout, JobNotFound, ServerUnavailable: while iterating.
        """
        following = self._follow(timeout)
        return (event for events in taken(self._store, lambda news: following.events(news, every)) for event in events)

    async def awatch(self, timeout: float | None = None, *, every: float | None = None) -> AsyncGenerator[Event]:
        """As ``watch``, in a coroutine: ``async for event in job.awatch()``."""
        following = self._follow(timeout)
        async for events in ataken(self._store, lambda news: following.events(news, every)):
            for event in events:
                yield event

    def stream(self, start: int = 0, timeout: float | None = None) -> Stream[Any]:
        """The values that a task which is a generator yields, as they come, for ``for`` and ``async for``.

        It ends when the job has succeeded and raises what ``result`` raises where it has not; ``result`` has what the
        generator returned. The newest values are kept as long as the outcome, some thousand or half a MiB at least.

        Args:
            start: the position of the first value. ``position`` of what this gives tells where to go on later. 0 begins
                with the first value of the newest attempt.
            timeout: seconds for all of it; None waits for ever.

        Raises:
            StreamGap, StreamRestarted, ResultTimeout, JobFailed, JobCancelled, JobExpired, ResultExpired
            (ResultDropped: with ``result_ttl=0`` the end of the stream is not kept), ResultCorrupt, JobNotFound,
            ServerUnavailable: while iterating.
        """
        if type(start) is not int or start < 0:
            raise TypeError(f"stream(start={start!r}): give a position, a whole number from 0.")
        following, check = self._follow(timeout), partial(_record_of, self)
        return Stream(self._store, following, start, partial(self._answers.item, self._id), self._call(), check)

    #: The same, for symmetry with the others.
    astream = stream

    def _follow(self, timeout: float | None) -> Following:
        return Following(self._store.listener, self._settings.namespace, self._id, until_of(timeout), timeout)

    def cancel(self, reason: str = "") -> bool:
        """Call the job off: one that waits never starts, one that runs is asked to end and does not come back.

        A coroutine is cancelled at once. A function can look at ``current_job.should_stop``; after some seconds it is
        interrupted, and after GRACE its process is replaced. Works with no worker about; asking again changes nothing.

        Args:
            reason: kept with the job, up to 16,384 characters.

        Returns:
            True if it is cancelled or was asked to end; False if it has ended otherwise.

        Raises:
            ConfigurationError, JobNotFound, ServerUnavailable
        """
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"cancel({reason!r}): give the reason as a text.")
        record = outcome.cancelled(reason)
        ttl_ms, window_ms = int(self._settings.result_ttl * 1000), int(self._settings.key_window * 1000)
        raw = [self._id.raw]
        self._fresh = False
        (answer,) = self._store.run(cancel(self._home, outcome=record, ttl_ms=ttl_ms, window_ms=window_ms, ids=raw))
        if not answer:
            raise unknown(self.id)
        return answer in (b"c", b"r")

    def prioritize(self, priority: int) -> bool:
        """Give the job another priority, from -100 to 100; one that waits in line goes to its new place.

        One with a limit or a ``fair_by=`` goes there among those of its key.

        Returns:
            False if it has ended.

        Raises:
            ConfigurationError, ServerUnavailable
        """
        if type(priority) is not int or priority not in PRIORITIES:
            raise ConfigurationError(f"prioritize({priority!r}): give a whole number from -100 to 100.")
        return self._store.run(prioritize(self._home, priority, [self._id.raw])) == [1]

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
        return info_of(self._id, self.key, self._state(found), found, self._settings)

    def _call(self, all: bool = False) -> Call[Found]:
        self._fresh = False
        return lookup(self._home, self._id.raw, all=all)

    def _look(self, all: bool = False) -> Found:
        found = self._store.run(self._call(all))
        if found.away is None:
            return found
        there = partition(self._settings.namespace, found.away.queue, found.away.partition)
        return at_home(found, self._store.run(lookup(there, found.away.raw, all=all)))

    def _state(self, found: Found) -> JobState:
        if found.state is None:
            raise unknown(self.id)
        return found.state

    def _forget(self) -> Call[list[int]]:
        return forget(self._home, after_ms=0, ids=[self._id.raw])

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other._id == self._id and other._home is self._home

    def __hash__(self) -> int:
        return hash(self._id)


def place_of(job: Job[Any]) -> Place:
    """Where a job is. Raises TypeError for what is no job."""
    if not isinstance(job, Job):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{job!r} is no job: give a list of what delay() or map() gave, or of quaff.job(id).")
    return job._home, job._id.raw


def look_at(job: Job[Any]) -> Call[Found]:
    """What to ask the server of a job that has ended."""
    return job._call()


def found_of(job: Job[Any], *, all: bool = False) -> Found:
    """What the server says of a job now. Raises ServerUnavailable."""
    return job._look(all)


async def afound_of(job: Job[Any], *, all: bool = False) -> Found:
    """As ``found_of``, in a coroutine."""
    return await job._store.aio.run(job._call(all))


def value_of(job: Job[R], found: Found) -> R:
    """What ``result`` gives for that answer. Raises as it does; ResultTimeout if the job runs again."""
    value: R = job._answers.value(job._id, _record_of(job, found), job._settings)
    return value


def task_name(job: Job[Any], found: Found) -> str | None:
    """The name of its task, from an answer with ``all``; None if that is kept no longer, or cannot be read here."""
    return task_of(found, Where(job._settings.namespace, job._id), job._settings.seals)


def is_far(job: Job[Any], found: Found) -> bool:
    """Whether ``value_of`` will have to read from a store of results, which takes its time."""
    return job._answers.far([found.record])


def _record_of(job: Job[Any], found: Found) -> Outcome:
    if not job._state(found).terminal:
        raise ResultTimeout(f"job {job.id} had ended, and was sent back to its queue.", job.id)
    return record_of(job.id, found)
