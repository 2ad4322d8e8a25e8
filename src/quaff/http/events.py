"""The events of a job as an event stream (SSE): its state, progress, lines and values as they come, to its end."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

from quaff.errors import JobError, JobNotFound, ServerUnavailable, StreamGap, StreamRestarted
from quaff.http.answers import NOBODY, areport, encode, has_ended, told_progress
from quaff.job import Job, afound_of, task_name
from quaff.model.events import Event, LogLine
from quaff.store.queries import Found

#: Seconds without news after which something is sent all the same: only by that it shows that a client has gone.
_HEARTBEAT = 3.0
#: Milliseconds after which a browser whose connection was lost is to connect again.
_CONNECT_AGAIN = 2000
_SILENCE = b": \n\n"
#: Events that are read ahead of a slow client.
_AHEAD = 16
#: An event's id: how many lines and values there have been.
_SEEN = re.compile(r"(\d{1,15})\.(\d{1,15})")

T = TypeVar("T")


class EventStream:
    """What an event stream answers: iterate over its bytes, and close it.

    Args:
        frames: the bytes.
        leave: called once, when it is closed or nobody has it any more.
    """

    status = 200
    #: no: nginx sends each event on at once.
    headers: dict[str, str] = {  # noqa: RUF012
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
    }

    def __init__(self, frames: AsyncGenerator[bytes], leave: Callable[[], None]) -> None:
        self._frames = frames
        # A server may drop an answer of which it has not sent anything without closing it.
        self._leave = weakref.finalize(self, leave)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._frames)

    async def aclose(self) -> None:
        """The client has it all, or has gone."""
        self._leave()
        await self._frames.aclose()


async def frames(job: Job[Any], found: Found, seen: str) -> AsyncGenerator[bytes]:
    """How a job is, and all that happens to it from now on, as bytes.

    Args:
        job: which.
        found: what a look with ``all`` has found of it.
        seen: ``Last-Event-ID``: what the client has of the lines and values of the job.
    """
    telling = _Telling(await areport(job, found), task_name(job, found), seen)
    yield b"retry: %d\n\n" % _CONNECT_AGAIN
    yield telling.now()
    try:
        news: AsyncGenerator[Event | _Value]
        news = _merged(job.awatch(every=_HEARTBEAT), _values(job, telling.values))
        async with aclosing(news):
            async for event in news:
                yield telling.frame(event)
        yield telling.end(await areport(job, await afound_of(job)))
    except JobNotFound:
        yield telling.end(NOBODY)
    except ServerUnavailable:
        pass  # the browser comes again, and is told so


class _Value(NamedTuple):
    """Something of a stream of values; ``position`` is that of the next one."""

    kind: str
    data: Any
    position: int


async def _values(job: Job[Any], start: int) -> AsyncGenerator[_Value]:
    """What the task yields, to the end of the job, whatever that is."""
    while True:
        stream = job.stream(start)
        try:
            async for value in stream:
                yield _Value("value", value, stream.position)
        except StreamGap as error:
            start = error.position
            yield _Value("restart" if isinstance(error, StreamRestarted) else "gap", {"position": start}, start)
            continue
        except JobError:
            pass  # the last event says what it is
        return


async def _merged(*sources: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """What several sources give, as it comes, until all have ended; raises what the first of them raises."""
    queue: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue(_AHEAD)

    async def pump(source: AsyncGenerator[T]) -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    await queue.put((item,))
        except Exception as error:  # noqa: BLE001  raised where the items are taken
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    try:
        left = len(tasks)
        while left:
            got = await queue.get()
            if isinstance(got, Exception):
                raise got
            if got is None:
                left -= 1
            else:
                yield got[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class _Telling:
    """What a client has been told, and what is news to it.

    Attributes:
        values: the position of the next value that it wants.
    """

    def __init__(self, report: dict[str, Any], task: str | None, seen: str) -> None:
        known = _SEEN.fullmatch(seen)
        self._lines, self.values = map(int, known.groups()) if known else (0, 0)
        self._task = task
        self._report = report
        self._attempt = 0

    def now(self) -> bytes:
        """How the job is; of one that has ended, its lines and values come before the end."""
        return _SILENCE if has_ended(self._report) else self._frame("state", self._report)

    def end(self, report: dict[str, Any]) -> bytes:
        """The last event."""
        return self._frame("state", report)

    def frame(self, event: Event | _Value) -> bytes:
        """An event as bytes; a comment for one that is no news."""
        if isinstance(event, _Value):
            self.values = event.position
            return self._frame(event.kind, event.data)
        if event.log is not None:
            return self._line(event.log)
        if event.progress is not None:
            return self._moved("progress", progress=told_progress(event.progress))
        again = self._attempt and event.attempt not in (0, self._attempt)
        self._attempt = event.attempt or self._attempt
        if event.state.terminal or (event.state == self._report["state"] and not again):
            return _SILENCE
        return self._moved("state", state=event.state.value, progress=None)

    def _moved(self, kind: str, **news: Any) -> bytes:
        before, self._report = self._report, {**self._report, **news}
        if self._report == before:
            return _SILENCE
        return self._frame(kind, self._report if kind == "state" else self._report["progress"])

    def _line(self, line: LogLine) -> bytes:
        # What else is logged in a task, by whatever library, is for those who run it, and not for a page.
        if line.position < self._lines or line.logger != self._task:
            return _SILENCE
        self._lines = line.position + 1
        return self._frame("log", {"at": line.at, "level": line.level, "attempt": line.attempt, "text": line.text})

    def _frame(self, kind: str, data: Any) -> bytes:
        place = b"%d.%d" % (self._lines, self.values)
        return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), place, encode(data))
