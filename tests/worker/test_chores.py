"""What a supervisor does for its processes, one step at a time."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from quaff.model.source import Source
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.store.transitions import Kept, Rules
from quaff.worker.courier import Courier
from quaff.worker.maintenance import Chores
from quaff.worker.timekeeping import Timekeeper
from tests.helpers import wait_until


def _chores(store: Store, namespace: str, *queues: str) -> Chores:
    """Those of a worker of these queues."""
    homes = [partition(namespace, queue) for queue in queues]
    keeper = Timekeeper(store, Source(namespace), homes, "test", 30.0, 1000, 1000)
    courier = Courier(store, namespace, homes, 1000)
    return Chores(store, homes, 30.0, Rules(3, 1000, 1000), Kept(10, 1000), keeper, courier)


def _sweep_twice(store: Store, namespace: str, made: Callable[[Chores, list[int], Callable[[], float]], float]) -> None:
    """A sweep is asked for, and another one comes of how it is ``made``: from those begun so far and the usual step."""
    chores = _chores(store, namespace, "q")
    (sweep,) = chores._sweeps
    begun: list[int] = []
    usual = sweep.step

    def step() -> float:
        begun.append(1)
        return made(chores, begun, usual)

    wait_until(lambda: sweep.at > 1, 5, "the first sweep")
    sweep.step = step
    chores.hurry(0)
    wait_until(lambda: len(begun) == 2, 1.0, "the second sweep")
    chores.close(5)
    store.endpoint.abandon_pool()


def test_a_sweep_that_is_asked_for_during_a_sweep_is_done_after_it(server_url: str, namespace: str) -> None:
    """F60: a job is called off while the sweep that would have found it has passed it already."""

    def made(chores: Chores, begun: list[int], usual: Callable[[], float]) -> float:
        if len(begun) == 1:
            chores.hurry(0)
        return usual()

    _sweep_twice(Store(Endpoint(server_url, "a test", 5), 5), namespace, made)


def test_a_sweep_that_is_asked_for_while_the_next_one_is_put_down_is_done_at_once(
    server_url: str, namespace: str
) -> None:
    """F60: its time is computed from what was there before, and written over what came meanwhile."""

    def made(chores: Chores, begun: list[int], usual: Callable[[], float]) -> float:
        class Pause(float):
            """Seconds, and somebody asks while they are added to the time."""

            def __radd__(self, now: float) -> float:
                if len(begun) == 1:
                    other = threading.Thread(target=chores.hurry, args=[0])
                    other.start()
                    other.join()
                return now + float(self)

        return Pause(usual())

    _sweep_twice(Store(Endpoint(server_url, "a test", 5), 5), namespace, made)


def test_a_server_that_is_away_is_told_once_for_all_queues(caplog: pytest.LogCaptureFixture, namespace: str) -> None:
    """And again for none of them as long as it is away."""
    store = Store(Endpoint("redis://127.0.0.1:1", "a test", 0.05), 0.05)
    tried: Counter[str] = Counter()

    def counted(name: str, usual: Callable[[], float]) -> Callable[[], float]:
        def step() -> float:
            tried[name] += 1
            return usual()

        return step

    with caplog.at_level(logging.ERROR, "quaff.worker"):
        chores = _chores(store, namespace, "a", "b", "c")
        for sweep in chores._sweeps:
            sweep.step = counted(sweep.name, sweep.step)
        wait_until(lambda: len(tried) == 3 and min(tried.values()) >= 2, 20, "two tries for each queue")
        chores.close(5)
    assert sum("no Valkey or Redis answers" in record.getMessage() for record in caplog.records) == 1
