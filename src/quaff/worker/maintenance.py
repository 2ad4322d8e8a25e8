"""The chores of a supervisor, in a thread of their own: renew leases, sweep, give back what dead processes held.

No leader: every worker does this, and the scripts decide. While the server is away the chores wait for it; watching
the processes goes on meanwhile.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from quaff.errors import QuaffError
from quaff.model import outcome
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.transitions import STEP, Rules, heartbeat, reap, sweep
from quaff.worker.starts import Start

log = logging.getLogger("quaff.worker")

#: Seconds between two sweeps, at most: with the lease, the time after which the jobs of a lost machine run again.
_SWEEP = 2.0

_SILENT = Failure("poison", "lease", "the worker that ran it fell silent, and this was one time too many")


class Death(NamedTuple):
    """A process that is gone: what it had started (empty if that is nobody's fault), and how it ended."""

    process: bytes
    started: Sequence[Start]
    worker: str
    pid: int
    type: str
    message: str


class Chores:
    """Keeps the leases of a worker's processes and sweeps its queues.

    Args:
        store: the server.
        partitions: what this worker serves, in the order of its processes' lists.
        lease: seconds.
        rules: the limits for crashed jobs.
    """

    def __init__(self, store: Store, partitions: Sequence[Partition], lease: float, rules: Rules) -> None:
        self._store = store
        self._partitions = partitions
        self._lease = lease
        # Half a lease without a sweep counts as an outage, after which nothing is reaped for a while.
        self._between = min(_SWEEP, lease / 4)
        self._rules = rules
        self._alive: set[bytes] = set()
        self._deaths: deque[Death] = deque()
        self._call = threading.Event()
        self._closing = False
        self._away = False
        self._newcomer = True
        self._thread = threading.Thread(target=self._work, name="quaff-chores", daemon=True)
        self._thread.start()

    def add(self, process: bytes) -> None:
        """A process has started."""
        self._alive.add(process)

    def bury(self, death: Death) -> None:
        """A process is gone: its jobs are given back at once."""
        self._alive.discard(death.process)
        self._deaths.append(death)
        self._call.set()

    def close(self, seconds: float) -> None:
        """Finish the burials, for at most that long."""
        self._closing = True
        self._call.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        beat = swept = 0.0
        while True:
            now = time.monotonic()
            try:
                while self._deaths:
                    self._give_back(self._deaths[0])
                    self._deaths.popleft()
                if self._closing:
                    return
                if now >= beat:
                    self._renew()
                    beat = now + self._lease / 3
                if now >= swept:
                    self._sweep()
                    swept = now + self._between * random.uniform(0.7, 1.0)
            except QuaffError as error:
                self._wait_out(error)
                continue
            self._away = False
            self._call.wait(max(0.0, min(beat, swept) - time.monotonic()))
            self._call.clear()

    def _wait_out(self, error: QuaffError) -> None:
        if self._closing:
            return
        if not self._away:
            log.error("%s; leases cannot be renewed meanwhile", error)
        self._away = True
        time.sleep(random.uniform(0.1, 0.5))

    def _renew(self) -> None:
        processes = list(self._alive)
        if processes:
            lease_ms = int(self._lease * 1000)
            self._store.run_many([heartbeat(each, lease_ms=lease_ms, processes=processes) for each in self._partitions])

    def _sweep(self) -> None:
        poison = outcome.encode(Outcome("", 0, Attempt(0, 0, int(time.time() * 1000), "", 0, "poison", _SILENT)))
        for partition in self._partitions:
            more, unpark = True, self._newcomer
            while more and not self._deaths:
                swept = self._store.run(
                    sweep(partition, lease_ms=int(self._lease * 1000), rules=self._rules, poison=poison, unpark=unpark)
                )
                # Parked jobs come back once: if nobody here knows them they will be parked again.
                unpark = unpark and swept.unparked == STEP
                more = swept.more
                if swept.taken:
                    log.warning("%s: took %d jobs back from workers that fell silent", partition.queue, swept.taken)
        self._newcomer = False

    def _give_back(self, death: Death) -> None:
        now = int(time.time() * 1000)
        for place, partition in enumerate(self._partitions):
            charged = [(start.id, *_records(start, death, now)) for start in death.started if start.partition == place]
            more = True
            while more:
                back, dead, more = self._store.run(
                    reap(partition, process=death.process, rules=self._rules, started=charged)
                )
                if back or dead:
                    log.warning(
                        "%s: gave back %d jobs of process %d, %d are poison", partition.queue, back, death.pid, dead
                    )


def _records(start: Start, death: Death, now: int) -> tuple[bytes, bytes]:
    """The attempt as it is remembered, and the outcome if this crash is the last one allowed."""
    number = int(start.token.rstrip(b"!").rpartition(b".")[2])
    failure = Failure("poison", death.type, death.message)
    attempt = Attempt(number, start.started_ms, now, death.worker, death.pid, "crashed", failure)
    # Number 0: the crash itself is in the history already.
    last = Attempt(0, start.started_ms, now, death.worker, death.pid, "poison", failure)
    return outcome.encode(attempt), outcome.encode(Outcome("", 0, last))


def new_process_id() -> bytes:
    """Random per start, never a host name or pid: a restarted container must not look like the one that died."""
    return os.urandom(8)
