"""An event loop for the threads of a WSGI server: what they wait for is waited for in one thread, and told to them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives, waited for in this thread."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()


def _loop() -> asyncio.AbstractEventLoop:
    # By process: the threads of a parent are not in its child. setdefault lets one of several threads win; a lock might
    # be held while a process is forked. Kept once it turns: what is given to one that does not is waited for for ever.
    loop = _loops.get(os.getpid())
    if loop is None:
        made = asyncio.new_event_loop()
        try:
            threading.Thread(target=_turn, args=[made], name="quaff-http", daemon=True).start()
        except RuntimeError:  # there are too many
            made.close()
            raise
        loop = _loops.setdefault(os.getpid(), made)
        if loop is not made:
            made.call_soon_threadsafe(made.stop)
    return loop


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


class Stream(Protocol):
    """Bytes as they come, until ``aclose``."""

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class iterate:  # noqa: N801  used as a function
    """A stream as the body of a WSGI response, which is closed whether or not any of it was sent."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> iterate:
        return self

    def __next__(self) -> bytes:
        try:
            return run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> bytes:
        return await self._stream.__anext__()

    def close(self) -> None:
        """The client has it all, or has gone."""
        run(self._stream.aclose())
