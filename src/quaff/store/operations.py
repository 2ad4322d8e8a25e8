"""Calls by which people steer a queue and its limits; what they change by hand is in the list of changes."""

from __future__ import annotations

from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import STEP, Call


def pause(partition: Partition, *, on: bool, lasts_ms: int, who: str) -> Call[bool]:
    """Hand out nothing, for good (0) or for a time; or resume. True if it was otherwise before."""
    return Call(load("pause"), partition, (b"%d" % on, b"%d" % lasts_ms, who.encode()), bool)


def purge(
    partition: Partition, *, outcome: bytes, ttl_ms: int, window_ms: int, scheduled: bool
) -> Call[tuple[int, int]]:
    """One step of cancelling what waits: how many were, and how many still wait."""
    # Part of a step: each of them ends.
    args = (outcome, b"%d" % ttl_ms, b"%d" % window_ms, b"%d" % (STEP // 3), b"%d" % scheduled)
    return Call(load("purge"), partition, args, lambda reply: (reply[0], reply[1]))


def limit(partition: Partition, *, name: str, numbers: str, who: str, after: bytes) -> Call[bytes]:
    """One step of giving a limit other numbers; the last limit looked at, for the next step, or empty."""
    return Call(load("limit"), partition, (name.encode(), numbers.encode(), who.encode(), after), bytes)


def capacity(partition: Partition, *, jobs: int | None, size: int | None, who: str) -> Call[bool]:
    """Take no more jobs, or bytes of messages, than these; None: as many as come."""
    most = tuple(b"" if number is None else b"%d" % number for number in (jobs, size))
    return Call(load("capacity"), partition, (*most, who.encode()), bool)


def record(partition: Partition, *, who: str, what: str, about: str) -> Call[bool]:
    """Put something that was done by hand into the list of changes, where no script does so by itself."""
    return Call(load("record"), partition, (who.encode(), what.encode(), about.encode()), bool)


def admit(first: Partition, queue: str, most: int) -> Call[bool]:
    """Make room for one more queue that no code names; False where there is none. ``first``: that of ``default``."""
    return Call(load("admit"), first, (queue.encode(), b"%d" % most), bool, notes_only=True)


def spread(partition: Partition, count: int) -> Call[bool]:
    """Tell the first partition of a queue that there are so many."""
    return Call(load("spread"), partition, (b"%d" % count,), bool)


def block(partition: Partition, rule: bytes, *, on: bool, who: str, words: str) -> Call[bool]:
    """Start no jobs that a rule speaks of, or start them again. True if it was otherwise before."""
    return Call(load("block"), partition, (rule, b"%d" % on, who.encode(), words.encode()), bool)


def acquire(partition: Partition, *, limit: str, numbers: str, cost: int, token: bytes, lasts_ms: int) -> Call[int]:
    """Room in a limit for somebody who is no job: 0 taken, else milliseconds until there may be some, -1 unknown."""
    return Call(
        load("acquire"), partition, (limit.encode(), numbers.encode(), b"%d" % cost, token, b"%d" % lasts_ms), int
    )


def leave(partition: Partition, *, limit: str, cost: int, token: bytes) -> Call[bool]:
    """Give it back."""
    return Call(load("leave"), partition, (limit.encode(), b"%d" % cost, token), bool)


def drain(partition: Partition, worker: bytes, *, name: str, lasts_ms: int, who: str) -> Call[bool]:
    """Ask a worker to finish what it runs and end; False if it has not been heard of."""
    return _request(partition, b"d", worker, name, lasts_ms, who)


def stack(partition: Partition, id: bytes, *, name: str, lasts_ms: int, who: str) -> Call[bool]:
    """Ask where a running job is in its code; False if it does not run."""
    return _request(partition, b"s", id, name, lasts_ms, who)


def _request(partition: Partition, what: bytes, id: bytes, name: str, lasts_ms: int, who: str) -> Call[bool]:
    args = (what, id, b"%d" % lasts_ms, who.encode(), name.encode())
    return Call(load("request"), partition, args, bool)
