"""What a supervisor does for its queues, once each time it is asked: sweep, fire schedules, deliver."""

from __future__ import annotations

from collections.abc import Sequence

from quaff.app import Quaff
from quaff.model import outcome
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.source import Source
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.transitions import Kept, Rules, Swept, heartbeat, sweep
from quaff.testing.clock import Clock
from quaff.worker.courier import Courier
from quaff.worker.timekeeping import Timekeeper


class Chores:
    """The chores of one kit.

    Args:
        app: the application; ``store``: its server.
        partitions: those that there are; more come to light.
        process: the id of the worker's one process.

    Attributes:
        soon: milliseconds until there is more to do, as far as the last round has found out.
    """

    def __init__(self, app: Quaff, store: Store, partitions: Sequence[Partition], process: bytes) -> None:
        s = app.settings
        self._store, self._partitions, self._process = store, partitions, process
        self._lease_ms = int(s.lease * 1000)
        window_ms = int(s.key_window * 1000)
        self._rules = Rules(s.max_crashes, int(s.failed_ttl * 1000), window_ms)
        self._keep = Kept(s.failed_count, s.failed_bytes)
        source = Source(s.namespace, s.seals)
        self._timekeeper = Timekeeper(store, source, partitions, "test", s.lease, int(s.result_ttl * 1000), window_ms)
        places = {(home.queue, home.number): place for place, home in enumerate(partitions)}
        self._timekeeper.learn(
            [
                (places[each.queue, 0], each.name, source.seal(each.queue, each.name, each.definition))
                for each in app.declared_schedules.values()
            ]
        )
        self._courier = Courier(store, s.namespace, partitions, window_ms)
        self.soon: list[int] = []

    def do(self) -> bool:
        """Whatever is to be done now; True if jobs may have come by it."""
        self._timekeeper.declare()
        came = False
        self.soon = []
        for place, home in enumerate(list(self._partitions)):
            self._store.run(heartbeat(home, lease_ms=self._lease_ms, processes=[self._process]))
            swept = self._sweep(home)
            while swept.more:
                swept = self._sweep(home)
            if swept.schedule_ms == 0:
                self._timekeeper.fire(place)
                came = True
            if swept.parcel_ms == 0:
                self._courier.deliver(place)
                came = True
            self.soon += [ms for ms in (swept.schedule_ms, swept.parcel_ms) if ms is not None]
        return came

    def move(self, clock: Clock, to_ms: int) -> None:
        """Let it be that time, and do what has become due, as a worker that has been there all along, and is late."""
        self._timekeeper.declare()
        clock.now_ms = max(clock.now_ms, to_ms)
        # Before anybody sweeps: that would notice that there was no worker for a while, and call what is due missed.
        for place in range(len(self._partitions)):
            while self._timekeeper.fire(place) <= 0.001:
                pass
        self.do()

    def _sweep(self, home: Partition) -> Swept:
        silent = Failure("poison", "lease", "the worker that ran it fell silent")
        poison = outcome.encode(Outcome("", 0, Attempt(0, 0, 0, "", 0, "poison", silent)))
        return self._store.run(
            sweep(home, lease_ms=self._lease_ms, rules=self._rules, keep=self._keep, poison=poison, unpark=False)
        )
