"""Where jobs go that are not to be sent at once: what a transaction has written must be there before they run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

from quaff.job import Job
from quaff.model.message import Submission


class Keeper(Protocol):
    """What sends jobs later."""

    def promise(self, submissions: Sequence[Submission]) -> list[tuple[Submission, Job[Any]]]:
        """Handles of jobs that are not sent yet."""
        ...

    def keep(self, promised: Sequence[tuple[Submission, Job[Any]]]) -> None:
        """Send them."""
        ...


class Detour:
    """Jobs wait here until somebody says that it is time.

    Args:
        defer: is given what sends them; it calls that, or drops it.
    """

    def __init__(self, defer: Callable[[Callable[[], object]], object]) -> None:
        self._defer = defer

    def take(self, keeper: Keeper, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """Jobs instead of the server; their handles."""
        promised = keeper.promise(submissions)
        self._defer(partial(keeper.keep, promised))
        return [job for _, job in promised]

    def plant(self, send: Callable[[], object]) -> None:
        """A flow, by what sends it."""
        self._defer(send)


_current: ContextVar[Detour | None] = ContextVar("quaff_detour", default=None)
#: The detour that this thread or coroutine is on.
current: Callable[[], Detour | None] = _current.get


@contextmanager
def taking(detour: Detour) -> Generator[None]:
    """What is sent in the block goes there, of whatever application."""
    token = _current.set(detour)
    try:
        yield
    finally:
        _current.reset(token)
