"""Calls of schedules: declared by workers, changed by hand, looked at, fired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from quaff.model.codec import readable
from quaff.store.bulk import Replaced
from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import STEP, Call


class ScheduleState(msgspec.Struct, array_like=True, frozen=True):
    """How far a schedule has come. Times are Unix milliseconds.

    Attributes:
        through_ms: up to here its instants are dealt with.
        since_ms: when the code that declares it was started; 0: it was made by hand.
        paused: 1 if it is.
        last_id: the last job's 16 bytes in hex, empty if there was none; ``last_ms``: of its instant.
    """

    through_ms: int
    since_ms: int
    paused: int
    last_id: str
    last_ms: int


class Entry(NamedTuple):
    """A schedule as the server has it."""

    name: str
    definition: bytes
    state: ScheduleState


class Timetable(NamedTuple):
    """Schedules to look at; ``next_ms``: when the next one after them is; ``reap_from_ms``: see engine.md §5."""

    now_ms: int
    next_ms: int | None
    reap_from_ms: int
    entries: list[Entry]


class Occurrence(NamedTuple):
    """A job to enqueue for one instant."""

    instant_ms: int
    id: bytes
    message: bytes
    route: bytes
    terms: bytes


def declare(partition: Partition, *, since_ms: int, who: str, schedules: Sequence[tuple[str, bytes]]) -> Call[int]:
    """A worker's schedules of ``(name, definition)``; ``since_ms`` is 0 at first, then what was answered."""
    flat = [value for name, definition in schedules for value in (name.encode(), definition)]
    return Call(load("declare"), partition, (since_ms, who.encode(), *flat), int)


def schedule(partition: Partition, what: str, name: str, *, definition: bytes = b"", who: str) -> Call[bool]:
    """``add``, ``replace``, ``remove``, ``pause`` or ``resume``; False if there is none (``add``: if there is one)."""
    return Call(load("schedule"), partition, (what.encode(), name.encode(), definition, who.encode()), bool)


def due(partition: Partition) -> Call[Timetable]:
    """Those that somebody should look at now, STEP at most."""
    return Call(load("schedules"), partition, (b"due", 0, STEP), _timetable)


def page(partition: Partition, skip: int) -> Call[Timetable]:
    """STEP of all, after ``skip``."""
    return Call(load("schedules"), partition, (b"all", b"%d" % skip, b"%d" % STEP), _timetable)


def fire(
    partition: Partition,
    entry: Entry,
    *,
    through_ms: int,
    again_ms: int | None,
    replaced: Replaced,
    occurrences: Sequence[Occurrence],
) -> Call[list[Any]]:
    """Enqueue occurrences, STEP at most, and look again at ``again_ms`` (None: never).

    Answers 1, or 0 where it came too late, and the ids that were enqueued.
    """
    head = (entry.name.encode(), entry.definition, through_ms, b"inf" if again_ms is None else again_ms, *replaced)
    flat = tuple(value for each in occurrences for value in each)
    return Call(load("fire"), partition, head + flat, list)


_decode = msgspec.msgpack.Decoder(ScheduleState).decode
#: The year 10,000.
_LATEST_MS = 253_402_300_800_000


def _state(data: bytes) -> ScheduleState:
    state = _decode(data)
    if not (0 <= state.last_ms < _LATEST_MS and 0 <= state.through_ms < _LATEST_MS):
        raise ValueError("no time that a worker could have written")
    bytes.fromhex(state.last_id)
    return state


def _timetable(reply: list[Any]) -> Timetable:
    now, next_ms, reap_from, *rest = reply
    # One whose state was damaged begins now, as the scripts have it.
    entries = [
        Entry(name.decode(errors="replace"), definition, readable(_state, state, ScheduleState(now, 0, 0, "", 0)))
        for name, definition, state in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    ]
    return Timetable(now, None if next_ms < 0 else next_ms, reap_from, entries)
