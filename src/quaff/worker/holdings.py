"""The jobs that one process has under lease, and those among them that go back."""

from __future__ import annotations

from quaff.store.keys import Partition
from quaff.store.transitions import BATCH, Call, Verdict, release
from quaff.worker.executor import Claim
from quaff.worker.runners import Runner


class Holdings:
    """What is held. A job leaves it when its settle is on its way, or when its release was answered.

    Args:
        process: this process's id.
    """

    def __init__(self, process: bytes) -> None:
        self._process = process
        self._held: dict[bytes, tuple[Claim, Runner | None]] = {}
        self._back: list[tuple[Claim, int]] = []
        self._sent = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, claim: Claim, runner: Runner | None) -> None:
        """A job was claimed; ``runner`` has it, None if nobody here can run it."""
        self._held[claim.lease.id] = (claim, runner)

    def drop(self, claim: Claim) -> Runner | None:
        """A job is off the books; the runner that had it."""
        _, runner = self._held.pop(claim.lease.id, (claim, None))
        if runner is not None:
            runner.load -= 1
        return runner

    def give_back(self, claim: Claim, park_ms: int = 0) -> None:
        """A job that was not started goes back, and is parked for so many milliseconds (0: to the queue's head)."""
        self._back.append((claim, park_ms))

    def give_back_waiting(self, runner: Runner) -> None:
        """What a runner has not started goes back."""
        for job in runner.take_back():
            self._held[job.claim.lease.id] = (job.claim, None)
            self.give_back(job.claim)

    def give_back_everything(self) -> None:
        """All that is held goes back, running or not; what runs on will be fenced."""
        known = {each.lease.id for each, _ in self._back}
        self._back += [(each, 0) for id, (each, _) in self._held.items() if id not in known]

    def calls(self) -> list[Call[list[Verdict]]]:
        """Releases for what goes back, at most one batch in all."""
        by_partition: dict[Partition, list[tuple[bytes, bytes, int]]] = {}
        for each, park_ms in self._back[:BATCH]:
            by_partition.setdefault(each.partition, []).append((each.lease.id, each.lease.token, park_ms))
        self._sent = min(BATCH, len(self._back))
        return [release(partition, process=self._process, items=items) for partition, items in by_partition.items()]

    def answered(self) -> None:
        """The releases of the last ``calls()`` were answered: what they cover is off the books."""
        for each, _ in self._back[: self._sent]:
            self.drop(each)
        del self._back[: self._sent]
        self._sent = 0
