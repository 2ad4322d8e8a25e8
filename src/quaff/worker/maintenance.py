"""The chores of a supervisor, in a thread of their own: renew leases, sweep, give back what dead processes held.

No leader: every worker does this, and the scripts decide. While the server is away the chores wait for it; watching
the processes goes on meanwhile.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from quaff.errors import QuaffError
from quaff.model import outcome
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.store.client import Store
from quaff.store.keys import Partition, partition
from quaff.store.queries import asked
from quaff.store.transitions import BATCH, End, Kept, Rules, attempt_of, heartbeat, reap, sweep
from quaff.worker.courier import Courier
from quaff.worker.presence import Presence
from quaff.worker.starts import Start
from quaff.worker.timekeeping import Timekeeper

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds between two sweeps of one worker: with the lease, the time after which the jobs of a lost machine run again.
_SWEEP = 2.0
#: So many processes sweep as often as one would; where there are more, each leaves some of it to the others.
_FEW = 8

_LATE = "it ran longer than its limit (timeout=), and its process had to be ended"
#: Jobs of one dead process that the log names.
_NAMED = 10
_SILENT = Failure("poison", "lease", "the worker that ran it fell silent, and this was one time too many")


class Death(NamedTuple):
    """A process that is gone: what it had started (empty if that is nobody's fault), and how it ended.

    ``started``: each with the letter of what becomes of it (see ``transitions.End``).
    """

    process: bytes
    started: Sequence[tuple[Start, str]]
    worker: str
    pid: int
    type: str
    message: str


@dataclass
class Chore:
    """Something done again and again, in small steps.

    Attributes:
        name: as the log calls it.
        step: does one; returns the seconds until the next one.
        at: monotonic time of that; the chores' own thread alone sets it.
        asked: somebody wants it now, from any thread; its step may have begun before there was a reason.
        trouble: the last step failed with this, and the log says so.
    """

    name: str
    step: Callable[[], float]
    at: float = 0.0
    asked: bool = False
    trouble: str = ""

    @property
    def when(self) -> float:
        """Monotonic time at which it is due."""
        return 0.0 if self.asked else self.at


class Chores:
    """Keeps the leases of a worker's processes, sweeps its queues, fires their schedules and delivers for them.

    One step at a time, the most important first, so that no backlog of one chore and no error in another keeps the
    leases from being renewed.

    Args:
        store: the server.
        partitions: what this worker serves, in the order of its processes' lists; those that come to light are added.
        lease: seconds.
        rules: the limits for crashed jobs.
        keep: how many dead letters.
        timekeeper: knows the schedules.
        courier: delivers to other partitions.

    Attributes:
        running: place of the partition and id of what runs in this worker, as its supervisor saw last.
        asked: those of them that were asked to stop.
        turned_at, answered_at: monotonic seconds at which a step was begun last, and at which one went well.
        renewed_at: and at which a renewal of all leases began that went well.
    """

    def __init__(
        self,
        store: Store,
        partitions: list[Partition],
        lease: float,
        rules: Rules,
        keep: Kept,
        timekeeper: Timekeeper,
        courier: Courier,
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._lease = lease
        self._lease_ms = int(lease * 1000)
        self._rules = rules
        self._keep = keep
        self.running: list[tuple[int, bytes]] = []
        self.asked: set[tuple[int, bytes]] = set()
        self._alive: set[bytes] = set()
        self._burials: deque[tuple[Death, int]] = deque()
        self._unpark: set[Partition] = set()
        self._call = threading.Event()
        self._closing = False
        self.turned_at: float = time.monotonic()
        self.answered_at: float = self.turned_at
        self.renewed_at: float = self.turned_at
        self._funeral = Chore("giving back the jobs of a dead process", self._bury)
        self._beat = Chore("renewing leases", self._renew)
        self._timekeeper, self._courier = timekeeper, courier
        self._declaring = Chore("declaring schedules", timekeeper.declare)
        self._presence: Presence | None = None
        self._telling = Chore("telling what runs here", self._tell, math.inf)
        self._sweeps: list[Chore] = []
        self._firing: list[Chore] = []
        self._delivering: list[Chore] = []
        for home in partitions:
            self._take_on(home)
        self._thread = threading.Thread(target=self._work, name="quaff-chores", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether they are still done."""
        return self._thread.is_alive()

    def introduce(self, presence: Presence) -> None:
        """Tell what this worker says of itself, too."""
        self._presence = presence
        self.hear()

    def add(self, process: bytes) -> None:
        """A process has started. One that was there before these chores were may have claimed a while ago."""
        self._alive.add(process)
        self.renew()

    def renew(self) -> None:
        """Renew the leases now; from any thread."""
        self._beat.asked = True
        self._call.set()

    def bury(self, death: Death) -> None:
        """A process is gone: its jobs are given back at once."""
        self._alive.discard(death.process)
        self._name_those_concerned(death)
        self._burials.extend((death, place) for place in range(len(self._partitions)))
        self._call.set()

    def hurry(self, place: int) -> None:
        """Sweep this queue now; from any thread."""
        self._sweeps[place].asked = True
        self._call.set()

    def deliver(self, place: int) -> None:
        """Something is to be told to another partition; from any thread."""
        self._delivering[place].asked = True
        self._call.set()

    def hear(self, _: int = 0) -> None:
        """Something is asked of a worker, or can be answered; from any thread."""
        self._telling.asked = True
        self._call.set()

    def declare(self, schedules: Sequence[tuple[int, str, bytes]]) -> None:
        """The code that was started just now declares these schedules."""
        self._timekeeper.learn(schedules)
        self._declaring.asked = True
        self._call.set()

    def close(self, seconds: float) -> None:
        """Finish the burials, for at most that long."""
        self._closing = True
        self._call.set()
        self._thread.join(seconds)

    def _take_on(self, home: Partition) -> None:
        """Do for a partition what there is to do."""
        place = len(self._sweeps)
        self._unpark.add(home)
        self._sweeps.append(Chore(f"sweeping queue {home.queue}", partial(self._sweep, place)))
        fire, deliver = partial(self._timekeeper.fire, place), partial(self._courier.deliver, place)
        self._firing.append(Chore(f"firing schedules of queue {home.queue}", fire, math.inf))
        self._delivering.append(Chore(f"delivering for queue {home.queue}", deliver, math.inf))

    def _grow(self, first: Partition, count: int) -> None:
        """A queue has so many partitions: take on those that are not known here."""
        known = sum(each.queue == first.queue for each in self._partitions)
        for number in range(known, count):
            home = partition(first.namespace, first.queue, number)
            self._take_on(home)
            self._partitions.append(home)  # last: who sees it there may call for any of its chores

    def _name_those_concerned(self, death: Death) -> None:
        """The log of a process that is gone says which jobs that means, a few of them if they are many."""
        for letter, words in (
            ("x", f"ended early: {death.message}"),
            ("f", f"failed: {_LATE}"),
            ("r", f"is tried again: {_LATE}"),
        ):
            of = [(self._partitions[start.partition], start.id) for start, each in death.started if each == letter]
            for home, id in of[:_NAMED]:
                log.warning("%s %s", JobId(home.queue, home.number, id), words)
            if of[_NAMED:]:
                log.warning("and %d more %s", len(of) - _NAMED, words)

    def _work(self) -> None:
        while not self._closing or self._burials:
            now = self.turned_at = time.monotonic()
            funeral = [self._funeral] if self._burials else []
            waiting = [self._beat, *funeral, *sorted(self._rest(), key=lambda each: each.when)]
            due = next((chore for chore in waiting if chore.when <= now), None)
            if due is not None:
                self._do(due)
            else:
                self._call.wait(min(chore.when for chore in waiting) - now)
                self._call.clear()
        if self._presence is not None:
            with suppress(QuaffError):  # it is forgotten soon anyway
                self._presence.leave()

    def _do(self, chore: Chore) -> None:
        chore.asked = False  # before the step: who asks from here on has another one
        try:
            pause = chore.step()
        except Exception as error:  # noqa: BLE001  whatever it is, the other chores and the next try go on
            pause, text = random.uniform(0.1, 0.5), str(error) or repr(error)
            # A server that is away is one line, not one for each queue.
            if (
                not chore.trouble
                and not self._closing
                and text not in (each.trouble for each in (self._beat, self._funeral, *self._rest()))
            ):
                log.error("%s: %s; trying again", chore.name, text)
                chore.trouble = text
        else:
            chore.trouble = ""
            self.answered_at = time.monotonic()
        chore.at = time.monotonic() + pause

    def _rest(self) -> list[Chore]:
        """All that can wait for the leases and for those of a dead process."""
        return [*self._delivering, *self._firing, self._declaring, *self._sweeps, self._telling]

    def _renew(self) -> float:
        # Also where there is none: one that is started by and by has to be kept alive.
        began, processes = time.monotonic(), list(self._alive)
        self._store.run_many(
            [heartbeat(each, lease_ms=self._lease_ms, processes=processes) for each in self._partitions]
        )
        self.renewed_at = began
        return self._lease / 3

    def _tell(self) -> float:
        return self._presence.tell() if self._presence else math.inf

    def _sweep(self, place: int) -> float:
        home = self._partitions[place]
        poison = outcome.encode(Outcome("", 0, Attempt(0, 0, int(time.time() * 1000), "", 0, "poison", _SILENT)))
        unpark = home in self._unpark
        swept = self._store.run(
            sweep(home, lease_ms=self._lease_ms, rules=self._rules, keep=self._keep, poison=poison, unpark=unpark)
        )
        # Parked jobs come back once: if nobody here knows them they will be parked again.
        self._unpark.discard(home)
        if swept.taken:
            log.warning("%s: took %d jobs back from workers that fell silent", home.queue, swept.taken)
        self._grow(home, swept.partitions)
        self._ask(place, swept.asked)
        if swept.schedule_ms is not None:
            self._firing[place].at = min(self._firing[place].at, time.monotonic() + swept.schedule_ms / 1000)
        if swept.parcel_ms is not None:
            self._delivering[place].at = min(self._delivering[place].at, time.monotonic() + swept.parcel_ms / 1000)
        return 0.0 if swept.more else between_sweeps(self._lease, swept.processes) * random.uniform(0.7, 1.0)

    def _ask(self, place: int, count: int) -> None:
        """Which of our jobs are among the ``count`` that were asked to stop."""
        ids = [id for where, id in self.running if where == place]
        found: set[tuple[int, bytes]] = set()
        for at in range(0, len(ids) if count else 0, BATCH):
            some = ids[at : at + BATCH]
            answers = self._store.run(asked(self._partitions[place], some))
            found.update((place, id) for id, answer in zip(some, answers, strict=True) if answer)
        self.asked = {each for each in self.asked if each[0] != place} | found

    def _bury(self) -> float:
        death, place = self._burials[0]
        # To the end first: one that fails must not keep the others waiting.
        self._burials.rotate(-1)
        home, now = self._partitions[place], int(time.time() * 1000)
        ends = [_end(start, letter, death, now) for start, letter in death.started if start.partition == place]
        back, dead, more = self._store.run(reap(home, process=death.process, rules=self._rules, started=ends))
        if back or dead:
            log.warning("%s: gave back %d jobs of process %d, %d are given up", home.queue, back, death.pid, dead)
        if not more:
            self._burials.remove((death, place))
        return 0.0


#: How an attempt is remembered, by the letter of what becomes of its job.
_WORDS = {"x": "crashed", "u": "unsettled", "f": "failed", "r": "failed", "b": "released"}


def between_sweeps(lease: float, processes: int) -> float:
    """Seconds between two sweeps by one worker, at most, where so many processes serve the partition."""
    # Half a lease without a sweep counts as an outage, after which nothing is reaped for a while.
    most = lease / 4
    return min(most, min(_SWEEP, most) * max(1.0, processes / _FEW))


def _end(start: Start, letter: str, death: Death, now: int) -> End:
    """What becomes of a job that had begun: its attempt as it is remembered, and the outcome if it ends by this."""
    failure: Failure | None = None
    if letter in "xu":
        failure = Failure("poison", death.type, death.message)
    elif letter != "b":
        failure = Failure("timeout", "TimeLimit", _LATE)
    attempt = Attempt(attempt_of(start.token), start.started_ms, now, death.worker, death.pid, _WORDS[letter], failure)
    # Number 0: the attempt itself is in the history already.
    last = Attempt(0, start.started_ms, now, death.worker, death.pid, "failed", failure)
    delay_ms = max(1, int(start.pause * 1000))
    return End(start.id, letter, delay_ms, outcome.encode(attempt), outcome.encode(Outcome("", 0, last)))
