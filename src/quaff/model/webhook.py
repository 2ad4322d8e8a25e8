"""What the world is told of by a webhook: the events, the body that has them, and how it is signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from quaff.errors import ConfigurationError

_LEAST_KEY = 16
#: Characters of an exception's text, and of any name.
MESSAGE, NAME = 300, 200


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened.

    Attributes:
        event: ``job.failed``: a job was given up; ``queue.late``: the head of a queue waits for too long;
            ``queue.recovered``: it does so no more.
        key: of a job that was given up the same if that is told again.
        at: ISO 8601, UTC.
        queue: which.
        id, task, attempt, reason, error, message: of a job, as ``DeadLetter`` and ``JobInfo`` have them.
        waits: seconds that the head of the line has waited.
    """

    event: Literal["job.failed", "queue.late", "queue.recovered"]
    key: str
    at: str
    queue: str
    id: str = ""
    task: str = ""
    attempt: int = 0
    reason: str = ""
    error: str = ""
    message: str = ""
    waits: float = 0.0


class Body(msgspec.Struct, frozen=True):
    """What is sent: some events of one namespace, the oldest first."""

    namespace: str
    events: list[Event]


encode: Callable[[Body], bytes] = msgspec.json.Encoder().encode


def signature(key: str, at: int, body: bytes) -> str:
    """The header: Unix seconds, and the HMAC-SHA256 of these, a dot and the body, in hex."""
    digest = hmac.new(key.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def check(where: str, url: str, key: str) -> None:
    """Raises ConfigurationError: that is no URL to call, or nothing signs what is sent; it says nothing of either."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(f"webhook_url{where}: give http(s)://host/path.")
    if len(key) < _LEAST_KEY:
        raise ConfigurationError(
            f"webhook_url{where} needs webhook_key, {_LEAST_KEY} characters or more, by which the receiver sees who "
            "calls. Make one with python -c 'import secrets; print(secrets.token_hex(32))'."
        )
