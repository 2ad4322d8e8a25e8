"""What one attempt came to, as data: an exception is never rebuilt from the wire."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from types import TracebackType

import msgspec

from quaff.model.codec import readable
from quaff.model.masking import Mask
from quaff.model.progress import Progress
from quaff.model.states import JobState

_LIMIT = 16_384


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """Why an attempt failed: ``reason`` is one of ``error timeout poison corrupt undeliverable``."""

    reason: str
    type: str
    message: str
    traceback: str = ""


class Attempt(msgspec.Struct, array_like=True, frozen=True):
    """One run of a job. Times are Unix milliseconds; ``outcome`` is as in ``quaff.AttemptInfo``.

    A ``lapsed`` attempt is one whose worker fell silent, an ``unsettled`` one had ended when its process died. Either
    is charged nothing the first time, so its number repeats.
    """

    number: int
    started_ms: int
    ended_ms: int
    worker: str
    pid: int
    outcome: str
    error: Failure | None = None
    progress: Progress | None = None


class Outcome(msgspec.Struct, array_like=True, frozen=True):
    """What is kept of a job that ended: its last attempt and its value."""

    task: str
    created_ms: int
    attempt: Attempt
    value: msgspec.Raw = msgspec.Raw(b"\xc0")


class Settled(msgspec.Struct, frozen=True):
    """An attempt's outcome on its way to the server. ``ttl_ms`` is how long ``record`` is kept (0: not at all).

    For a job that comes back it is the time until then, and ``priority`` and ``queue`` its new ones (None: as before),
    or ``step`` what it waits for (``model.steps``).
    """

    state: JobState
    ttl_ms: int
    record: bytes
    priority: int | None = None
    queue: str | None = None
    step: bytes = b""


def cancelled(reason: str) -> bytes:
    """The record of a job that is called off while it waits."""
    # Number 0: it is no attempt, but sums up those that are in the history.
    attempt = Attempt(
        0, 0, time.time_ns() // 1_000_000, "", 0, "cancelled", Failure("cancelled", "", clean(reason[:_LIMIT]))
    )
    return encode(Outcome("", 0, attempt))


_encoder = msgspec.msgpack.Encoder()
_outcomes = msgspec.msgpack.Decoder(Outcome)
_attempts = msgspec.msgpack.Decoder(Attempt)
encode: Callable[[Outcome | Attempt], bytes] = _encoder.encode
decode: Callable[[bytes], Outcome] = _outcomes.decode
#: In the place of a record that nobody of us wrote, or that was changed.
CORRUPT = Outcome(
    "", 0, Attempt(0, 0, 0, "", 0, "corrupt", Failure("corrupt", "", "what is kept of it cannot be read"))
)


def read(data: bytes) -> Outcome:
    """The record in these bytes, or CORRUPT."""
    return readable(decode, data, CORRUPT)


def decode_history(data: bytes) -> list[Attempt]:
    """The attempts before the last one: each record has its length in four bytes before it.

    Among them are whole outcomes, of jobs that were sent back after they had failed.
    """
    attempts: list[Attempt] = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        record, data = data[4:end], data[end:]
        try:
            attempts.append(_attempts.decode(record))
        except (msgspec.DecodeError, ValueError):
            last = read(record).attempt
            if last.number or last is CORRUPT.attempt:  # 0 sums up attempts that are there already
                attempts.append(last)
    return attempts


#: Read past whatever a class of the user's has put in their place.
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__


def failure_of(error: BaseException, reason: str = "error", frames: int = 0, mask: Mask = str) -> Failure:
    """An exception as data, however badly it behaves; the traceback keeps its end, where the cause stands.

    Its class may make its text, and take for ever over it: that is the job's code, and its limit is counted on.

    Args:
        frames: how many of the first frames are the executor's, left out so that the user's own come first; the last
            one always stays.
        mask: takes out of a text what is not to be shown.
    """
    return Failure(reason, _name_of(type(error))[:_LIMIT], _text(error, mask), _trace(error, frames, mask))


def _text(error: BaseException, mask: Mask) -> str:
    try:
        text = mask("".join((str(error),)))  # a plain text, even where __str__ gave one of a class of its own
    except BaseException as second:  # noqa: BLE001  a __str__ that raises, whatever it raises, must not fail the settle
        text = f"<its text could not be read: {_name_of(type(second))}>"
    return clean(text[:_LIMIT])


def _trace(error: BaseException, frames: int, mask: Mask) -> str:
    trace = traceback_of(error)
    while frames and trace and trace.tb_next:
        trace, frames = trace.tb_next, frames - 1
    try:
        text = mask("".join(traceback.format_exception(type(error), error, trace)))
    except BaseException as second:  # noqa: BLE001  as above
        text = f"<the traceback could not be read: {_name_of(type(second))}>"
    return clean(text if len(text) <= _LIMIT else "...\n" + text[-_LIMIT:])


def clean(text: str) -> str:
    """``text`` as UTF-8 can hold it: lone surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
