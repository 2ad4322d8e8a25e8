"""What is taken of each concurrency limit is what runs under it: counted at one moment, where not too much runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from quaff.audit.picture import EMPTY, Picture, whole
from quaff.audit.rules import Finding
from quaff.store import pages
from quaff.store.keys import Partition
from quaff.store.mending import COUNTED
from quaff.store.probe import Line

_TRIES = 20


def overdrawn(line: Line, home: Partition, torn: Picture, unchecked: list[str]) -> Iterator[Finding]:
    """The limits of which more, or less, is taken than what runs; ``unchecked`` gets those that cannot be told."""
    taken = _sum(torn.active, torn.route, torn.guests)
    suspects = [name for name in {*taken, *torn.slots} if taken[name] != whole(torn.slots.get(name, b"0"))]
    routes: dict[bytes, bytes] = {}
    for name in suspects:
        found = _look(line, home, name, routes)
        if found is None:
            unchecked.append(f"what is taken of limit {name.decode(errors='replace')}: too much runs and changes")
        elif found[0] != found[1]:
            yield Finding("limit", name, f"{found[0]} is taken of it, and {found[1]} runs")


def _look(line: Line, home: Partition, name: bytes, routes: dict[bytes, bytes]) -> tuple[int, int] | None:
    """What is taken and what runs, at one moment at which what each running job asks for was known."""
    key = home.key
    commands = [
        ("HGET", key("slots"), name),
        ("ZRANGEBYLEX", key("held"), "-", "+", "LIMIT", 0, COUNTED),
        ("ZRANGEBYSCORE", key("guests"), "-inf", "+inf", "LIMIT", 0, COUNTED),
    ]
    for _ in range(_TRIES):
        used, held, guests = pages.atomically(line, commands)
        if len(held) >= COUNTED or len(guests) >= COUNTED:
            return None
        ids = [member[8:] for member in held]
        unknown = [id for id in ids if id not in routes]
        if not unknown:
            return whole(used or b"0"), _sum(ids, routes, guests)[name]
        asked = [("HGET", key(where), id) for id in unknown for where in ("route", "active")]
        places = [("ZSCORE", key("held"), member) for member in held if member[8:] in set(unknown)]
        replies = pages.atomically(line, [*asked, *places])
        # What one asks for never changes; of one that has ended meanwhile it is not known any more. One that is
        # held and does not run takes nothing.
        here = {
            command[2][8:] for command, score in zip(places, replies[len(asked) :], strict=True) if score is not None
        }
        for id, route, token in zip(unknown, replies[: len(asked) : 2], replies[1 : len(asked) : 2], strict=True):
            if token is not None:
                routes[id] = route or b""
            elif id in here:
                routes[id] = b""
    return None


def _sum(ids: Any, routes: dict[bytes, bytes], guests: Any) -> Counter[bytes]:
    taken: Counter[bytes] = Counter()
    for id in ids:
        asks: Any = EMPTY._replace(route={id: routes[id]} if routes.get(id) else {}).route_of(id)[5]
        for limit, cost in asks:
            if limit.startswith("c"):
                taken[limit.encode()] += cost
    for guest in guests:
        if guest.startswith(b"c"):
            taken[guest[:33]] += whole(guest[33:41])
    return taken
