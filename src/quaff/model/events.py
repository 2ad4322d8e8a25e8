"""What happens to a job, as whoever watches it sees it."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Literal

import msgspec

from quaff.model.codec import readable
from quaff.model.outcome import clean
from quaff.model.progress import Progress
from quaff.model.states import JobState
from quaff.model.times import instant

#: Characters of a line; of a longer one its beginning and its end, where a traceback has the cause.
_LONGEST = 4000


class LogLine(msgspec.Struct, frozen=True):
    """A line that an attempt has logged.

    Attributes:
        position: its number among all lines of the job, from 0; what is missing in between was dropped.
        at: when, by the clock of the worker; an aware datetime in UTC.
        level: ``INFO``, ``ERROR`` …; ``CORRUPT``: nobody can read what is kept of it.
        logger: the logger's name; for ``current_job.log()`` the task's.
        attempt: the number of the attempt.
        text: the message, and the traceback where there is one.
    """

    position: int
    at: datetime
    level: str
    logger: str
    attempt: int
    text: str


class Event(msgspec.Struct, frozen=True):
    """Something that ``job.watch()`` has seen.

    Attributes:
        kind: what is new: ``state``, ``progress`` or ``log``.
        at: when it was seen, by the server's clock, for a line when it was written; an aware datetime in UTC.
        state: where the job is.
        attempt: the number of the running attempt, else 0.
        progress: with ``progress``.
        log: with ``log``.
    """

    kind: Literal["state", "progress", "log"]
    at: datetime
    state: JobState
    attempt: int = 0
    progress: Progress | None = None
    log: LogLine | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, str, str, int, str]).decode
_CORRUPT = (0, "CORRUPT", "", 0, "what is kept of this line cannot be read")


def line(level: int, logger: str, attempt: int, text: str, at: float | None = None) -> bytes:
    """A line as it is kept; ``at``: Unix seconds, now by default."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    ms = int((time.time() if at is None else at) * 1000)
    return _encode((ms, logging.getLevelName(level), clean(logger[:200]), attempt, clean(text)))


def read_line(position: int, data: bytes) -> LogLine:
    """A line that was kept; one of level ``CORRUPT`` where nobody can read it."""
    ms, level, logger, attempt, text = readable(_decode, data, _CORRUPT)
    return LogLine(position, instant(ms), level, logger, attempt, text)
