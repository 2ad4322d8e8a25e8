"""Fires schedules, in the supervisor's chores: every worker does, and the scripts let each instant come once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from quaff.model import message, outcome, schedule
from quaff.model.source import Source
from quaff.store.bulk import Replaced
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.timetable import Entry, Occurrence, Timetable, declare, due, fire
from quaff.store.transitions import STEP, Call

log: logging.Logger = logging.getLogger("quaff.worker")

FOREVER = float("inf")
#: Seconds until a schedule is looked at again that this worker cannot read: a later release wrote it.
_LATER = 60.0


class Timekeeper:
    """Keeps the schedules of a worker's queues.

    Args:
        store: the server.
        partitions: what this worker serves.
        worker: its name, for the list of changes.
        lease: seconds; an outage is what was longer than half of it (engine.md §5).
        source: reads definitions, and seals messages.
        ttl_ms, window_ms: how long the outcome and the tombstone of a job are kept that an occurrence replaces.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        partitions: Sequence[Partition],
        worker: str,
        lease: float,
        ttl_ms: int,
        window_ms: int,
    ) -> None:
        self._store = store
        self._source = source
        self._partitions = partitions
        self._worker = worker
        self._lease_ms = int(lease * 1000)
        self._ttl_ms, self._window_ms = ttl_ms, window_ms
        self._declared: dict[int, list[tuple[str, bytes]]] = {}
        self._since: dict[int, int] = {}

    def learn(self, schedules: Sequence[tuple[int, str, bytes]]) -> None:
        """What the code declares, that was started just now: ``(place of the queue, name, definition)``."""
        self._declared = {}
        for place, name, definition in schedules:
            self._declared.setdefault(place, []).append((name, definition))
        self._since = {}

    def declare(self) -> float:
        """Say that they are still declared; seconds until it has to be said again."""
        for place, schedules in self._declared.items():
            for at in range(0, len(schedules), STEP):
                call = declare(
                    self._partitions[place],
                    since_ms=self._since.get(place, 0),
                    who=self._worker,
                    schedules=schedules[at : at + STEP],
                )
                self._since[place] = self._store.run(call)
        return self._lease_ms / 3000

    def fire(self, place: int) -> float:
        """Enqueue what is due in one queue; seconds until there is something to do, as far as is known."""
        home = self._partitions[place]
        table = self._store.run(due(home))
        again = [FOREVER if table.next_ms is None else (table.next_ms - table.now_ms) / 1000]
        calls: list[Call[list[object]]] = []
        for entry in table.entries:
            try:
                call, soon = self._call(home, entry, table)
            except Exception as error:  # noqa: BLE001  whatever is wrong with one, the others are fired
                log.error("schedule %r of queue %s cannot be fired here: %s", entry.name, home.queue, error)
                again.append(_LATER)
            else:
                calls.append(call)
                again.append(soon)
        if calls:
            self._store.run_many(calls)
            if len(table.entries) == STEP:
                again.append(0.0)  # there may be more that are due
        # Rounded up: a look before the time would be for nothing.
        return max(0.0, min(again)) + 0.001

    def _call(self, home: Partition, entry: Entry, table: Timetable) -> tuple[Call[list[object]], float]:
        made = self._source.read(home.queue, entry.name, entry.definition)
        plan = schedule.plan(
            made,
            through_ms=entry.state.through_ms,
            now_ms=table.now_ms,
            alive_since_ms=table.reap_from_ms - self._lease_ms,
            most=STEP,
        )
        sealed = self._source.jobs(made)
        occurrences = [Occurrence(each, *schedule.call_at(entry.name, made, each, sealed)) for each in plan.instants]
        if plan.instants and plan.instants[0] < table.now_ms - self._lease_ms:
            task = message.decode(made.message).task
            log.warning("schedule %r makes up for %d missed runs of %s", entry.name, len(plan.instants), task)
        record = outcome.cancelled("replaced by the next occurrence of its schedule")
        call = fire(
            home,
            entry,
            through_ms=plan.through_ms,
            again_ms=plan.again_ms,
            replaced=Replaced(record, self._ttl_ms, self._window_ms),
            occurrences=occurrences,
        )
        return call, FOREVER if plan.again_ms is None else (plan.again_ms - table.now_ms) / 1000
