"""S8: whoever looks at what was damaged is told so, or sees what can be read; nothing else is raised."""

from __future__ import annotations

import os

import pytest

from quaff import Inspector, QuaffError
from quaff.audit.picture import KINDS
from quaff.model.states import JobState
from quaff.store.keys import NAMES
from tests.damaged.damage import in_place, some
from tests.damaged.readers import readers, screens
from tests.damaged.world import QUEUES, World

FULL = bool(os.environ.get("FULL"))
#: Damages of one kind of key, others each time, and of how many jobs each is looked at.
MOST, EVERY = (100 if FULL else 3), 5
pytestmark = pytest.mark.only("valkey", why="bytes are the same on each")


@pytest.mark.timeout(3600 if FULL else 60)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_damaged_is_told_or_left_out(world: World, name: str) -> None:
    """S8, F56: bits, ends and bombs in each kind of key, before each way to look; none of them is without a value."""
    assert name in world.stored, f"nothing in tests/damaged/world.py stores {name}"
    most = [*readers(world, every=EVERY)]
    all_ = [*most, *screens(world)] if FULL else most
    try:
        for number, damage in enumerate(some(in_place(KINDS[name], world.value(name)), MOST, name), 1):
            world.put(name, damage)
            # A page takes its time.
            for what, read in most if number % 10 else all_:
                try:
                    read()
                except QuaffError:
                    pass
                except Exception as error:
                    error.add_note(f"{what}, with {name} as {str(damage)[:2000]}")
                    raise
    finally:
        world.mend()


@pytest.mark.parametrize("word", ["open", "s"])
@pytest.mark.parametrize("damage", [b"?", None])
def test_a_flow_whose_numbers_are_damaged_is_shown_with_all_its_jobs(
    world: World, word: str, damage: bytes | None
) -> None:
    """S8: what cannot be read counts as nothing, and takes the place of nothing else in the answer."""
    flows = world.value("flows")
    assert isinstance(flows, dict)
    fields = {field for field in flows if field[16:] == word.encode()}
    here = [id for id in world.flows if bytes.fromhex(id[-32:]) in {field[:16] for field in fields}]
    before = [[node.name for node in world.quaff.flow(id).graph()] for id in world.flows]
    kept = {field: damage if field in fields else value for field, value in flows.items()}
    try:
        world.put("flows", {field: value for field, value in kept.items() if value is not None})
        assert [[node.name for node in world.quaff.flow(id).graph()] for id in world.flows] == before
        name = {"open": JobState.RUNNING, "s": JobState.SUCCEEDED}[word]
        assert here
        assert [world.quaff.flow(id).counts()[name] for id in here] == [0] * len(here)
    finally:
        world.mend()


@pytest.mark.parametrize("token", [b"claim.1,1", b"claim.1.", b"claim.1.~0!", b"", b"claim.1." + b"9" * 5000])
def test_a_running_job_whose_token_is_damaged_is_listed(world: World, token: bytes) -> None:
    """S8: which attempt it is cannot be read; that it runs can."""
    active = world.value("active")
    assert isinstance(active, dict)
    try:
        world.put("active", dict.fromkeys(active, token))
        found = Inspector(world.quaff, QUEUES).jobs("state:running").jobs
        attempts = {row.id[-32:]: row.attempt for row in found}
        assert [attempts[id.hex()] for id in active] == [0] * len(active)
    finally:
        world.mend()


def test_a_flow_that_lacks_a_node_is_drawn_without_it(world: World) -> None:
    """S8: what comes after the one that is gone is there, and comes after nobody."""
    nodes = world.value("nodes")
    assert isinstance(nodes, dict)
    (id,) = [id for id in world.flows if bytes.fromhex(id[-32:]) + bytes([0, 0, 0, 1]) in nodes][:1]
    whole = world.quaff.flow(id).graph()
    gone = {name for node in whole for name in node.after}
    places = {node.name: bytes.fromhex(id[-32:]) + place.to_bytes(4, "big") for place, node in enumerate(whole)}
    assert gone
    try:
        world.put("nodes", {field: value for field, value in nodes.items() if field not in {places[n] for n in gone}})
        graph = world.quaff.flow(id).graph()
        assert {node.name for node in graph} == places.keys() - gone
        assert not any(node.after for node in graph)
    finally:
        world.mend()
