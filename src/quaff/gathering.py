"""Many jobs at once: their values when all have ended, or each as it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from quaff.answers import aside
from quaff.errors import JobError, ResultTimeout
from quaff.job import Job, is_far, look_at, place_of, value_of
from quaff.store.client import Store
from quaff.waiting import Place, aended, ended, until_of

R = TypeVar("R")

#: Results in one round trip: each may be as large as MAX_RESULT.
_AT_ONCE = 50


class AsCompleted(Generic[R]):
    """Jobs in the order in which they end, for ``for`` and for ``async for``; each comes once.

    Args:
        store: the server.
        jobs: all of one application.
        timeout: seconds for all of them; None waits for ever.
    """

    def __init__(self, store: Store, jobs: Iterable[Job[R]], timeout: float | None) -> None:
        self._store = store
        self._jobs: dict[Place, list[Job[R]]] = {}  # the same job may be given twice, by two handles
        for job in several(jobs):
            self._jobs.setdefault(place_of(job), []).append(job)
        self._timeout = timeout

    def __iter__(self) -> Iterator[Job[R]]:
        """Raises ResultTimeout when time is up and some have not ended, ServerUnavailable."""
        left = dict(self._jobs)
        for places in ended(self._store, list(left), until_of(self._timeout)):
            for place in places:
                yield from left.pop(place)
        self._check(left)

    async def __aiter__(self) -> AsyncIterator[Job[R]]:
        left = dict(self._jobs)
        async for places in aended(self._store, list(left), until_of(self._timeout)):
            for place in places:
                for job in left.pop(place):
                    yield job
        self._check(left)

    def _check(self, left: dict[Place, list[Job[R]]]) -> None:
        if left:
            first = next(iter(left.values()))[0]
            raise ResultTimeout(
                f"{len(left)} of {len(self._jobs)} jobs had not ended after {self._timeout:g} s; they go on. "
                f"The first: {first.id}.",
                first.id,
            )


def several(jobs: Iterable[Job[R]]) -> list[Job[R]]:
    """Jobs as a list. Raises TypeError for one that is by itself."""
    if isinstance(jobs, Job):
        raise TypeError("one job is waited for with job.result(); give a list of jobs.")
    return list(jobs)


def wait_all(store: Store, jobs: Iterable[Job[Any]], timeout: float | None, *, return_errors: bool) -> list[Any]:
    """The values of jobs, in their order, when all have ended; see ``Quaff.wait_all``."""
    given = several(jobs)
    for _ in AsCompleted(store, given, timeout):
        pass
    values: list[Any] = []
    for at in range(0, len(given), _AT_ONCE):
        some = given[at : at + _AT_ONCE]
        values += _values(some, store.run_many([look_at(job) for job in some]), return_errors)
    return values


async def await_all(store: Store, jobs: Iterable[Job[Any]], timeout: float | None, *, return_errors: bool) -> list[Any]:
    """As ``wait_all``, in a coroutine."""
    given = several(jobs)
    async for _ in AsCompleted(store, given, timeout):
        pass
    values: list[Any] = []
    for at in range(0, len(given), _AT_ONCE):
        some = given[at : at + _AT_ONCE]
        answers = await store.aio.run_many([look_at(job) for job in some])
        values += await aside(any(map(is_far, some, answers)), _values, some, answers, return_errors)
    return values


def _values(jobs: list[Job[Any]], answers: list[Any], return_errors: bool) -> list[Any]:
    values: list[Any] = []
    for job, found in zip(jobs, answers, strict=True):
        try:
            values.append(value_of(job, found))
        except JobError as error:
            if not return_errors:
                raise
            values.append(error)
    return values
