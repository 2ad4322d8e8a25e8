"""Calls about what is kept for people: what workers count and say of themselves, and pages of it and of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from quaff.model.codec import readable
from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import Call

#: Names of failures, workers and tasks in one page.
PAGE = 100

_pack = msgspec.msgpack.Encoder().encode
_numbers = msgspec.msgpack.Decoder(dict[str, int]).decode


class Failed(NamedTuple):
    """Attempts that failed in the same way: the name of that, how many, how many of their jobs were given up, what it
    is as text, and the id of one of them."""

    kind: bytes
    attempts: int
    given_up: int
    what: str
    id: str


def tally(
    partition: Partition,
    *,
    process: bytes,
    number: int,
    tasks: Mapping[str, Mapping[str, int]],
    failures: Sequence[Failed],
    recent: Sequence[bytes],
) -> Call[bool]:
    """Add up what a process has counted; False if that was done before.

    Args:
        number: rises with every tally of the process.
        tasks: numbers (``model.counts``) by the task's name, and by ``""`` those of all together.
        recent: jobs that have succeeded, the last one last (``Place.ended``).
    """
    flat: list[Any] = [process, number, len(tasks), len(failures)]
    for name, numbers in tasks.items():
        flat += name, _pack(numbers)
    for each in failures:
        flat += each
    return Call(load("tally"), partition, (*flat, *recent), bool, notes_only=True)


def present(partition: Partition, worker: bytes, description: bytes, *, lasts_ms: int) -> Call[bool]:
    """What a worker says of itself, for so long; 0: it leaves."""
    return Call(load("present"), partition, (worker, lasts_ms, description), bool, notes_only=True)


class Entry(NamedTuple):
    """Something kept for people: its name, Unix milliseconds of when it goes, and what it is."""

    name: bytes
    until_ms: int
    data: bytes


def listing(
    partition: Partition, what: Literal["tasks", "failures", "workers"], *, until_ms: int | None = None, skip: int = 0
) -> Call[tuple[int, list[Entry]]]:
    """The server's clock, and a page of PAGE, the last to go first.

    Args:
        until_ms: only what goes by then; skip: of these, how many to leave out.
    """
    args = (what.encode(), b"+inf" if until_ms is None else b"%d" % until_ms, b"%d" % skip, b"%d" % PAGE)

    def read(reply: list[Any]) -> tuple[int, list[Entry]]:
        now, *rest = reply
        return now, [Entry(*each) for each in zip(rest[::3], map(int, rest[1::3]), rest[2::3], strict=True)]

    return Call(load("listing"), partition, args, read)


def series(
    partition: Partition, unit: Literal["m", "h"], task: str, count: int
) -> Call[tuple[int, list[dict[str, int]]]]:
    """The number of the present minute or hour since the epoch, and the numbers of each, it first; 1500 at most."""
    args = (unit.encode(), task.encode(), b"%d" % count)
    return Call(load("series"), partition, args, lambda reply: (reply[0], [numbers_of(each) for each in reply[1:]]))


def numbers_of(data: bytes) -> dict[str, int]:
    """The numbers of ``model.counts``; none where nothing is kept, or it cannot be read."""
    return readable(_numbers, data, {}) if data else {}


class Seen(NamedTuple):
    """A job as a page of its place shows it.

    Attributes:
        id: its 16 bytes.
        detail: what the place says of it: the token of one that is held; when it is due, or was given up, in
            milliseconds; of one that has ended ``ended``'s bytes.
        message, record: empty where they are large, or not there.
        tries: what is counted of its attempts, as ``lib/tries.lua`` has it.
    """

    id: bytes
    detail: bytes
    message: bytes
    record: bytes
    tries: bytes


#: Where jobs are, as the pages of ``jobs`` call it.
Place = Literal["held", "solo", "prio", "ready", "backlog", "parked", "sched", "dead", "recent", "called_off"]


class Jobs(NamedTuple):
    """A page: the server's clock, from where to go on (empty at the end), and the jobs."""

    now_ms: int
    on: bytes
    seen: list[Seen]


def jobs(partition: Partition, place: Place, start: bytes, most: int) -> Call[Jobs]:
    """A page of the jobs in one place; ``start``: empty, or what the page before says."""

    def read(reply: list[Any]) -> Jobs:
        now, on, *rest = reply
        seen = [Seen(*each) for each in zip(*(rest[at::5] for at in range(5)), strict=True)]
        return Jobs(int(now), on, seen)

    return Call(load("jobs"), partition, (place.encode(), start, b"%d" % most), read)


_ended = msgspec.msgpack.Decoder(tuple[str, float, float]).decode


def ended(id: bytes, ended_ms: int, task: str, waited: float, seconds: float) -> bytes:
    """What is kept of a job that has succeeded."""
    return b"%bs%013d%b" % (id, ended_ms, _pack((task, waited, seconds)))


def read_ended(detail: bytes) -> tuple[bytes, int, str, float, float]:
    """The letter of the state, Unix milliseconds of the end, the task, seconds it waited (below 0: unknown) and ran.

    Of one that was called off only the first two are known.
    """
    task, waited, seconds = readable(_ended, detail[14:], ("", -1.0, 0.0)) if detail[14:] else ("", -1.0, 0.0)
    return detail[:1], int(detail[1:14]), task, waited, seconds


class Kind(msgspec.Struct, array_like=True, frozen=True):
    """Attempts that failed in the same way, as they are kept; ``what`` is JSON, ``ids`` come one by one after it."""

    attempts: int
    given_up: int
    first_ms: int
    last_ms: int
    what: str


_kinds = msgspec.msgpack.Decoder(Kind).decode
_ids = msgspec.msgpack.Decoder(list[Any]).decode


def read_kind(data: bytes) -> tuple[Kind, list[str]]:
    """A kind of failure, and ids of some jobs, the last one first."""
    return _kinds(data), [str(each) for each in _ids(data)[5:]]
