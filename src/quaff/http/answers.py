"""Answers as data: a status, headers and a body, for whichever framework sends them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from quaff.answers import aside
from quaff.errors import JobCancelled, JobExpired, JobFailed, ResultCorrupt, ResultExpired
from quaff.job import Job, is_far, value_of
from quaff.model import codec, outcome, progress
from quaff.model.progress import Progress
from quaff.model.pydantic import is_model
from quaff.model.states import JobState
from quaff.store.queries import Found

#: Seconds after which to ask again about a job that goes on, and where there is no place or no job server now.
ASK_AGAIN, ASK_LATER = 1, 5


def _told(value: Any) -> Any:
    return value.model_dump(mode="json") if is_model(type(value)) else str(value)


#: What JSON lacks becomes text or a list: bytes as base64, dates as ISO 8601, UUID, Decimal and complex as text. A
#: model of pydantic is as it says itself.
encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_told).encode


class Answer(NamedTuple):
    """What to send; ``etag`` is the header's value, quotes included, and empty where there is none."""

    status: int
    headers: dict[str, str]
    body: bytes
    etag: str = ""

    def unless(self, known: str) -> Answer:
        """This answer, or 304 for a client whose ``If-None-Match`` has its tag."""
        if not self.etag or not matches(self.etag, known):
            return self
        return self._replace(status=304, body=b"")


def matches(etag: str, known: str) -> bool:
    """Whether ``If-None-Match: <known>`` means this tag."""
    return known.strip() == "*" or etag in (each.strip().removeprefix("W/") for each in known.split(","))


def tagged(body: bytes, headers: dict[str, str]) -> Answer:
    """200, with a tag that changes with the body."""
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    return Answer(200, {**headers, "ETag": etag}, body, etag)


def status_of(report: dict[str, Any]) -> Answer:
    """The status of a job, as ``report`` tells it."""
    # A browser may keep it, so that it can ask with the ETag, but has to ask; nobody on the way may.
    headers = {"Content-Type": "application/json", "Cache-Control": "private, no-cache"}
    if not has_ended(report):
        headers["Retry-After"] = str(ASK_AGAIN)
    return tagged(encode(report), headers)


def has_ended(report: dict[str, Any]) -> bool:
    """Whether nothing more will come of that job."""
    return report["state"] is None or JobState(report["state"]).terminal


def report(job: Job[Any], found: Found) -> dict[str, Any]:
    """``{state, progress}`` of a job, and ``value`` or ``error`` if it has ended.

    ``error`` is ``{reason, type, message}``, never a traceback. Raises JobNotFound.
    """
    told: dict[str, Any] = {"state": None, "progress": _progress(found)}
    try:
        if found.state is None or found.state.terminal:
            told["value"] = value_of(job, found)
    except JobCancelled as error:
        told["error"] = _error("cancelled", "JobCancelled", error.reason or "the job was cancelled")
    except JobExpired:
        told["error"] = _error("expired", "JobExpired", "the job had not begun in time, and did not run")
    except JobFailed as error:
        told["error"] = _error(error.reason, error.type, error.message)
    except ResultCorrupt:
        told["error"] = _error("corrupt", "ResultCorrupt", "the job has ended, and what is kept of it cannot be read")
    except ResultExpired:
        told["error"] = _error("expired", "ResultExpired", "the job has ended, and its result is kept no longer")
    assert found.state is not None
    told["state"] = found.state.value
    return told


async def areport(job: Job[Any], found: Found) -> dict[str, Any]:
    """As ``report``, in a coroutine."""
    return await aside(is_far(job, found), report, job, found)


def told_progress(said: Progress | None) -> dict[str, Any] | None:
    """``{done, total, note}``, or None for a task that has said nothing."""
    return None if said is None else {"done": said.done, "total": said.total, "note": said.note}


def _progress(found: Found) -> dict[str, Any] | None:
    if found.progress:
        return told_progress(codec.readable(progress.decode, found.progress, None))
    return told_progress(outcome.read(found.record).attempt.progress) if found.record else None


def _error(reason: str, type: str, message: str) -> dict[str, str]:
    return {"reason": reason, "type": type, "message": message}


def _untold(reason: str, type: str, message: str) -> dict[str, Any]:
    """A report on a job of which nothing is told."""
    return {"state": None, "progress": None, "error": _error(reason, type, message)}


def _refusal(status: int, untold: dict[str, Any], retry_after: int | None = None) -> Answer:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status, headers, encode(untold))


#: Forged, somebody else's, forgotten: nobody learns from the answer which it is.
NOBODY = _untold("not_found", "JobNotFound", "no such job, or it is forgotten by now")
NOT_FOUND = _refusal(404, NOBODY)
AWAY = _refusal(503, _untold("unavailable", "ServerUnavailable", "the job server is away; ask again"), ASK_LATER)
#: 204 tells an EventSource, without a complaint on its console, to connect no more: then a page asks for the status.
NO_PLACE = Answer(204, {"Cache-Control": "no-store", "Retry-After": str(ASK_LATER)}, b"")
