"""One function per script: typed arguments in, a ``Call`` out. No I/O here; ``client.py`` and ``link.py`` send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from quaff.model.durability import Durability
from quaff.model.states import LETTER, JobState
from quaff.model.tail import Packet
from quaff.store.keys import Partition
from quaff.store.scripts import Script, load

T = TypeVar("T")

#: The most items of one call, for no script may hold the server for long: where each costs next to nothing (Lua's
#: ``unpack`` fails near 8000 values); of attempts that begin or end; where each may ask for all that there is.
BATCH = 500
PORTION = 200
STEP = 30

#: How the token of a job ends that has never begun.
_FIRST = b".1"


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One script with its arguments, ready to be sent by anybody, and sent again as it is.

    ``notes_only``: it changes nothing of any job. ``durability``: what it is to be confirmed by (``assurance.py``).
    What producers send are bytes: hiredis 3.5 crashes on a number when a signal that raises comes at that moment.
    """

    script: Script
    partition: Partition
    args: tuple[Any, ...]
    decode: Callable[[Any], T]
    notes_only: bool = False
    durability: Durability | None = None

    @property
    def harmless(self) -> bool:
        """Whether nobody need know if it was applied."""
        return self.script.reads or self.notes_only

    @property
    def command(self) -> tuple[Any, ...]:
        """The whole command, as the wire has it."""
        return self.script.head(self.partition) + self.args


class Verdict(IntEnum):
    """What the server says to a settle or a release. ``LATER``: nothing has happened yet, it is to be sent again."""

    OK = 1
    ALREADY = 2
    FENCED = 3
    GONE = 4
    LATER = 0


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A job handed out: its id, its message and the token that settles it."""

    id: bytes
    message: bytes
    token: bytes

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return attempt_of(self.token)

    @property
    def first(self) -> bool:
        """Whether the job has never begun before."""
        return self.token.endswith((_FIRST, b".1!"))

    @property
    def failures(self) -> int:
        """How many attempts before this one have failed; crashes are not among them."""
        return int(self.token.rstrip(b"!").rpartition(b".")[2].partition(b"~")[2] or 0)

    @property
    def begun(self) -> bool:
        """Whether the job has begun before: an attempt that was snoozed or lapsed has the same number as the next."""
        return b"~" in self.token.rpartition(b".")[2]


def attempt_of(token: bytes) -> int:
    """The attempt's number in a token, ``claim.place.attempt[~failures][!]``; 0 where that was damaged."""
    if token.endswith(_FIRST):
        return 1
    number = token.rstrip(b"!").rpartition(b".")[2].partition(b"~")[0]
    return int(number) if number.isdigit() and len(number) < 10 else 0


class Claimed(NamedTuple):
    """The answer to a claim. ``alone``: its one job runs alone; ``lonely``: one waits for a process that holds nothing;
    ``empty_yourself``: for this one. ``for_slots``: what is left must start at once, so it is there only for who has a
    free slot.

    ``again_ms``: asking again makes sense then, token or not; None where no such time is known. ``now_ms``: the
    server's clock, Unix milliseconds, where jobs are handed out. ``blocks``: the version of what is blocked, 0 if
    nothing is. ``processes``: how many have a lease here, where nothing was handed out.
    """

    leases: list[Lease]
    left: int
    alone: bool
    lonely: bool
    closed: bool
    empty_yourself: bool
    for_slots: bool
    again_ms: int | None
    now_ms: int
    blocks: int
    processes: int


class Rules(NamedTuple):
    """The limits that the scripts on the way of a crash apply. Times in milliseconds."""

    max_crashes: int
    failed_ttl_ms: int
    window_ms: int


class Kept(NamedTuple):
    """How many dead letters a partition keeps, and how many bytes of them; the oldest make room."""

    most: int
    most_bytes: int


class End(NamedTuple):
    """What to do with a job that a dead process had started.

    ``letter``: ``x`` the process died of it or beside it; ``u`` it had ended, and its outcome is lost; ``f`` or ``r``
    it was killed at its limit, for good or to be tried again in ``delay_ms``; ``b`` it was killed on behalf of another
    one. ``record`` is that of the attempt, ``outcome`` what is kept if the job ends by this.
    """

    id: bytes
    letter: str
    delay_ms: int
    record: bytes
    outcome: bytes


class Ending(NamedTuple):
    """How one attempt ended: with ``state``, whose ``record`` is kept for ``ttl_ms``; ``digest`` as in the message.

    With ``retrying`` and ``scheduled`` (at no cost) the ttl is the time in ms until the next attempt, the record that
    of the attempt, and the digest another priority and, after a space, another partition (``queue#number``), or for
    ``scheduled`` the step for which the job waits.
    """

    id: bytes
    token: bytes
    state: JobState
    ttl_ms: int
    digest: bytes
    record: bytes


class Swept(NamedTuple):
    """What one sweep did; ``more``: it stopped at its bound; ``asked``: how many running jobs were asked to stop;
    ``processes``: how many have a lease.

    ``schedule_ms``: until a schedule is to be looked at; ``parcel_ms``: until something is to be told to another
    partition; None where there is none. ``partitions``: how many the queue has, as its first one knows.
    """

    taken: int
    unparked: int
    expired: int
    more: bool
    asked: int
    processes: int
    schedule_ms: int | None
    parcel_ms: int | None
    partitions: int


def _flat(items: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(value for item in items for value in item)


def _claimed(reply: list[Any]) -> Claimed:
    status, left, alone, again_ms, now_ms, blocks, processes = reply[:7]
    leases = list(map(Lease, reply[7::3], reply[8::3], reply[9::3]))
    again = None if again_ms < 0 else again_ms
    runs, waits = alone == 1, alone == 2
    return Claimed(leases, left, runs, waits, status == 1, status == 2, status == 3, again, now_ms, blocks, processes)


def enqueue(partition: Partition, jobs: Sequence[tuple[bytes, bytes]]) -> Call[list[Any]]:
    """Store jobs of ``(id, message)``. One answer each: 0 stored, 1 there already, a state's letter, or ``b"x"``."""
    return Call(load("enqueue"), partition, _flat(jobs), list)


def enqueue_routed(
    partition: Partition,
    *,
    outcome: bytes,
    ttl_ms: int,
    window_ms: int,
    jobs: Sequence[tuple[bytes, bytes, bytes, bytes]],
) -> Call[list[Any]]:
    """Store jobs of ``(id, message, route, terms)`` that ask for more than the end of the one line.

    Answers as ``enqueue``, and 16 bytes for the id of another job that holds the unique key and stays. ``outcome`` is
    what a waiting job gets that is replaced.
    """
    args = (outcome, b"%d" % ttl_ms, b"%d" % window_ms, *_flat(jobs))
    return Call(load("enqueue_routed"), partition, args, list)


def claim(
    partition: Partition,
    *,
    process: bytes,
    number: int,
    claim_id: bytes,
    count: int,
    free: int,
    idle: bool,
    lease_ms: int,
) -> Call[Claimed]:
    """Take up to ``count`` jobs under the lease of ``process``; of those that must start at once, up to ``free``.

    It may hand out fewer, where looking for them costs much; as long as some are ``left`` there is reason to ask again.
    """
    return Call(load("claim"), partition, (process, number, claim_id, count, free, int(idle), lease_ms), _claimed)


def settle(
    partition: Partition,
    *,
    process: bytes,
    window_ms: int,
    items: Sequence[tuple[bytes, bytes, JobState, int, bytes, bytes]],
) -> Call[list[Verdict]]:
    """Record how attempts ended: items as ``Ending`` has them."""
    flat: list[Any] = [process, window_ms]
    for id, token, state, ttl, digest, record in items:
        flat += id, token, LETTER[state], ttl, digest, record
    return Call(load("settle"), partition, tuple(flat), _verdicts)


def release(
    partition: Partition, *, process: bytes, items: Sequence[tuple[bytes, bytes, int, bytes]]
) -> Call[list[Verdict]]:
    """Give jobs back at no cost: items of ``(id, token, ms to park, record)``; -1: to the head, and it may have begun.

    The record is that of the attempt which had begun; empty where none had.
    """
    return Call(load("release"), partition, (process, *_flat(items)), _verdicts)


def note(partition: Partition, items: Sequence[tuple[bytes, bytes, bytes]]) -> Call[list[int]]:
    """Write down how far attempts have come: items of ``(id, token, progress)``; 3 for one that is held elsewhere."""
    return Call(load("note"), partition, _flat(items), list)


def append(partition: Partition, items: Sequence[tuple[bytes, bytes, Packet]]) -> Call[list[int]]:
    """Keep what attempts have said: items of ``(id, token, packet)``, STEP at most; 3 for one held elsewhere."""
    return Call(load("append"), partition, _flat((id, token, *packet) for id, token, packet in items), list)


def reap(partition: Partition, *, process: bytes, rules: Rules, started: Sequence[End]) -> Call[tuple[int, int, bool]]:
    """Give back what a dead process held; ``started`` says more of what had begun there."""
    args = (process, STEP, *rules, *_flat(started))
    return Call(load("reap"), partition, args, lambda reply: (reply[0], reply[1], reply[2] == 1))


def heartbeat(partition: Partition, *, lease_ms: int, processes: Sequence[bytes]) -> Call[list[int]]:
    """Renew the leases of processes; 0 for one that holds none here."""
    return Call(load("heartbeat"), partition, (lease_ms, *processes), list)


def sweep(partition: Partition, *, lease_ms: int, rules: Rules, keep: Kept, poison: bytes, unpark: bool) -> Call[Swept]:
    """Reap lapsed leases, bring back parked jobs, expire records: one bounded step."""
    args = (lease_ms, STEP, *rules, *keep, poison, int(unpark))
    return Call(load("sweep"), partition, args, _swept)


def cancel(
    partition: Partition, *, outcome: bytes, ttl_ms: int, window_ms: int, ids: Sequence[bytes]
) -> Call[list[bytes]]:
    """End what waits as cancelled, ask what runs to stop.

    One answer each: ``b"c"``, ``b"r"`` for a running one, a state's letter for one that has ended, ``b""``.
    """
    return Call(load("cancel"), partition, (outcome, b"%d" % ttl_ms, b"%d" % window_ms, *ids), list)


def requeue(partition: Partition, ids: Sequence[bytes]) -> Call[list[bytes]]:
    """Send dead letters back.

    One answer each: ``b"q"``, ``b"n"`` for one that has not ended, a state's letter for one that has ended otherwise
    (``b"f"``: it is discarded), ``b"u"`` where another job holds its unique key now, ``b""``.
    """
    return Call(load("requeue"), partition, tuple(ids), list)


def prioritize(partition: Partition, priority: int, ids: Sequence[bytes]) -> Call[list[int]]:
    """Give jobs another priority, STEP at most: 1 for each that lives, 0 for one that has ended or is not known."""
    return Call(load("prioritize"), partition, (b"%d" % priority, *ids), list)


def discard(partition: Partition, ids: Sequence[bytes]) -> Call[list[int]]:
    """Delete what is kept of dead letters: 1 done, 2 done before, 0 for an id that is none."""
    return Call(load("discard"), partition, tuple(ids), list)


def forget(partition: Partition, *, after_ms: int, ids: Sequence[bytes]) -> Call[list[int]]:
    """Drop results ``after_ms`` from now, or when they would be dropped anyway; 0 for an id that has none."""
    return Call(load("forget"), partition, (b"%d" % after_ms, *ids), list)


def _swept(reply: list[int]) -> Swept:
    *done, more, asked, processes, schedule_ms, parcel_ms, partitions = reply
    until = [None if ms < 0 else ms for ms in (schedule_ms, parcel_ms)]
    return Swept(done[0], done[1], done[2], more == 1, asked, processes, until[0], until[1], partitions)


def _verdicts(reply: list[int]) -> list[Verdict]:
    return [_VERDICTS[code] for code in reply]


_VERDICTS = {int(verdict): verdict for verdict in Verdict}
