"""The values that a generator gives, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

from quaff.following import Following
from quaff.store.client import Store
from quaff.store.queries import Found
from quaff.store.transitions import Call
from quaff.waiting import ataken, taken

Y = TypeVar("Y")


class Stream(Generic[Y]):
    """Values for ``for`` and for ``async for``, to the end of the job; see ``Job.stream``.

    Args:
        store: the server.
        following: the job.
        start: the position of the first value.
        decode: bytes of a value, and its task -> the value.
        look: what to ask of a job that has ended.
        check: raises what ``Job.result`` raises for that answer.

    Attributes:
        position: that of the next value: ``job.stream(start=position)`` goes on from here, anywhere.
    """

    def __init__(
        self,
        store: Store,
        following: Following,
        start: int,
        decode: Callable[[str, bytes], Y],
        look: Call[Found],
        check: Callable[[Found], object],
    ) -> None:
        self._store = store
        self._following = following
        self._decode = decode
        self._look = look
        self._check = check
        self.position: int = start

    def __iter__(self) -> Iterator[Y]:
        """Raises as ``Job.result``, StreamGap, StreamRestarted."""
        for items in taken(self._store, lambda news: self._following.values(news, self.position)):
            yield from self._values(items)
        self._check(self._store.run(self._look))

    async def __aiter__(self) -> AsyncIterator[Y]:
        async for items in ataken(self._store, lambda news: self._following.values(news, self.position)):
            for value in self._values(items):
                yield value
        self._check(await self._store.aio.run(self._look))

    def _values(self, items: list[Any]) -> Iterator[Y]:
        for position, label, data in items:
            value = self._decode(label, data)
            self.position = position + 1
            yield value
