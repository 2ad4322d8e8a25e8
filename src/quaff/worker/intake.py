"""From a claim's answer to whoever runs its jobs: understood, put aside, gathered to batches, or handed to a runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from quaff.store.link import Link
from quaff.store.transitions import PORTION, Claimed
from quaff.worker.batching import Batches
from quaff.worker.blocking import Blocks
from quaff.worker.completer import Completer
from quaff.worker.executor import Executor
from quaff.worker.holdings import Holdings
from quaff.worker.line import Line
from quaff.worker.parking import Parking
from quaff.worker.ready import Claim, Finished, Parked, Ready
from quaff.worker.runners import Runner
from quaff.worker.starts import RECORDS
from quaff.worker.watch import Watch


class Intake:
    """Takes in what was claimed, and gives back what was not begun.

    Args:
        link: the connections of this process.
        held: what this process has under lease.
        executor, completer, watch, batches: the parts.
        runners: by kind, ``sync`` and ``async``.
    """

    def __init__(
        self,
        link: Link,
        held: Holdings,
        executor: Executor,
        completer: Completer,
        watch: Watch,
        batches: Batches,
        runners: Mapping[str, Runner],
    ) -> None:
        self._held = held
        self._executor = executor
        self._completer = completer
        self._watch = watch
        self._batches = batches
        self._runners = runners
        self._parking = Parking()
        self._blocks = Blocks(link)
        self._come: list[tuple[Line, Claimed, dict[str, int]]] = []

    def room(self, line: Line, *, ahead: bool) -> int:
        """How many jobs of a line may be claimed; without ``ahead`` those that would start at once."""
        if self._completer.refused(line.partition):
            return 0
        runners = [(self._runners[kind], share) for kind, share in line.shares.items()]
        room = min(int(runner.room(runner.prefetch.depth if ahead else 0) / share) for runner, share in runners)
        if room > 0:
            # One slot is enough for a whole batch.
            room = max(room, self._batches.missing(line.place, line.batch))
        return max(0, min(PORTION, room, RECORDS - len(self._held) - len(self) - len(self._completer)))

    def __len__(self) -> int:
        """Jobs that have come and are not sorted."""
        return sum(len(answer.leases) for _, answer, _ in self._come)

    def take(self, line: Line, answer: Claimed) -> None:
        """A line has handed out something: to be sorted while the server works on the next calls."""
        if not answer.leases:
            return
        self._blocks.learn(line.partition, answer.blocks)
        coming = {kind: ceil(len(answer.leases) * share) for kind, share in line.shares.items()}
        for kind, count in coming.items():
            self._runners[kind].coming += count
        self._come.append((line, answer, coming))
        if line.batch:
            # How many are missing to a batch has to be known before more are asked for.
            self.sort()

    def sort(self) -> bool:
        """Hand over what has come; True if there was something."""
        sorted_something = bool(self._come)
        for line, answer, coming in self._come:
            for kind, count in coming.items():
                self._runners[kind].coming -= count
            self._sort(line, answer)
        self._come.clear()
        return sorted_something

    def _sort(self, line: Line, answer: Claimed) -> None:
        ready: dict[str, list[Ready]] = {kind: [] for kind in self._runners}
        for lease in answer.leases:
            each = Claim(line.place, line.partition, lease)
            prepared = self._executor.prepare(each, answer.now_ms)
            if answer.blocks and isinstance(prepared, Ready):
                prepared = self._blocks.sift(prepared)
            if not isinstance(prepared, Ready):
                self._held.take(each, None)
                self._cannot_run(prepared)
            elif prepared.task.settings.batch is not None:
                self._held.take(each, None)
                self._batches.add(prepared, alone=answer.alone)
            else:
                kind = _kind(prepared)
                self._held.take(each, self._runners[kind])
                ready[kind].append(prepared)
        line.learn({kind: len(jobs) for kind, jobs in ready.items()})
        for kind, jobs in ready.items():
            if jobs:
                self._runners[kind].submit(jobs)
                self._watch.wake()

    def begin_batches(self) -> None:
        """Hand over those that are complete, or have waited long enough."""
        for batch in self._batches.full():
            runner = self._runners[_kind(batch)]
            if runner.room(0) > 0:
                self._held.take(batch.claim, runner)
                runner.submit([batch])
                self._watch.wake()
            else:
                # The slot that was free when they came has been taken, and nothing waits in a busy worker.
                self._give_back([batch])

    def give_back_waiting(self, runner: Runner) -> None:
        """What a runner has not begun goes back."""
        self._give_back(runner.take_back())

    def give_back_batches(self) -> None:
        """What waits for company goes back."""
        self._give_back(self._batches.take_back())

    def _give_back(self, jobs: Sequence[Ready]) -> None:
        for job in jobs:
            self._held.give_back_waiting(job.all)

    def _cannot_run(self, prepared: Parked | Finished) -> None:
        if isinstance(prepared, Finished):
            self._completer.report(prepared)
        else:
            self._held.give_back(prepared.claim, park_ms=self._parking.park(prepared))


def _kind(job: Ready) -> str:
    return "async" if job.task.is_async else "sync"
