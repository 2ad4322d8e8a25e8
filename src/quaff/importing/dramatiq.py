"""Dramatiq: a list of ids for each queue, its oldest at the left, and a hash of messages; twice, for delays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quaff.importing.found import FOLLOWED, GONE, Entry, Found, Server, Source, Stays, number, parsed, understood, whole

_LATER, _DEAD, _MESSAGES = ".DQ", ".XQ", ".msgs"
#: Options of a message behind which others come.
_TIES = ("pipe_target", "group_completion_callbacks", "on_success", "on_failure", "on_retry_exhausted")


class Dramatiq:
    """See ``found.Peer``; ``prefix`` is the ``namespace`` of its broker."""

    default = "default"

    def __init__(self, prefix: str = "") -> None:
        self._prefix = f"{prefix or 'dramatiq'}:"

    def sources(self, server: Server) -> list[Source]:
        """A queue is known by its hash of messages, which is there as long as one of these is not done."""
        keys = {key.decode(errors="replace") for key in server.names(f"{self._prefix}*{_MESSAGES}")}
        names = sorted(key.removeprefix(self._prefix).removesuffix(_MESSAGES) for key in keys)
        alive = [name for name in names if not name.endswith(_DEAD)]
        alive.sort(key=lambda name: name.endswith(_LATER))
        return [
            Source(f"{self._prefix}{name}".encode(), "left", name.removesuffix(_LATER), name.endswith(_LATER))
            for name in alive
        ]

    def read(self, server: Server, source: Source, entries: Sequence[Entry]) -> list[Found]:
        """JSON, or a plain pickle of the same."""
        messages = source.key + _MESSAGES.encode()
        (told,) = server.ask(("HMGET", messages, *(entry.member for entry in entries)))
        return [_read(entry, messages, data) for entry, data in zip(entries, told, strict=True)]

    def aside(self, server: Server, sources: Sequence[Source]) -> dict[str, int]:
        """Messages that are in no line: their workers have them, and put back what has not begun when they stop."""
        taken = 0
        for source in sources:
            known, waiting = server.ask(("HLEN", source.key + _MESSAGES.encode()), ("LLEN", source.key))
            taken += max(0, known - waiting)
        return {"taken by their workers and not acknowledged: stop them, and it is put back": taken}


def _read(entry: Entry, messages: bytes, data: bytes | None) -> Found:
    # Not the message's own id: one that was sent twice stands there twice.
    id = entry.member.decode(errors="replace")

    def message() -> Found:
        if data is None:
            raise Stays(GONE)
        told: Any = parsed(data)
        name = told["actor_name"]
        return understood(entry, id, str(name), lambda: actor(told, name))

    def actor(told: Any, name: Any) -> Found:
        options = told["options"]
        if any(options.get(tie) for tie in _TIES):
            raise Stays(FOLLOWED)
        due, age, sent = map(number, (options.get("eta"), options.get("max_age"), told["message_timestamp"]))
        return whole(
            *(entry, id, name, told["args"], told["kwargs"]),
            due=None if due is None else due / 1000,
            expires=None if age is None or sent is None else (sent + age) / 1000,
            besides=(messages, entry.member),
        )

    return understood(entry, id, "?", message)
