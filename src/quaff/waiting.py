"""Waiting for the ends of jobs: what to ask, when to wait, told as steps that a thread or a coroutine takes."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, TypeAlias, TypeVar

from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.listener import Listener
from quaff.store.queries import watch
from quaff.store.transitions import BATCH, Call

T = TypeVar("T")

#: Where a job is: its partition, and the bytes of its id.
Place: TypeAlias = tuple[Partition, bytes]

#: Seconds between two looks where nothing can be heard (at first, at last), and where it can.
FIRST_LOOK, LAST_LOOK, LOOK_ANYWAY = 0.002, 0.1, 5.0
#: Milliseconds for which the server tells; longer than the time to the next look, and no burden for longer.
TOLD_FOR = 15_000


class News(ABC):
    """What was heard since it was read last; None among it: look at everything."""

    def __init__(self) -> None:
        self._heard: deque[bytes | None] = deque()

    def take(self) -> set[bytes | None]:
        taken: set[bytes | None] = set()
        while self._heard:
            taken.add(self._heard.popleft())
        return taken

    @abstractmethod
    def heard(self, id: bytes | None) -> None:
        """From the listener's thread."""


class _ThreadSignal(News):
    def __init__(self) -> None:
        super().__init__()
        self._event = threading.Event()

    def heard(self, id: bytes | None) -> None:
        self._heard.append(id)
        self._event.set()

    def wait(self, seconds: float) -> None:
        # It may have been heard before: then this returns at once.
        self._event.wait(seconds)
        self._event.clear()


class _LoopSignal(News):
    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def heard(self, id: bytes | None) -> None:
        self._heard.append(id)
        with suppress(RuntimeError):  # the loop is closed, and whoever waited in it is gone
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


#: Steps that are taken one after the other: a call, whose answer comes back; seconds to wait, if nothing is heard
#: before; a list of what is found, for whoever takes them.
Steps: TypeAlias = Generator[Call[Any] | float | list[T], Any, None]


def taken(store: Store, make: Callable[[News], Steps[T]]) -> Iterator[list[T]]:
    """What is found by steps, taken here. Raises what they do, and ServerUnavailable."""
    signal = _ThreadSignal()
    steps = make(signal)
    answer: Any = None
    try:
        while True:
            step = steps.send(answer)
            answer = None
            if isinstance(step, Call):
                answer = store.run(step)
            elif isinstance(step, list):
                yield step
            else:
                signal.wait(step)
    except StopIteration:
        return
    finally:
        steps.close()


async def ataken(store: Store, make: Callable[[News], Steps[T]]) -> AsyncIterator[list[T]]:
    """As ``taken``, in a coroutine."""
    signal = _LoopSignal()
    steps = make(signal)
    answer: Any = None
    try:
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Call):
                answer = await store.aio.run(step)
            elif isinstance(step, list):
                yield step
            else:
                await signal.wait(step)
    finally:
        steps.close()


def ended(store: Store, places: Iterable[Place], until: float) -> Iterator[list[Place]]:
    """Jobs as they end, several at a time; the rest is missing when ``until`` (monotonic seconds) has come.

    A job that nobody knows counts as ended. Raises ServerUnavailable.
    """
    return taken(store, lambda news: _ends(store.listener, news, places, until))


def aended(store: Store, places: Iterable[Place], until: float) -> AsyncIterator[list[Place]]:
    """As ``ended``, in a coroutine."""
    return ataken(store, lambda news: _ends(store.listener, news, places, until))


def _ends(listener: Listener, news: News, places: Iterable[Place], until: float) -> Steps[Place]:
    pending: dict[Partition, set[bytes]] = {}
    for home, id in places:
        pending.setdefault(home, set()).add(id)
    with ExitStack() as hearing:
        for home, ids in pending.items():
            hearing.enter_context(listener.hearing(home.key("watched"), tuple(ids), news))
        pause, heard = FIRST_LOOK, news.take() | {None}
        while pending:
            # Before the look: what is heard from here on, and ends after it, is heard.
            sure = all(home.key("watched") in listener.channels for home in pending)
            for home in list(pending):
                yield from _look(home, pending, heard)
            if not pending:
                return
            left = until - time.monotonic()
            if left <= 0:
                return
            yield min(left, LOOK_ANYWAY if sure else pause)
            pause = min(pause * 1.5, LAST_LOOK)
            heard = news.take() or {None}


def _look(home: Partition, pending: dict[Partition, set[bytes]], heard: set[Any]) -> Steps[Place]:
    ids = list(pending[home] if None in heard else pending[home] & heard)
    for at in range(0, len(ids), BATCH):
        some = ids[at : at + BATCH]
        letters = yield watch(home, some, lasts_ms=TOLD_FOR)
        gone = [id for id, letter in zip(some, letters, strict=True) if letter]
        pending[home].difference_update(gone)
        if gone:
            yield [(home, id) for id in gone]
    if not pending[home]:
        del pending[home]


def until_of(timeout: float | None) -> float:
    """Monotonic seconds at which time is up. Raises TypeError."""
    if timeout is not None and type(timeout) not in (int, float):
        raise TypeError(f"timeout={timeout!r}: give seconds, or None to wait for ever.")
    return float("inf") if timeout is None else time.monotonic() + timeout
