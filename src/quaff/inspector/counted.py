"""What workers have counted and said of themselves, out of all queues together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.inspector.homes import Homes
from quaff.inspector.shapes import Bucket, FailureGroup, ProcessRow, RunningRow, TaskRow, WorkerRow
from quaff.model import counts, presence
from quaff.model.codec import readable
from quaff.model.counts import Counts
from quaff.model.ids import JobId
from quaff.model.times import instant
from quaff.queues import QueueStats
from quaff.queues import together as stats_together
from quaff.store.keys import Partition
from quaff.store.tallies import PAGE, Entry, Kept, Kind, Survey, listing, numbers_of, read_kind, series, survey

#: Pages of one list.
_PAGES = 10
_MS = {"m": 60_000, "h": 3_600_000}
_CORRUPT: tuple[Kind, list[str]] = (Kind(0, 0, 0, 0, '["","corrupt","?","",""]'), [])
_what = msgspec.json.Decoder(tuple[str, str, str, str, str]).decode

Unit = Literal["m", "h"]

#: What tasks may be sorted by, the most first, besides ``name``.
ORDERS: dict[str, Callable[[TaskRow], float]] = {
    "failures": lambda row: row.total.failure_rate or 0.0,
    "slowest": lambda row: row.total.run.percentile(0.95) or 0.0,
    "waits": lambda row: row.total.wait.percentile(0.95) or 0.0,
    "time": lambda row: row.total.run.sum,
    "memory": lambda row: row.total.memory.percentile(0.95) or 0.0,
    "size": lambda row: row.total.stored_each or 0.0,
    "bytes": lambda row: row.total.stored,
}


class Surveyed(NamedTuple):
    """What the first screen shows: of each queue where its jobs are and its minutes; workers; the latest failures."""

    stats: dict[str, QueueStats]
    minutes: dict[str, list[Bucket]]
    workers: list[WorkerRow]
    failures: list[FailureGroup]


class Counted:
    """Reads it; see ``Inspector``."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes

    def _listed(self, what: Kept, queue: str | None = None, among: str = "") -> list[tuple[str, Entry]]:
        """Entries with their queue; a page of each partition in one round trip."""
        found: list[tuple[str, Entry]] = []
        open_ = dict.fromkeys(self._homes.of(queue), 0)
        for _ in range(_PAGES):
            calls = [listing(home, what, skip=skip, among=among) for home, skip in open_.items()]
            answers = self._homes.store.run_many(calls) if calls else []
            for home, page in zip([*open_], answers, strict=True):
                found += ((home.queue, entry) for entry in page.entries)
                open_[home] += PAGE
                if page.looked_at < PAGE:
                    del open_[home]
        return found

    def survey(self, minutes: int, failures: int) -> Surveyed:
        """What the first screen shows, in one round trip; so many minutes, and kinds of failures."""
        homes = self._homes.of()
        calls = [survey(home, minutes=minutes, failures=failures) for home in homes]
        answers: list[Survey] = self._homes.store.run_many(calls) if calls else []
        seen = [*zip(homes, answers, strict=True)]
        standing: dict[str, list[dict[str, int]]] = {}
        for home, each in seen:
            standing.setdefault(home.queue, []).append(each.standing)
        return Surveyed(
            {queue: stats_together(several) for queue, several in standing.items()},
            _by_queue(homes, [(each.present, each.minutes) for _, each in seen], "m", minutes),
            _workers(entry for _, each in seen for entry in each.workers),
            _groups((home.queue, kind) for home, each in seen for kind in each.failures)[:failures],
        )

    def buckets(self, queues: Sequence[str], unit: Unit, task: str, count: int) -> dict[str, list[Bucket]]:
        """What was counted, by queue, the oldest first."""
        homes = [home for queue in queues for home in self._homes.of(queue)]
        answers = self._homes.store.run_many([series(home, unit, task, count) for home in homes]) if homes else []
        return _by_queue(homes, answers, unit, count)

    def tasks(self, by: str) -> list[TaskRow]:
        """See ``Inspector.tasks``."""
        if by != "name" and by not in ORDERS:
            near = did_you_mean(by, ["name", *ORDERS])
            raise ConfigurationError(f"tasks(by={by!r}): sort by one of {', '.join(['name', *ORDERS])}.{near}")
        found: dict[str, list[tuple[str, dict[str, int]]]] = {}
        for queue, entry in self._listed("tasks"):
            found.setdefault(entry.name.decode("utf-8", "replace"), []).append((queue, numbers_of(entry.data)))
        rows = sorted((_task(name, several) for name, several in found.items()), key=lambda row: row.name)
        return rows if by == "name" else sorted(rows, key=ORDERS[by], reverse=True)

    def failures(self, queue: str | None, task: str | None) -> list[FailureGroup]:
        """See ``Inspector.failures``."""
        # How what is kept of a kind begins: whoever else has it in its text is left out below.
        among = "" if task is None else msgspec.json.encode((task,)).decode()[:-1] + ","
        return [group for group in _groups(self._listed("failures", queue, among)) if task in (None, group.task)]

    def workers(self, queue: str | None = None) -> list[WorkerRow]:
        """See ``Inspector.workers``; those that serve this queue alone."""
        return _workers(entry for _, entry in self._listed("workers", queue))


def total(buckets: Iterable[Bucket]) -> Counts:
    """All of them together."""
    return sum((each.counts for each in buckets), start=Counts())


def together(several: Iterable[Sequence[Bucket]]) -> list[Bucket]:
    """The same minutes of several queues as one."""
    return [Bucket(each[0].at, total(each)) for each in zip(*several, strict=True)]


def _by_queue(
    homes: Sequence[Partition], answers: Sequence[tuple[int, list[dict[str, int]]]], unit: Unit, count: int
) -> dict[str, list[Bucket]]:
    found: dict[str, list[list[dict[str, int]]]] = {}
    present = 0
    for home, (number, numbers) in zip(homes, answers, strict=True):
        present = max(present, number)
        found.setdefault(home.queue, []).append(numbers)
    return {
        queue: [
            Bucket(instant((present - age) * _MS[unit]), counts.read(counts.merge(each[age] for each in several)))
            for age in reversed(range(count))
        ]
        for queue, several in found.items()
    }


def _groups(listed: Iterable[tuple[str, Entry]]) -> list[FailureGroup]:
    return sorted((_group(queue, entry) for queue, entry in listed), key=lambda row: row.last_at, reverse=True)


def _workers(listed: Iterable[Entry]) -> list[WorkerRow]:
    rows: dict[bytes, WorkerRow] = {}
    for entry in listed:
        row = None if entry.name in rows else readable(partial(_worker, entry.name), entry.data, None)
        if row is not None:
            rows[entry.name] = row
    return sorted(rows.values(), key=lambda row: (row.name, row.started_at))


def _task(name: str, several: Sequence[tuple[str, dict[str, int]]]) -> TaskRow:
    last = max(numbers.get("last", 0) for _, numbers in several)
    total = counts.read(counts.merge(numbers for _, numbers in several))
    return TaskRow(name=name, queues=sorted({queue for queue, _ in several}), total=total, last_at=instant(last))


def _group(queue: str, entry: Entry) -> FailureGroup:
    kind, jobs = readable(read_kind, entry.data, _CORRUPT)
    task, reason, error, frame, message = readable(_what, kind.what.encode(), ("", "corrupt", "?", "", ""))
    return FailureGroup(
        id=entry.name.decode("ascii", "replace"),
        queue=queue,
        task=task or None,
        reason=reason,
        error=error,
        frame=frame,
        message=message,
        attempts=kind.attempts,
        given_up=kind.given_up,
        first_at=instant(kind.first_ms),
        last_at=instant(kind.last_ms),
        jobs=jobs,
    )


def _worker(id: bytes, data: bytes) -> WorkerRow:
    word = presence.decode(data)
    return WorkerRow(
        id=id.hex(),
        name=word.name,
        host=word.host,
        pid=word.pid,
        version=word.version,
        queues=word.queues,
        started_at=instant(word.started_ms),
        stopping=word.stopping,
        slots=word.slots,
        memory=word.memory or None,
        running=word.running,
        processes=[
            ProcessRow(
                id=each.id,
                pid=each.pid,
                started_at=instant(each.started_ms),
                memory=each.memory or None,
                running=each.running,
                serving=each.serving,
            )
            for each in word.processes
        ],
        jobs=[
            RunningRow(
                id=str(JobId(each.queue, each.partition, bytes.fromhex(each.id))),
                queue=each.queue,
                attempt=each.attempt,
                pid=each.pid,
                started_at=instant(each.started_ms),
            )
            for each in word.jobs
        ],
    )
