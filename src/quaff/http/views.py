"""What the URLs of jobs answer, in threads and in coroutines, whatever serves them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import aclosing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from quaff.errors import JobNotFound, ServerUnavailable
from quaff.following import unknown
from quaff.http.answers import AWAY, NO_PLACE, NOT_FOUND, Answer, areport, matches, report, status_of, tagged
from quaff.http.events import EventStream, frames
from quaff.http.loop import run
from quaff.job import Job, afound_of, found_of
from quaff.store.queries import Found

#: Gives the job that is asked for; raises JobNotFound.
Find: TypeAlias = Callable[[], Job[Any]]

#: Seconds: the longest ``?wait=``.
_LONGEST_WAIT = 30.0

_SOURCE = Path(__file__).with_name("quaff.js").read_bytes()

#: Of this text of the script: a URL that has it may be kept for ever.
SCRIPT_VERSION = sha256(_SOURCE).hexdigest()[:12]


def script(version: str, known: str) -> Answer:
    """``GET <prefix>/quaff.js?v=<version>`` with that ``If-None-Match``."""
    kept = "max-age=31536000, immutable" if version == SCRIPT_VERSION else "max-age=3600"
    headers = {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": f"public, {kept}"}
    return tagged(_SOURCE, headers | {"X-Content-Type-Options": "nosniff"}).unless(known)


class JobViews:
    """``GET <prefix>/<token>`` and ``GET <prefix>/<token>/events``.

    The status is 200 for every job that is known, also when its value is kept no longer (reason ``expired``); 404 for a
    forged or foreign token and for a job that is not known, with no difference between them; 503 while the server is
    away. ``Retry-After`` says when to ask again, and is absent once the job has ended; the ETag changes with the
    answer. ``?wait=SECONDS`` (at most 30) answers when the job has ended, with ``If-None-Match`` when the answer has
    changed.

    Args:
        max_waiters: how many requests may be kept open at a time in this process.
    """

    def __init__(self, max_waiters: int) -> None:
        self._places = threading.BoundedSemaphore(max_waiters)

    def status(self, find: Find, wait: str, known: str) -> Answer:
        """The status.

        Args:
            find: gives the job that is asked for; JobNotFound if there is none for whoever asks.
            wait: the text of ``?wait=``; what is no number of seconds does not wait.
            known: ``If-None-Match``.
        """
        try:
            job = find()
            answer = status_of(report(job, found_of(job)))
            seconds = 0.0 if _settled(answer, known) else _seconds(wait)
            if seconds and self._places.acquire(blocking=False):
                try:
                    answer = run(_later(job, seconds, known))
                finally:
                    self._places.release()
            return answer.unless(known)
        except (JobNotFound, ServerUnavailable) as error:
            return _refused(error)

    async def astatus(self, find: Find, wait: str, known: str) -> Answer:
        """As ``status``, in a coroutine."""
        try:
            job = find()
            answer = status_of(await areport(job, await afound_of(job)))
            seconds = 0.0 if _settled(answer, known) else _seconds(wait)
            if seconds and self._places.acquire(blocking=False):
                try:
                    answer = await _later(job, seconds, known)
                finally:
                    self._places.release()
            return answer.unless(known)
        except (JobNotFound, ServerUnavailable) as error:
            return _refused(error)

    def events(self, find: Find, seen: str) -> Answer | EventStream:
        """The events, as bytes that come; or why there are none.

        Args:
            find: as for ``status``.
            seen: ``Last-Event-ID``.
        """
        try:
            job = find()
            return self._stream(job, found_of(job, all=True), seen)
        except (JobNotFound, ServerUnavailable) as error:
            return _refused(error)

    async def aevents(self, find: Find, seen: str) -> Answer | EventStream:
        """As ``events``, in a coroutine."""
        try:
            job = find()
            return self._stream(job, await afound_of(job, all=True), seen)
        except (JobNotFound, ServerUnavailable) as error:
            return _refused(error)

    def _stream(self, job: Job[Any], found: Found, seen: str) -> Answer | EventStream:
        if found.state is None:
            raise unknown(job.id)
        if not self._places.acquire(blocking=False):
            return NO_PLACE
        return EventStream(frames(job, found, seen), self._places.release)


def _settled(answer: Answer, known: str) -> bool:
    """Whether there is nothing to wait for: it is final, or news to a client that has another one."""
    final = "Retry-After" not in answer.headers
    return final or (bool(known) and not matches(answer.etag, known))


def _seconds(wait: str) -> float:
    """``?wait=`` within its bounds; 0 for what is no number."""
    try:
        wanted = float(wait)
    except ValueError:
        return 0.0
    return min(wanted, _LONGEST_WAIT) if wanted > 0 else 0.0


async def _later(job: Job[Any], seconds: float, known: str) -> Answer:
    """The answer when it is another one, or final where the client has none; at the latest after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), aclosing(job.awatch()) as events:
            async for event in events:
                if event.kind == "log" or not (known or event.state.terminal):
                    continue
                answer = status_of(await areport(job, await afound_of(job)))
                if _settled(answer, known):
                    return answer
    return status_of(await areport(job, await afound_of(job)))


def _refused(error: JobNotFound | ServerUnavailable) -> Answer:
    return NOT_FOUND if isinstance(error, JobNotFound) else AWAY
