"""Flows as tests draw them, and the supervisors' part in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from quaff.model import ids, outcome
from quaff.model.flow import Edges, Seed, Spec, leaves_first
from quaff.model.states import JobState
from quaff.store.flows import Graph, Terms, graph, plant
from quaff.store.parcels import deliveries, outgoing, sent
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import HOUR, Desk, process_id, unchanged

ME = process_id()
TERMS = Terms(HOUR, HOUR)


class Drawn(NamedTuple):
    """A node of a test: whom it waits for and with which policy, how it ends if it runs, whether it is undone."""

    parents: dict[int, str]
    end: JobState = JobState.SUCCEEDED
    undone: bool = False
    case: str = ""


def seeds_of(nodes: Sequence[Drawn]) -> list[Seed]:
    """In the order in which they are stored."""
    children: dict[int, list[tuple[int, str]]] = {place: [] for place in range(len(nodes))}
    for place, node in enumerate(nodes):
        for parent, policy in node.parents.items():
            children[parent].append((place, policy))
    undoers = {place: len(nodes) + n for n, place in enumerate(p for p, node in enumerate(nodes) if node.undone)}
    found = [
        seed(
            place,
            f"n{place}",
            needs=len(nodes[place].parents),
            case=nodes[place].case,
            children=children[place],
            inputs=list(nodes[place].parents),
            parents=list(nodes[place].parents),
            undo=undoers.get(place, -1),
        )
        for place in leaves_first({place: [child for child, _ in below] for place, below in children.items()})
    ]
    return [seed(undoer, f"n{place}/undo", state="u", inputs=[place]) for place, undoer in undoers.items()] + found


def seed(place: int, name: str, **given: Any) -> Seed:
    edges = Edges(*(given.pop(word, ()) for word in ("children", "inputs", "parents")))
    return Seed(place, ids.new_raw(), b"\x01" + name.encode(), b"", b"\x90", Spec(name=name, **given), edges)


def elsewhere(node: Seed, queue: str) -> Seed:
    """That one, to run in another queue."""
    route = b"\x98\x00\xa0\xa4done\xa0\x01\x90\x00" + msgspec.msgpack.encode(f"{queue}#0")
    return msgspec.structs.replace(node, route=route)


def store(desk: Desk, seeds: Sequence[Seed], flow: bytes | None = None, **given: Any) -> bytes:
    """Plant a flow; its id."""
    flow = flow or ids.new_raw()
    options = {"sower": ids.new_raw(), "again": False, "head": b"head", "size": len(seeds), "terms": TERMS, **given}
    for call in plant(desk.home, flow, seeds=seeds, **options):
        assert desk.store.run(call)
        assert desk.store.run(call), "what is sent again is there"
    return flow


def stands(desk: Desk, flow: bytes) -> Graph:
    """All of a flow."""
    found = desk.store.run(graph(desk.home, flow, records=True))
    assert found is not None
    return found


def deliver(desk: Desk) -> None:
    """What the supervisors do, until there is nothing to deliver."""
    namespace = desk.home.prefix.partition("{")[2].partition("/")[0]
    while parcels := desk.store.run(outgoing(desk.home, hold_ms=60_000)):
        for call, names in deliveries(namespace, parcels, window_ms=HOUR):
            desk.store.run(call)
            desk.store.run(call)
            desk.store.run(sent(desk.home, again_ms=60_000, names=names))


def name_of(lease: Lease) -> str:
    """The name of a node by its message."""
    return lease.message.rpartition(b"\x01n")[2].decode()


def run_all(desk: Desk, ends: dict[str, JobState], choice: random.Random) -> list[str]:
    """Claim and settle, in any order, until nothing is left; the names in the order in which they ended."""
    order: list[str] = []
    held: list[Lease] = []
    while True:
        held += desk.take(ME, 3)
        if not held:
            deliver(desk)
            held += desk.take(ME, 3)
            if not held:
                return order
        lease = held.pop(choice.randrange(len(held)))
        state = ends[name_of(lease)]
        record = outcome.encode(outcome.Outcome(name_of(lease), 0, outcome.Attempt(1, 0, 0, "", 0, state)))
        assert desk.settle(ME, lease, state=state, record=record) == [Verdict.OK]
        assert unchanged(desk, lambda lease=lease: desk.settle(ME, lease)) == [Verdict.ALREADY]
        order.append(name_of(lease))
