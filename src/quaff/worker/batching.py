"""Jobs of batch tasks on their way through a process: they wait for company here, and run as one."""

from __future__ import annotations

import time

import msgspec

from quaff.worker.ready import Ready


class Batches:
    """The jobs that wait for company. Only the fetcher calls it."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Ready]] = {}
        self._due: dict[str, float] = {}

    def add(self, job: Ready, *, alone: bool) -> None:
        """A job was claimed; ``alone``: it waits for no other."""
        name = job.task.name
        self._waiting.setdefault(name, []).append(job)
        batch = job.task.settings.batch
        within = 0.0 if alone or batch is None else batch.seconds
        self._due[name] = min(self._due.get(name, float("inf")), time.monotonic() + within)

    def missing(self, place: int, size: int) -> int:
        """How many more jobs of a queue to claim, so that those that wait have company; 0 if none waits."""
        most = 0
        for jobs in self._waiting.values():
            if jobs[0].claim.place == place:
                most = max(most, _size(jobs) - len(jobs))
        return most or size

    def full(self) -> list[Ready]:
        """The batches that are complete, or have waited long enough, each as its first job with the others in it."""
        if not self._waiting:
            return []
        now, batches = time.monotonic(), []
        for name, jobs in list(self._waiting.items()):
            size = _size(jobs)
            while len(jobs) >= size or (jobs and self._due[name] <= now):
                batches.append(_together(jobs[:size]))
                del jobs[:size]
            if not jobs:
                del self._waiting[name], self._due[name]
        return batches

    @property
    def seconds_left(self) -> float:
        """Until a batch has waited long enough; infinite if none waits."""
        return max(0.0, min(self._due.values(), default=float("inf")) - time.monotonic())

    def take_back(self) -> list[Ready]:
        """All that waits; it will not be run here."""
        taken = [job for jobs in self._waiting.values() for job in jobs]
        self._waiting.clear()
        self._due.clear()
        return taken


def _together(jobs: list[Ready]) -> Ready:
    first, *others = jobs
    limit = min((job.limit for job in jobs if job.limit), default=0.0)
    return msgspec.structs.replace(first, limit=limit, fellows=tuple(others), lacks=any(job.lacks for job in jobs))


def _size(jobs: list[Ready]) -> int:
    batch = jobs[0].task.settings.batch
    return batch.size if batch else 1
