"""What is in a partition, key by key: a whole dump, what was read page by page, or a close-up of one job."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, get_origin, get_type_hints

import msgspec

from quaff.model.codec import readable


class Picture(NamedTuple):
    """The contents by key; lists have their head, where ``claim`` takes, first. A part of it is a picture, too."""

    msg: dict[bytes, bytes]
    active: dict[bytes, bytes]
    tries: dict[bytes, bytes]
    history: dict[bytes, bytes]
    claims: dict[bytes, bytes]
    res: dict[bytes, bytes]
    tomb: dict[bytes, bytes]
    meta: dict[bytes, bytes]
    ghosts: dict[bytes, bytes]
    stop: dict[bytes, bytes]
    parked: dict[bytes, float]
    sched: dict[bytes, float]
    held: dict[bytes, float]
    lease: dict[bytes, float]
    done: dict[bytes, float]
    dead: dict[bytes, float]
    ready: list[bytes]
    solo: list[bytes]
    wake: list[bytes]
    route: dict[bytes, bytes]
    uniq: dict[bytes, bytes]
    heirs: dict[bytes, bytes]
    spot: dict[bytes, bytes]
    credit: dict[bytes, bytes]
    stalled: dict[bytes, bytes]
    limits: dict[bytes, bytes]
    slots: dict[bytes, bytes]
    prio: dict[bytes, float]
    lapses: dict[bytes, float]
    turn: dict[bytes, float]
    backlog: dict[bytes, float]
    waits: dict[bytes, float]
    opens: dict[bytes, float]
    rates: dict[bytes, float]
    audit: list[bytes]
    sched_def: dict[bytes, bytes]
    sched_state: dict[bytes, bytes]
    sched_next: dict[bytes, float]
    sched_seen: dict[bytes, float]
    guests: dict[bytes, float]
    blocks: dict[bytes, float]
    watched: dict[bytes, float]
    prog: dict[bytes, bytes]
    followed: dict[bytes, float]
    logs: dict[bytes, bytes]
    chunks: dict[bytes, bytes]
    away: dict[bytes, bytes]
    origin: dict[bytes, bytes]
    parcels: dict[bytes, bytes]
    outbox: dict[bytes, float]
    flows: dict[bytes, bytes]
    nodes: dict[bytes, bytes]
    edges: dict[bytes, bytes]
    values: dict[bytes, bytes]
    drafts: dict[bytes, bytes]
    member: dict[bytes, bytes]
    steps: dict[bytes, bytes]
    signals: dict[bytes, bytes]
    told: dict[bytes, bytes]
    recent: list[bytes]
    called_off: list[bytes]
    tasks: dict[bytes, bytes]
    tasks_until: dict[bytes, float]
    series: dict[bytes, bytes]
    series_until: dict[bytes, float]
    failures: dict[bytes, bytes]
    failures_until: dict[bytes, float]
    workers: dict[bytes, bytes]
    workers_until: dict[bytes, float]
    requests: dict[bytes, float]
    dumps: dict[bytes, bytes]
    dumps_until: dict[bytes, float]
    alerts: dict[bytes, bytes]

    def lines(self) -> tuple[list[bytes], list[bytes], Counter[bytes]]:
        """``ready`` and ``solo`` without their ghosts, and the ghosts that stand in no line."""
        ghosts = Counter({ghost: whole(count) for ghost, count in self.ghosts.items()})
        found: list[list[bytes]] = []
        for mark, line in ((b"", self.ready), (b"!", self.solo)):
            living: list[bytes] = []
            for id in line:
                if ghosts[mark + id] > 0:
                    ghosts[mark + id] -= 1
                else:
                    living.append(id)
            found.append(living)
        return found[0], found[1], +ghosts

    def number(self, name: str) -> int:
        """A counter of ``meta``."""
        return whole(self.meta.get(name.encode(), b"0"))

    def route_of(self, id: bytes) -> list[object]:
        """What a job asks for beyond a place in line; see ``lib/route.lua``."""
        return read_route(self.route[id]) or NO_ROUTE if id in self.route else NO_ROUTE

    def unique_key(self, id: bytes) -> bytes:
        """Its unique key, or nothing."""
        return str(self.route_of(id)[1]).encode()

    def waiting_nodes(self) -> dict[bytes, bytes]:
        """The jobs of flows that wait for others, each with its place."""
        found: dict[bytes, bytes] = {}
        for field, text in self.nodes.items():
            if read_node(text) == "":
                found[text[-16:]] = field
        return found


#: What a job asks for that asks for nothing, or whose route nobody can read: the scripts see it likewise.
NO_ROUTE: list[object] = [0, "", "done", "", 1, [], 0]
_Route = tuple[float, str, str, str, float, list[tuple[str, float]], float]


def whole(text: bytes) -> int:
    """A number that is kept as text; 0 where it was damaged."""
    return readable(int, text, 0)


def read_route(text: bytes) -> list[object] | None:
    """What is in ``route``; None where it was damaged."""
    return readable(_read_route, text, None)


def _read_route(text: bytes) -> list[object]:
    found: list[object] = msgspec.msgpack.decode(text)
    msgspec.convert(found[:7], _Route)
    return found


def read_node(text: bytes) -> str | None:
    """How a node stands; None where it was damaged."""
    # The job's id, the last part, is no text, so that it is cut off.
    return readable(lambda cut: str(msgspec.msgpack.decode(cut)[0]), b"\x99" + text[1:-17], None)


#: What kind of key each name is, as its values say.
_KINDS: dict[Any, str] = {dict[bytes, bytes]: "hash", dict[bytes, float]: "zset", list[bytes]: "list"}
KINDS = {name: _KINDS[kind] for name, kind in get_type_hints(Picture).items()}
EMPTY = Picture(*(get_origin(kind)() for kind in get_type_hints(Picture).values()))
