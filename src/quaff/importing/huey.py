"""Huey: a list, its oldest message at the right, or a sorted set where it has priorities; one of what has a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from quaff.importing import plain
from quaff.importing.found import FOLLOWED, Entry, Found, Server, Source, Stays, bounded, understood, whole

_QUEUE, _LATER, _RESULTS = "huey.redis.", "huey.schedule.", "huey.results."
#: Bytes before a message in a sorted set: when it came.
_STAMP = 8
#: How what gzip and zlib have made begins.
_COMPRESSIONS = (b"\x1f", b"\x78")
_REVOKED = "it is revoked: delete it, or restore it"
_COMPRESSED = "it is compressed: let their workers run it, or send it anew"


class Message(NamedTuple):
    """As Huey has it; what older ones do not have is None."""

    id: Any
    name: Any
    eta: Any = None
    retries: Any = None
    retry_delay: Any = None
    priority: Any = None
    args: Any = None
    kwargs: Any = None
    on_complete: Any = None
    on_error: Any = None
    expires: Any = None
    expires_resolved: Any = None
    timeout: Any = None
    chord_config: Any = None
    retry_backoff: Any = None


def _moment(state: Any) -> datetime:
    """A time without a zone, as it is pickled: year, month, day, hour, minute, second in seven bytes, then µs."""
    if type(state) is not bytes or len(state) != 10:
        raise plain.NotPlain("cannot be read")
    month, day, hour, minute, second, *parts = state[2:]
    microsecond = int.from_bytes(parts, "big")
    return datetime(  # noqa: DTZ001  as it was given, also to a task
        int.from_bytes(state[:2], "big"), month, day, hour, minute, second, microsecond
    )


#: What is named in its pickles.
_RECORDS: plain.Records = {("huey.registry", "Message"): Message, ("datetime", "datetime"): _moment}


class Huey:
    """See ``found.Peer``."""

    #: What Huey calls an application stands where others have a queue.
    default = ""

    def sources(self, server: Server) -> list[Source]:
        """Each application has its own."""
        found = []
        for key in sorted({*server.names(f"{_QUEUE}*")}):
            (kind,) = server.ask(("TYPE", key))
            found.append(Source(key, "right" if kind == b"list" else "lowest", _name(key, _QUEUE)))
        return found + [
            Source(key, "lowest", _name(key, _LATER), True) for key in sorted({*server.names(f"{_LATER}*")})
        ]

    def read(self, server: Server, source: Source, entries: Sequence[Entry]) -> list[Found]:
        """Plain pickles of one kind of record."""
        stamp = _STAMP if source.end == "lowest" and not source.delayed else 0
        found = [_read(entry, entry.member[stamp:]) for entry in entries]
        # With RedisExpireHuey it is no hash, and what is revoked goes by its own time.
        (kind,) = server.ask(("TYPE", f"{_RESULTS}{source.queue}"))
        if kind != b"hash":
            return found
        words = [(f"r:{each.id}", f"rt:{each.name}") for each in found]
        (told,) = server.ask(("HMGET", f"{_RESULTS}{source.queue}", *(word for pair in words for word in pair)))
        revoked = [one is not None or other is not None for one, other in zip(told[::2], told[1::2], strict=True)]
        return [
            each._replace(refused=each.refused or _REVOKED) if no else each
            for each, no in zip(found, revoked, strict=True)
        ]

    def aside(self, server: Server, sources: Sequence[Source]) -> dict[str, int]:
        """Nothing: what a consumer takes is gone."""
        return {}


def _name(key: bytes, prefix: str) -> str:
    return key.decode(errors="replace").removeprefix(prefix)


def _read(entry: Entry, data: bytes) -> Found:
    def message() -> Found:
        if bounded(data)[:1] in _COMPRESSIONS:
            raise Stays(_COMPRESSED)
        told = plain.read(data, _RECORDS) if plain.is_pickle(data) else None
        if not isinstance(told, Message):
            raise TypeError("another form")
        return understood(entry, str(told.id), str(told.name), lambda: _task(entry, told))

    return understood(entry, "", "?", message)


def _task(entry: Entry, told: Message) -> Found:
    if told.on_complete or told.on_error or told.chord_config:
        raise Stays(FOLLOWED)
    return whole(
        *(entry, told.id, told.name, told.args or (), told.kwargs or {}),
        due=_seconds(told.eta),
        expires=_seconds(told.expires_resolved),
        priority=told.priority if type(told.priority) is int else 0,
    )


def _seconds(moment: Any) -> float | None:
    """Huey writes UTC, unless it was told otherwise (``utc=False``)."""
    return moment.replace(tzinfo=UTC).timestamp() if isinstance(moment, datetime) else None
