"""What is done to all jobs that match: they are counted first, then it is done some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from quaff.errors import ConfigurationError
from quaff.inspector.homes import Homes
from quaff.inspector.listing import LOOK, Listing
from quaff.inspector.shapes import JobRow
from quaff.model import ids, outcome
from quaff.model.filters import Filter
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.queues import somebody
from quaff.stepwise import Step, written_down
from quaff.store.keys import Partition, partition
from quaff.store.operations import record
from quaff.store.transitions import STEP, Call, cancel, discard, requeue

Action = Literal["retry", "discard", "cancel"]

_WAITING = (JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING, JobState.RUNNING)
#: The states of jobs to which something can be done.
STATES: dict[Action, tuple[JobState, ...]] = {
    "retry": (JobState.FAILED,),
    "discard": (JobState.FAILED,),
    "cancel": _WAITING,
}
#: What is done, and the commands or methods that do it.
_DONE: dict[Action, str] = {
    "retry": "sent back (retry)",
    "discard": "deleted (rm, discard)",
    "cancel": "called off (cancel)",
}
#: The most jobs of one action, and that are looked at for it.
MOST, LOOKED = 100_000, 1_000_000


_Make = Callable[[Partition, Sequence[bytes]], Call[list[Any]]]


class Matching(NamedTuple):
    """The jobs that are meant, by their ids; ``more``: there are more than these, or there may be."""

    ids: list[str]
    more: bool


class Bulk:
    """Finds and does it; see ``Inspector``.

    Args:
        homes: whose jobs.
        listing: reads pages of them.
        named: those of a filter's ids that it means.
    """

    def __init__(self, homes: Homes, listing: Listing, named: Callable[[Filter], Sequence[JobRow]]) -> None:
        self._homes = homes
        self._listing = listing
        self._named = named

    def matching(self, action: Action, wanted: Filter, most: int = MOST) -> Matching:
        """See ``Inspector.matching``."""
        allowed = STATES[action]
        strange = [state for state in wanted.states if state not in allowed]
        if strange:
            raise ConfigurationError(
                f"jobs that are {strange[0]} cannot be {_DONE[action]}: only those that are {', '.join(allowed)} can."
            )
        if wanted.ids:
            meant = [row.id for row in self._named(wanted)]
            return Matching(meant[:most], len(meant) > most)
        states = tuple(state for state in allowed if not wanted.states or state in wanted.states)
        narrowed = msgspec.structs.replace(wanted, states=states)
        found: dict[str, None] = {}
        cursor, looked = None, 0
        while True:
            page = self._listing.page(narrowed, LOOK, cursor)
            found.update(dict.fromkeys(row.id for row in page.jobs))
            looked += page.looked_at
            if page.cursor is None or len(found) >= most or looked >= LOOKED:
                return Matching([*found][:most], page.cursor is not None or len(found) > most)
            cursor = page.cursor

    def act(self, action: Action, chosen: Sequence[str], reason: str) -> Iterator[Step]:
        """See ``Inspector.act``."""
        call, good = self._call(action, reason)
        by_home: dict[Partition, list[bytes]] = {}
        for text in chosen:
            id = ids.parse(text)
            if id is None:
                raise ConfigurationError(f"{text[:80]!r} is no job's id.")
            home = partition(self._homes.settings.namespace, id.queue, id.partition)
            by_home.setdefault(home, []).append(id.raw)
        seen = done = 0
        for home, raw in by_home.items():
            write, step = partial(self._record, home, action, raw, reason), Step(0, 0, 0)
            with closing(written_down(self._each(call, good, home, raw), write)) as steps:
                for step in steps:
                    yield Step(len(chosen), seen + step.seen, done + step.done)
            seen, done = seen + step.seen, done + step.done

    def _each(self, call: _Make, good: tuple[Any, ...], home: Partition, raw: Sequence[bytes]) -> Iterator[Step]:
        done = 0
        for at in range(0, len(raw), STEP):
            some = raw[at : at + STEP]
            done += sum(answer in good for answer in self._homes.store.run(call(home, some)))
            yield Step(len(raw), at + len(some), done)

    def _record(self, home: Partition, action: Action, raw: Sequence[bytes], reason: str, done: int) -> None:
        what = str(JobId(home.queue, home.number, raw[0])) if len(raw) == 1 else f"{done} of {len(raw)} jobs"
        first = partition(home.namespace, home.queue)
        about = f"{what}, {reason}" if reason else what
        self._homes.store.run(record(first, who=somebody(), what=action, about=about))

    def _call(self, action: Action, reason: str) -> tuple[_Make, tuple[Any, ...]]:
        """What to send, and which answers mean that it was done."""
        if action == "retry":
            return requeue, (b"q",)
        if action == "discard":
            return discard, (1,)
        ended, settings = outcome.cancelled(reason), self._homes.settings
        ttl_ms, window_ms = int(settings.result_ttl * 1000), int(settings.key_window * 1000)
        return (
            lambda home, raw: cancel(home, outcome=ended, ttl_ms=ttl_ms, window_ms=window_ms, ids=raw),
            (b"c", b"r"),
        )
