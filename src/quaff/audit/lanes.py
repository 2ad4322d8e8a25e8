"""Jobs with a limit or a fair key that nobody calls: each lane has a turn, or a limit that will call it."""

from __future__ import annotations

from collections.abc import Iterator

from quaff.audit.picture import Picture, whole
from quaff.audit.rules import Finding
from quaff.store import pages
from quaff.store.keys import Partition
from quaff.store.probe import Command, Line

#: Suspects that are looked at again; an audit after the repair of these finds the others.
_SUSPECTS = 1000


def uncalled(line: Line, home: Partition, torn: Picture) -> Iterator[Finding]:
    """A job of each lane that no turn and no limit will call, and jobs whose place in their lane is not known."""
    waiting: dict[bytes, list[bytes]] = {}
    for entry in torn.waits:
        waiting.setdefault(entry[-16:], []).append(entry)
    first: dict[bytes, bytes] = {}
    lost = []
    for member in torn.backlog:
        lane = member[:16]
        if lane not in torn.turn and lane not in waiting:
            first[lane] = min(member, first.get(lane, member))
        elif torn.spot.get(member[24:]) != member[16:24]:
            lost.append(member)
    for lane in list(first)[:_SUSPECTS]:
        entry = _next_of(line, home, lane, waiting.get(lane, []))
        if entry:
            yield Finding("lane", entry[24:], "its lane has no turn, and no limit will call it", (entry,))
    for member in lost[:_SUSPECTS]:
        asked = [("ZSCORE", home.key("backlog"), member), ("HGET", home.key("spot"), member[24:])]
        there, spot = pages.atomically(line, asked)
        if there is not None and spot != member[16:24]:
            yield Finding("lane", member[24:], "where it stands in its lane is not known", (member,))


def _next_of(line: Line, home: Partition, lane: bytes, entries: list[bytes]) -> bytes:
    """The first entry of a lane, if nobody calls it; entries: in which it may stand in line."""
    (stalled,) = line.ask([("HGET", home.key("stalled"), lane)])
    found, turn, now, *places = pages.atomically(
        line,
        [
            _first(home, "backlog", lane),
            ("ZSCORE", home.key("turn"), lane),
            ("HGET", home.key("stalled"), lane),
            *(("ZSCORE", home.key("waits"), entry) for entry in {stalled or b"", *entries}),
        ],
    )
    called = turn is not None or now != stalled or any(place is not None for place in places)
    return b"" if called or not found else bytes(found[0])


def becalmed(line: Line, home: Partition, torn: Picture) -> Iterator[Finding]:
    """The limits at which somebody is in line, and nobody will call: nothing is taken that could come back."""
    first: dict[bytes, bytes] = {}
    for entry in torn.waits:
        first[entry[:33]] = min(entry, first.get(entry[:33], entry))
    suspects = [
        limit
        for limit, entry in first.items()
        if entry[-16:] not in torn.turn and (limit not in torn.opens and not whole(torn.slots.get(limit, b"0")))
    ]
    for limit in suspects[:_SUSPECTS]:
        (before,) = line.ask([_first(home, "waits", limit)])
        if not before:
            continue
        entries, jobs, turn, taken, opens, numbers = pages.atomically(
            line,
            [
                _first(home, "waits", limit),
                _first(home, "backlog", before[0][-16:]),
                ("ZSCORE", home.key("turn"), before[0][-16:]),
                ("HGET", home.key("slots"), limit),
                ("ZSCORE", home.key("opens"), limit),
                ("HMGET", home.key("limits"), *_numbers(limit)),
            ],
        )
        most = next((each for each in numbers if each is not None), b"0 1 1").split(b" ")[0]
        waits = entries == before and jobs and turn is None and opens is None
        if waits and not whole(taken or b"0") and whole(most) > 0:
            yield Finding("limit", limit, "a lane stands in line at it, there is room, and nobody will call it")


def unnumbered(line: Line, home: Partition, torn: Picture) -> Iterator[Finding]:
    """The limits of which nobody knows any more how much they let through: nothing does, so their jobs wait."""
    suspects: dict[bytes, bytes] = {}
    for id in torn.route.keys() - torn.tomb.keys():
        limits: list[tuple[str, int]] = torn.route_of(id)[5]  # type: ignore[assignment]
        for name, _ in limits:
            if not any(each in torn.limits for each in _numbers(name.encode())):
                suspects[name.encode()] = id
    for limit, id in list(suspects.items())[:_SUSPECTS]:
        asked = [("HEXISTS", home.key("route"), id), ("HMGET", home.key("limits"), *_numbers(limit))]
        there, numbers = pages.atomically(line, asked)
        if there and not any(numbers):
            yield Finding(
                "no numbers", limit, "jobs have this limit, and what it lets through is not known: nothing begins"
            )


def _first(home: Partition, name: str, prefix: bytes) -> Command:
    return ("ZRANGEBYLEX", home.key(name), b"[" + prefix, b"(" + prefix + b"\xff", "LIMIT", 0, 1)


def _numbers(limit: bytes) -> tuple[bytes, ...]:
    """Where its numbers may be, the first ones first; see ``lib/limits.lua``."""
    return limit + b"!", limit[17:] + b"!", limit[17:]
