"""A loop that goes on where it was: its cursor is saved every second, at the end of the attempt, and between two items
when the worker stops.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from quaff.durable.steps import Calls, Steps, in_loop, in_thread
from quaff.errors import StepError
from quaff.model import codec
from quaff.model.progress import Progress
from quaff.model.steps import ITERATION, MOST_CURSOR

T = TypeVar("T")

#: Seconds between two cursors, and between two words about the progress.
_SAVE, _SAY = 1.0, 0.2


class Running(Protocol):
    """What an iteration must know of its attempt, and tells it."""

    progress: Progress | None
    cursors: dict[str, bytes]

    @property
    def should_stop(self) -> bool:
        """Whether to end at the next item."""
        ...

    def news(self) -> None:
        """There is news of it."""
        ...


class Iteration(Generic[T]):
    """One loop over a source.

    Args:
        steps, attempt: where it runs.
        name: what its cursor is remembered by.
        source: a sequence, another iterable, or a function of the cursor.
        key: an item -> its cursor; None counts the items.
    """

    def __init__(self, steps: Steps, attempt: Running, name: str, source: Any, key: Callable[[T], Any] | None) -> None:
        if isinstance(source, (set, frozenset)):
            raise StepError(
                f"iteration {name!r}: a {type(source).__name__} has another order in another process, so a later "
                "attempt would skip the wrong items. Give sorted(...) of it."
            )
        self._steps = steps
        self._attempt = attempt
        self._name = name
        self._source = source
        self._key = key
        self._done = self._before = 0
        self._cursor: Any = None
        self._open = False
        self._began = self._say_at = self._save_at = 0.0
        self._total = _length(source)

    def items(self) -> Iterator[T]:
        """What is left of the source."""
        store = self._steps.memory.store
        if in_thread(store, self._begin()):
            self._enter()
            try:
                for item in self._rest():
                    self._at_border()
                    yield item
                    self._handled(item)
                in_thread(store, self._end())
            finally:
                self._steps.inside -= 1

    async def aitems(self) -> AsyncIterator[T]:
        """As ``items``, in a coroutine, and also of an async source."""
        store = self._steps.memory.store
        if await in_loop(store, self._begin()):
            self._enter()
            try:
                async for item in self._arest():
                    self._at_border()
                    yield item
                    self._handled(item)
                await in_loop(store, self._end())
            finally:
                self._steps.inside -= 1

    def last_word(self) -> None:
        """The attempt is over: save how far it came, if that can be said."""
        if self._open and self._done > self._before:
            try:
                self._attempt.cursors[self._name] = self._spec(finished=False)
            except Exception:  # noqa: BLE001  it may be what the attempt failed with, and must not fail the worker
                return

    def _begin(self) -> Calls[bool]:
        known = yield from self._steps.recall(self._name, ITERATION)
        if known is None:
            return True
        self._done, finished, self._cursor = codec.unpack(known.value)
        self._before = self._done
        return not finished

    def _end(self) -> Calls[None]:
        self._open = False
        self._say()
        yield from self._steps.keep(self._name, ITERATION, self._value(finished=True))

    def _enter(self) -> None:
        self._steps.inside += 1
        self._open = True
        self._began = time.monotonic()
        self._save_at = self._began + _SAVE

    def _at_border(self) -> None:
        if self._attempt.should_stop:
            raise self._steps.paused(self._spec(finished=False), word="released")

    def _handled(self, item: T) -> None:
        self._done += 1
        if self._key is not None:
            self._cursor = self._key(item)
            if self._done == self._before + 1:
                self._value(finished=False)  # a key that cannot be a cursor is told at the first item
        now = time.monotonic()
        if now >= self._say_at:
            self._say_at = now + _SAY
            if now >= self._save_at:
                self._save_at = now + _SAVE
                self._attempt.cursors[self._name] = self._spec(finished=False)
            self._say()

    def _say(self) -> None:
        here, left = self._done - self._before, None
        if self._total is not None and here:
            left = max(0.0, (time.monotonic() - self._began) / here * (self._total - self._done))
        if self._steps.inside == 1:
            self._attempt.progress = Progress(self._done, self._total or None, "", left)
        self._attempt.news()

    def _value(self, *, finished: bool) -> bytes:
        data = codec.encode([self._done, finished, self._cursor])
        if len(data) > MOST_CURSOR:
            raise StepError(
                f"the cursor of iteration {self._name!r} is {len(data):,} bytes, the limit is {MOST_CURSOR:,}: let "
                "key= give an id."
            )
        return data

    def _spec(self, *, finished: bool) -> bytes:
        return self._steps.spec(self._name, ITERATION, self._value(finished=finished))

    # What is left

    def _rest(self) -> Iterator[T]:
        source: Any = self._opened()
        if self._done == 0 or source is not self._source:
            return iter(source)
        if self._key is None:
            if isinstance(source, Sequence):
                return map(source.__getitem__, range(self._done, len(source)))
            return islice(source, self._done, None)
        return self._after(iter(source))

    def _after(self, items: Iterator[T]) -> Iterator[T]:
        last = codec.encode(self._cursor)
        for item in items:
            if self._is(item, last):
                return items
        raise self._missing()

    async def _arest(self) -> AsyncIterator[T]:
        source: Any = self._opened()
        if not hasattr(source, "__aiter__"):
            for item in self._rest() if source is self._source else source:
                yield item
            return
        skip = self._done if source is self._source else 0
        last = None if self._key is None or not skip else codec.encode(self._cursor)
        async for item in source:
            if not skip:
                yield item
            elif last is None:
                skip -= 1
            elif self._is(item, last):
                skip = 0
        if last is not None and skip:
            raise self._missing()

    def _opened(self) -> Any:
        """The source; what a function gives begins behind the cursor."""
        if callable(self._source) and not hasattr(self._source, "__iter__") and not hasattr(self._source, "__aiter__"):
            return self._source(self._done if self._key is None else self._cursor)
        return self._source

    def _is(self, item: T, last: bytes) -> bool:
        assert self._key is not None
        return codec.encode(self._key(item)) == last

    def _missing(self) -> StepError:
        return StepError(
            f"iteration {self._name!r} cannot go on: no item has the key {self._cursor!r} any more, the one that was "
            "handled last. Give a function of the cursor instead, which finds what comes after it."
        )


def _length(source: Any) -> int | None:
    try:
        return len(source)
    except TypeError:
        return None
