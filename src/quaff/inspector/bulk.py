"""What is done to all jobs that match: they are counted first, then it is done some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from quaff.errors import ConfigurationError
from quaff.inspector.homes import Homes
from quaff.inspector.listing import LOOK, Listing
from quaff.model import ids, outcome
from quaff.model.filters import Filter
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.queues import somebody
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
#: The most jobs of one action.
MOST = 100_000


class Matching(NamedTuple):
    """The jobs that are meant, by their ids; ``more``: there are more than these."""

    ids: list[str]
    more: bool


class Step(NamedTuple):
    """How far it has come: of ``total`` jobs ``seen`` were tried, and with ``done`` it was done."""

    total: int
    seen: int
    done: int


class Bulk:
    """Finds and does it; see ``Inspector``."""

    def __init__(self, homes: Homes, listing: Listing) -> None:
        self._homes = homes
        self._listing = listing

    def matching(self, action: Action, wanted: Filter, most: int = MOST) -> Matching:
        """See ``Inspector.matching``."""
        allowed = STATES[action]
        strange = [state for state in wanted.states if state not in allowed]
        if strange:
            raise ConfigurationError(f"{action}: jobs that are {strange[0]} cannot be; {', '.join(allowed)} can.")
        if wanted.ids:
            return Matching(list(dict.fromkeys(wanted.ids))[:most], len(wanted.ids) > most)
        states = tuple(state for state in allowed if not wanted.states or state in wanted.states)
        narrowed = Filter(
            states,
            wanted.queues,
            wanted.tasks,
            (),
            wanted.errors,
            wanted.since,
            wanted.until,
            wanted.words,
        )
        found: dict[str, None] = {}
        cursor: str | None = None
        while True:
            page = self._listing.page(narrowed, LOOK, cursor)
            found.update(dict.fromkeys(row.id for row in page.jobs))
            if page.cursor is None or len(found) >= most:
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
            home = next(each for each in self._homes.of(id.queue) if each.number == id.partition)
            by_home.setdefault(home, []).append(id.raw)
        seen = done = 0
        for home, raw in by_home.items():
            before = done
            try:
                for at in range(0, len(raw), STEP):
                    some = raw[at : at + STEP]
                    answers = self._homes.store.run(call(home, some))
                    seen += len(some)
                    done += sum(answer in good for answer in answers)
                    yield Step(len(chosen), seen, done)
            finally:
                # Also where nobody goes on to the end: what was done is done.
                if done > before:
                    self._record(home, action, raw, done - before, reason)

    def _record(self, home: Partition, action: Action, raw: Sequence[bytes], done: int, reason: str) -> None:
        what = str(JobId(home.queue, home.number, raw[0])) if len(raw) == 1 else f"{done} of {len(raw)} jobs"
        first = partition(home.namespace, home.queue)
        about = f"{what}, {reason}" if reason else what
        self._homes.store.run(record(first, who=somebody(), what=action, about=about))

    def _call(
        self, action: Action, reason: str
    ) -> tuple[Callable[[Partition, Sequence[bytes]], Call[list[Any]]], tuple[Any, ...]]:
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
