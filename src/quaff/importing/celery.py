"""Celery on Redis: a list for each queue and step of priority, its oldest message at the right; kombu's envelope."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from quaff.importing import plain
from quaff.importing.found import FOLLOWED, Entry, Found, Server, Source, Stays, bounded, understood, whole

_SEPARATOR = "\x06\x16"
#: Exchanges of workers among themselves.
_THEIRS = ("pidbox", "celeryev")
_STEPS = range(10)
_NEITHER = "its body is {}: let their workers run it"
#: By what Celery calls them.
_BODIES: dict[str, Callable[[bytes], Any]] = {
    "application/json": lambda raw: _typed(json.loads(raw)),
    "application/x-msgpack": msgspec.msgpack.decode,
    "application/x-python-serialize": plain.read,
}

#: How kombu writes what JSON has no word for.
_TYPES: dict[str, Callable[[Any], Any]] = {
    "bytes": str.encode,
    "base64": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": lambda text: date.fromisoformat(text[:10]),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda parts: UUID(parts["hex"]),
}


class Celery:
    """See ``found.Peer``; ``prefix`` is its ``global_keyprefix``."""

    default = "celery"

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def sources(self, server: Server) -> list[Source]:
        """A queue is known by its bindings, which whoever sends to it has made."""
        names = {self.default}
        for key in server.names(f"{self._prefix}_kombu.binding.*"):
            if not key.decode(errors="replace").endswith(_THEIRS):
                (members,) = server.ask(("SMEMBERS", key))
                names |= {member.decode(errors="replace").split(_SEPARATOR)[-1] for member in members}
        return [
            Source(f"{self._prefix}{name}{f'{_SEPARATOR}{step}' if step else ''}".encode(), "right", name)
            for name in sorted(names)
            for step in _STEPS
        ]

    def read(self, server: Server, source: Source, entries: Sequence[Entry]) -> list[Found]:
        """Protocol 2, with a body in JSON, MessagePack or a plain pickle."""
        return [_read(entry) for entry in entries]

    def aside(self, server: Server, sources: Sequence[Source]) -> dict[str, int]:
        """What workers have taken: stopped warm, they put it back."""
        (count,) = server.ask(("HLEN", f"{self._prefix}unacked"))
        return {"taken by their workers and not acknowledged: stop them warm, and it is put back": count}


def _read(entry: Entry) -> Found:
    return understood(entry, "", "?", lambda: _envelope(entry, json.loads(bounded(entry.member))))


def _envelope(entry: Entry, told: Any) -> Found:
    headers, properties = told["headers"], told["properties"]
    id, name = str(headers["id"]), str(headers["task"])

    def body() -> Found:
        read = _BODIES.get(told["content-type"])
        if read is None or headers.get("compression"):
            raise Stays(_NEITHER.format(str(headers.get("compression") or told["content-type"])[:60]))
        text = told["body"]
        args, kwargs, embed = read(
            base64.b64decode(text) if properties.get("body_encoding") == "base64" else text.encode()
        )
        if any(embed.values()):
            raise Stays(FOLLOWED)
        return whole(
            *(entry, id, name, args, kwargs),
            due=_moment(headers.get("eta")),
            expires=_moment(headers.get("expires")),
            priority=-int(properties.get("priority") or 0),
        )

    return understood(entry, id, name, body)


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__type__", "__value__"}:
        return _TYPES[value["__type__"]](value["__value__"])
    return {key: _typed(each) for key, each in value.items()}


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
