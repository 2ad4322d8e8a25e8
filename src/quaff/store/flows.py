"""Calls about flows: stored part after part, grown, gone through, looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from quaff.model.durability import Durability
from quaff.model.flow import MOST_BEHIND, MOST_NODES, Node, Seed, encode, node
from quaff.model.states import BY_LETTER, JobState
from quaff.store.assurance import assured
from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import BATCH, STEP, Call

#: Why nothing was added to a flow: it has ended or nobody knows it; others have added to it meanwhile; it is full; too
#: many wait for the one that adds.
ENDED, GROWN, FULL, WIDE = -1, -2, -3, -4

#: Bytes of nodes in one call.
_BYTES = 4 * 1024 * 1024


class Terms(NamedTuple):
    """How long a flow's outcome and its tombstone are kept, in milliseconds."""

    ttl_ms: int
    window_ms: int


class Graph(NamedTuple):
    """How a flow stands: ``state`` None while it runs, nodes by how they ended, and a page of its nodes."""

    state: JobState | None
    head: bytes
    size: int
    open: int
    ended: dict[JobState, int]
    nodes: list[Node]


def plant(
    home: Partition,
    flow: bytes,
    *,
    sower: bytes,
    again: bool,
    head: bytes,
    size: int,
    terms: Terms,
    seeds: Sequence[Seed],
    durability: Durability | None = None,
) -> Iterator[Call[Any]]:
    """Store a flow, or give nodes of one that has ended another run: call after call, of which a False ends all.

    Args:
        sower: random, for all these calls.
        size: how many nodes the flow has.
        seeds: those to store, in an order in which each comes before those that it waits for, or undoes: what has
            ended is undone, and the flow ends, perhaps before the next call.
        durability: the last call, behind which all of it is stored, is answered with an Assured.
    """
    to_end = [seed for seed in seeds if seed.spec.state == ""]
    numbers = (size, len(to_end), sum(len(seed.message) for seed in to_end), *terms)
    what = b"again" if again else b"new"
    fixed = (flow, sower, what, head, *(b"%d" % number for number in numbers))
    parts = list(_parts(seeds))
    for number, part in enumerate(parts, 1):
        which = b"f" * (number == 1) + b"l" * (number == len(parts))
        flat = (value for seed in part for value in _values(seed))
        call = Call(load("plant"), home, (*fixed, which, *flat), bool)
        yield call if durability is None or number < len(parts) else assured(call, durability)


def _parts(seeds: Sequence[Seed]) -> Iterator[list[Seed]]:
    part: list[Seed] = []
    size = 0
    for seed in seeds:
        if part and (len(part) == STEP or size + seed.size > _BYTES):
            yield part
            part, size = [], 0
        part.append(seed)
        size += seed.size
    yield part


def _values(seed: Seed) -> tuple[bytes, ...]:
    return b"%d" % seed.place, seed.id, seed.message, seed.route, seed.numbers, encode(seed.spec), encode(seed.edges)


def grow(
    home: Partition, flow: bytes, seed: Seed, *, after: Sequence[tuple[int, str]], adder: bytes, seen: int | None = None
) -> Call[int]:
    """Add a node that waits for those in ``after``; who waits for the job ``adder`` (empty: nobody) waits for it.

    Args:
        seen: how many nodes the flow had when ``after`` was looked up in it; None if that does not matter.

    Answers:
        its place, or one of ENDED, GROWN, FULL and WIDE.
    """
    _, *values = _values(seed)
    size = b"" if seen is None else b"%d" % seen
    most = (b"%d" % MOST_NODES, b"%d" % MOST_BEHIND)
    return Call(load("grow"), home, (flow, *values, encode(list(after)), adder, size, *most), int)


def advance(home: Partition, what: bytes, of: bytes, at: bytes) -> Call[bool]:
    """Go on ``at`` the place where another script had to leave off, with a flow, or with a node of one."""
    return Call(load("advance"), home, (what, of, at), bool)


def graph(
    home: Partition, flow: bytes, *, first: int = 0, most: int = BATCH, records: bool = False
) -> Call[Graph | None]:
    """How a flow stands, and ``most`` of its nodes (BATCH at most); None if nobody knows it."""
    args = (flow, b"%d" % first, b"%d" % most, b"1" if records else b"0")
    return Call(load("graph"), home, args, lambda reply: _graph(reply, first) if reply else None)


def _graph(reply: list[Any], first: int) -> Graph:
    letter, head, size, open_, *rest = reply
    if size > 2 * MOST_NODES:  # each may have one that undoes it
        raise ValueError(f"no flow has {size} jobs")
    words = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)
    nodes = [node(first + number, each, size) for number, each in enumerate(rest[4:])]
    return Graph(BY_LETTER.get(letter), head, size, open_, dict(zip(words, rest[:4], strict=True)), nodes)
