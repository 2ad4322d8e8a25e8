"""Calls that change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from quaff.model.codec import readable
from quaff.model.ids import JobId
from quaff.model.message import partition_of
from quaff.model.states import BY_LETTER, JobState
from quaff.model.tail import Page, page
from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import BATCH, Call, attempt_of


class Found(NamedTuple):
    """Where a job is and what is known of it.

    Attributes:
        state: None for an id that nobody knows.
        attempt: the number of the running attempt, else 0.
        due_ms: Unix milliseconds of the time a scheduled or retrying job is due, else 0.
        dropped: its result was never kept, or taken.
        parked: it waits because no worker that saw it knows its task.
        record: the outcome's bytes; empty where none is kept.
        message, history: only if asked for.
        progress: what the running attempt has said; empty if nothing.
        away: where it runs, if that is another queue; its state is what it is there.
        lines: what was logged; only if asked for.
        kin: the flow that it is of, those that it waited for, and those that wait for it; only if asked for.
        steps: what it remembers (``model.steps``); only if asked for.
    """

    state: JobState | None
    attempt: int
    due_ms: int
    dropped: bool
    parked: bool
    record: bytes
    message: bytes
    history: bytes
    progress: bytes
    lines: Page
    steps: bytes
    away: JobId | None = None
    kin: tuple[bytes, list[bytes], list[bytes]] | None = None


def lookup(partition: Partition, id: bytes, *, all: bool = False) -> Call[Found]:
    """One job, by its id."""
    return Call(load("lookup"), partition, (id, b"1" if all else b"0"), _found)


def watch(partition: Partition, ids: Sequence[bytes], *, lasts_ms: int) -> Call[list[bytes]]:
    """Have the ends of jobs told on the channel ``watched`` for so long; BATCH ids at most.

    One answer each: the letter of the state it has ended in, ``b""`` if it has not, ``b"?"`` if nobody knows it.
    """
    return Call(load("watch"), partition, (b"%d" % lasts_ms, *ids), list, notes_only=True)


class Followed(NamedTuple):
    """What one look has found for somebody who follows a job; see ``Found``.

    Attributes:
        now_ms: the server's clock, Unix milliseconds.
        page: lines or values.
        away: where it runs, if that is another queue: look there.
    """

    state: JobState
    attempt: int
    now_ms: int
    record: bytes
    progress: bytes
    page: Page
    away: JobId | None = None


def on_the_way(there: Followed) -> Followed:
    """What is found of a job in the queue where it runs, as its home sees it: it has ended when that knows."""
    return there._replace(state=JobState.RUNNING, record=b"") if there.state.terminal else there


#: What to follow: what happens to a job, or the values it gives.
EVENTS, VALUES = b"e", b"v"


def follow(partition: Partition, id: bytes, what: bytes, position: int, *, lasts_ms: int) -> Call[Followed | None]:
    """What is there, with lines or values from a position on, and more of it told on the channel ``followed``.

    None for an id that nobody knows.
    """

    def read(reply: list[Any]) -> Followed | None:
        where, detail, now_ms, record, progress, found = reply
        state, attempt = _state(where, detail)
        away = _there(detail) if where == b"away" else None
        return Followed(state, attempt, now_ms, record, progress, page(found, position), away) if state else None

    args = (id, what, b"%d" % lasts_ms, b"%d" % position)
    return Call(load("follow"), partition, args, read, notes_only=True)


def holds(partition: Partition, process: bytes, after: bytes) -> Call[list[tuple[bytes, bytes]]]:
    """A page of ``(id, token)`` of what the server thinks a process holds: the ids after that one, BATCH at most."""
    args = (process, after, BATCH)
    return Call(load("holds"), partition, args, lambda reply: list(zip(reply[::2], reply[1::2], strict=True)))


def asked(partition: Partition, ids: Sequence[bytes]) -> Call[list[int]]:
    """1 for each running job that was asked to stop, else 0; BATCH at most."""
    return Call(load("asked"), partition, tuple(ids), list)


def partitions(first: Partition) -> Call[int]:
    """How many partitions a queue has, or has had, as its first one knows."""
    return Call(load("partitions"), first, (), int)


class Brakes(NamedTuple):
    """What holds a queue up, as its first partition has it.

    Attributes:
        paused: empty: it is not; ``b"0"``: for good; else Unix milliseconds at which that is over.
        lasts_ms: until then.
        jobs, size: the most it takes; None: as many as come.
    """

    paused: bytes
    lasts_ms: int
    jobs: int | None
    size: int | None


def brakes(first: Partition) -> Call[Brakes]:
    """What holds a queue up."""
    return Call(
        load("brakes"),
        first,
        (),
        lambda reply: Brakes(reply[0], reply[1], *(int(most) if most else None for most in reply[2:])),
    )


def stats(partition: Partition) -> Call[dict[str, int]]:
    """How many jobs are where, and the counters, by name."""
    return Call(load("stats"), partition, (), named)


def named(flat: list[Any]) -> dict[str, int]:
    """Numbers by the names before them."""
    return dict(zip((name.decode() for name in flat[::2]), flat[1::2], strict=True))


def blocks(partition: Partition) -> Call[tuple[int, list[bytes]]]:
    """What is blocked: its version, and the rules."""
    return Call(load("blocks"), partition, (), lambda reply: (reply[0], reply[1:]))


def changes(partition: Partition, most: int) -> Call[list[tuple[int, str, str, str]]]:
    """What people have changed by hand, the newest first: when (Unix milliseconds), who, what, and what of it."""
    return Call(load("changes"), partition, (b"%d" % most,), lambda reply: [_change(entry) for entry in reply])


_decode_change = msgspec.msgpack.Decoder(tuple[int, str, str, str]).decode


def _change(entry: bytes) -> tuple[int, str, str, str]:
    return readable(_decode_change, entry, (0, "", "corrupt", "what is kept of it cannot be read"))


_STATES = {
    b"running": JobState.RUNNING,
    b"queued": JobState.QUEUED,
    b"parked": JobState.QUEUED,
    b"blocked": JobState.BLOCKED,
    b"scheduled": JobState.SCHEDULED,
    b"retrying": JobState.RETRYING,
    b"away": JobState.QUEUED,
    b"flow": JobState.RUNNING,
}


def _found(reply: list[Any]) -> Found:
    where, detail, record, message, history, progress, lines, steps, kin = reply
    state, attempt = _state(where, detail)
    due_ms = int(detail) if where in (b"scheduled", b"retrying") else 0
    dropped = where == b"ended" and detail[:1] == b"S"
    parked = where == b"parked"
    away = _there(detail) if where == b"away" else None
    return Found(
        state,
        attempt,
        due_ms,
        dropped,
        parked,
        record,
        message,
        history,
        progress,
        page(lines),
        steps,
        away,
        kin or None,
    )


def _there(detail: bytes) -> JobId:
    """Where a job runs that is away."""
    return JobId(*partition_of(detail[16:]), detail[:16])


def _state(where: bytes, detail: bytes) -> tuple[JobState | None, int]:
    """The state, and the number of the running attempt."""
    state = BY_LETTER[detail[:1]] if where == b"ended" else _STATES.get(where)
    return state, attempt_of(detail) if where == b"running" else 0


def at_home(here: Found, there: Found) -> Found:
    """What is known of a job that runs in another queue, from its home and from there.

    On the way it is ``queued`` there, or still ``running``: it has ended when its home knows.
    """
    on_the_way = JobState.QUEUED if there.state is None else JobState.RUNNING
    state = on_the_way if there.state is None or there.state.terminal else there.state
    return here._replace(
        state=state,
        attempt=there.attempt,
        due_ms=there.due_ms,
        parked=there.parked,
        history=there.history or here.history,
        progress=there.progress,
        lines=there.lines,
        steps=there.steps or here.steps,
    )
