"""S8: what people look at and nobody can read is not left out: it is seen to be ``corrupt``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quaff import Inspector, QuaffError
from quaff.audit.picture import KINDS
from quaff.model.ids import JobId
from quaff.model.tail import framed
from tests.damaged.readers import audit
from tests.damaged.world import QUEUES, World

NOISE = b"\xc1 nobody wrote this"
pytestmark = pytest.mark.only("valkey", why="bytes are the same on each")


def job(world: World, name: str) -> str:
    """One that has something there."""
    (raw, *_) = [field for field in world.value(name) if len(field) == 16]
    return str(JobId(world.stored[name].queue, 0, raw))


#: What shows it, by the kind of key.
SHOWN: dict[str, Callable[[World], object]] = {
    "res": lambda world: [*Inspector(world.quaff, QUEUES).failed()],
    "history": lambda world: world.quaff.job(job(world, "history")).info(),
    "logs": lambda world: world.quaff.job(world.running).info(),
    "chunks": lambda world: [*world.quaff.job(world.running).stream(timeout=0)],
    "steps": lambda world: world.quaff.job(world.running).info(),
    "audit": lambda world: world.quaff.queue(world.stored["audit"].queue).changes(),
    "blocks": lambda world: world.quaff.queue(world.stored["blocks"].queue).blocked(),
    "sched_def": lambda world: world.quaff.schedules.list(),
    "nodes": lambda world: [world.quaff.flow(id).graph() for id in world.flows],
    "route": audit,
    "failures": lambda world: Inspector(world.quaff, QUEUES).failures(),
    "recent": lambda world: Inspector(world.quaff, QUEUES).jobs("state:succeeded"),
    "called_off": lambda world: Inspector(world.quaff, QUEUES).jobs("state:cancelled"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_cannot_be_read_is_seen_to_be_corrupt(world: World, name: str) -> None:
    """S8: on the screen, in the list, or in the error that says so."""
    assert "corrupt" not in _look(world, name)
    value = world.value(name)
    noise = framed(NOISE) if name in ("logs", "chunks") else NOISE
    if isinstance(value, list):
        damage: dict[bytes, object] | list[bytes] = [noise] * len(value)
    elif KINDS[name] == "zset":
        damage = {noise: 1}
    else:
        damage = {
            field: kept if name in ("logs", "chunks") and len(field) == 16 else noise for field, kept in value.items()
        }
    try:
        world.put(name, damage)
        assert "corrupt" in _look(world, name)
    finally:
        world.mend()


def _look(world: World, name: str) -> str:
    try:
        return repr(SHOWN[name](world)).lower()
    except QuaffError as error:
        return f"{type(error).__name__}: {error}".lower().replace("cannot be read", "corrupt")
