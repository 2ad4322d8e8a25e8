"""RQ: a list of ids for each queue, its oldest at the left, a sorted set of those with a time, a hash for each job."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Any

from quaff.importing import plain
from quaff.importing.found import (
    FOLLOWED,
    GONE,
    MOST,
    Entry,
    Found,
    Server,
    Source,
    Stays,
    bounded,
    parsed,
    understood,
    whole,
)

_QUEUE = b"rq:queue:"
_METHOD = "it is a method of an object: declare a task, and send it anew"
#: Fields of a job, and why one that has something there stays.
_TIED = {
    "dependency_id": "it waits for another job: let their workers run both",
    "success_callback_name": FOLLOWED,
    "failure_callback_name": FOLLOWED,
    "stopped_callback_name": FOLLOWED,
    "webhooks": FOLLOWED,
    "repeats_left": "it repeats itself: declare a schedule, and delete it",
    "rate_limit_key": "it has a place in a rate limit: let their workers run it",
}


class RQ:
    """See ``found.Peer``."""

    default = "default"

    def sources(self, server: Server) -> list[Source]:
        """RQ lists its queues; what is retried later is among those with a time."""
        (queues,) = server.ask(("SMEMBERS", "rq:queues"))
        names = sorted(key.removeprefix(_QUEUE) for key in queues)
        lines = [Source(_QUEUE + name, "left", name.decode(errors="replace")) for name in names]
        later = [Source(b"rq:scheduled:" + name, "lowest", name.decode(errors="replace"), True) for name in names]
        return [*lines, *later]

    def read(self, server: Server, source: Source, entries: Sequence[Entry]) -> list[Found]:
        """The hash of each, whether others wait for it, and how long it has."""
        keys = [b"rq:job:" + entry.member for entry in entries]
        replies = server.ask(
            *(("HMGET", key, "data", *_TIED) for key in keys),
            *(("EXISTS", key + b":dependents") for key in keys),
            *(("PTTL", key) for key in keys),
        )
        count = len(keys)
        told = zip(entries, keys, replies[:count], replies[count : 2 * count], replies[2 * count :], strict=True)
        return [_read(source, *each) for each in told]

    def aside(self, server: Server, sources: Sequence[Source]) -> dict[str, int]:
        """What runs, and what waits for another job."""
        names = {source.queue.encode() for source in sources}
        kinds = {"running, or left by a worker that died": b"rq:wip:", "waiting for another job": b"rq:deferred:"}
        return {
            text: sum(server.ask(*(("ZCARD", prefix + name) for name in names))) if names else 0
            for text, prefix in kinds.items()
        }


def _read(source: Source, entry: Entry, key: bytes, fields: list[Any], followed: int, left_ms: int) -> Found:
    data, *tied = fields
    id = entry.member.decode(errors="replace")

    def job() -> Found:
        if data is None:
            raise Stays(GONE)
        try:
            name, *rest = parsed(_inflated(bounded(data)))
        except zlib.error:
            raise ValueError from None
        return understood(entry, id, str(name), lambda: call(name, *rest))

    def call(name: str, instance: Any, args: Any, kwargs: Any) -> Found:
        for value, why in zip(tied, _TIED.values(), strict=True):
            if value:
                raise Stays(why)
        if followed or instance is not None:
            raise Stays(FOLLOWED if followed else _METHOD)
        return whole(
            *(entry, id, name, args, kwargs),
            due=entry.score if source.delayed else None,
            expires=time.time() + left_ms / 1000 if left_ms > 0 else None,
            besides=(key,),
        )

    return understood(entry, id, "?", job)


def _inflated(data: bytes) -> bytes:
    """What RQ has compressed, as far as it is no more than a message may be. Raises Stays."""
    if plain.is_pickle(data) or data[:1] == b"[":
        return data
    machine = zlib.decompressobj()
    raw = machine.decompress(data, MOST + 1)
    return bounded(raw)
