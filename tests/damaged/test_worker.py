"""S8: a worker lives among what was damaged, and serves those that have nothing to do with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quaff.audit.picture import KINDS
from quaff.store.keys import NAMES
from tests.damaged.damage import in_place, some
from tests.damaged.world import QUEUES, World
from tests.helpers import Program
from tests.matrix import WORKER, known_as
from tests.worker.support import children

ROOT = Path(__file__).parents[2]
FULL = bool(os.environ.get("FULL"))
#: Damages of one kind of key, others each time.
MOST = 60 if FULL else 2
pytestmark = pytest.mark.only("valkey", why="bytes are the same on each")


@pytest.fixture
def world(server_url: str) -> Iterator[World]:
    """One of its own: what a worker has done cannot be mended."""
    world = World(server_url)
    world.resume()
    yield world
    world.end()


@pytest.mark.timeout(3600 if FULL else 60)
def test_a_worker_lives_among_what_is_damaged(
    world: World, server_url: str, start_worker: Callable[..., Program]
) -> None:
    """S8, F45, F56: one damage after the other while it works; its processes stay, and another queue is served."""
    env = {"QUAFF_URL": known_as(WORKER, server_url), "QUAFF_NAMESPACE": world.namespace, "QUAFF_LEASE": "2"}
    worker = start_worker("tests.golden.app:quaff", "-p", "1", "-Q", ",".join((*QUEUES, "probe")), cwd=ROOT, env=env)
    before = children(worker)
    probe = world.quaff.tasks["value"].options(queue="probe")
    for number in range(MOST):
        for place, name in enumerate(NAMES):
            if not (value := world.value(name)):
                continue
            (damage,) = some(in_place(KINDS[name], value), 1, f"{name} {number}")
            world.put(name, damage)
            if place % 8 == 0:
                assert probe.delay(place).result(timeout=20) == place
        assert children(worker) == before, worker.output
        assert not any("Traceback" in line for line in worker.stderr), worker.output
        world.mend()
    assert worker.stop() == 0, worker.output
