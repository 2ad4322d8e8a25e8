"""Calls about what is kept for people: what workers count and say of themselves, and pages of it and of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from quaff.model.codec import readable
from quaff.store.keys import Partition
from quaff.store.queries import named
from quaff.store.scripts import load
from quaff.store.transitions import Call

#: Names of failures, workers and tasks in one page.
PAGE = 500

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


def present(
    partition: Partition, worker: bytes, description: bytes, *, lasts_ms: int
) -> Call[tuple[bool, list[bytes]]]:
    """What a worker says of itself, for so long; 0: it leaves.

    The answer is what is asked of it: to drain, and where these jobs are in their code, in case it runs them.
    """

    def read(reply: list[Any]) -> tuple[bool, list[bytes]]:
        drain, *ids = reply
        return drain == 1, ids

    return Call(load("present"), partition, (worker, lasts_ms, description), read, notes_only=True)


def dump(partition: Partition, id: bytes, token: bytes, text: bytes, *, lasts_ms: int) -> Call[bool]:
    """Where a job is in its code, kept for so long; False if this attempt of it has ended."""
    return Call(load("dump"), partition, (id, token, lasts_ms, text), bool, notes_only=True)


def dumped(partition: Partition, id: bytes) -> Call[tuple[bytes, bool]]:
    """What ``dump`` has kept of a job, empty if there is nothing, and whether somebody waits for it."""
    return Call(load("dumped"), partition, (id,), lambda reply: (reply[0], reply[1] == 1))


class Entry(NamedTuple):
    """Something kept for people: its name, Unix milliseconds of when it goes, and what it is."""

    name: bytes
    until_ms: int
    data: bytes


#: What is kept by names, and goes by itself.
Kept = Literal["tasks", "failures", "workers"]


class Listed(NamedTuple):
    """A page of what is kept, and of how many entries it was taken; fewer than PAGE: it is the last one."""

    looked_at: int
    entries: list[Entry]


def listing(partition: Partition, what: Kept, *, skip: int = 0, among: str = "") -> Call[Listed]:
    """A page of PAGE, the last to go first.

    Args:
        skip: how many to leave out.
        among: only those in which this text is.
    """
    args = (what.encode(), b"%d" % skip, b"%d" % PAGE, among.encode())
    return Call(load("listing"), partition, args, lambda reply: Listed(reply[0], _entries(reply[1:])))


def _entries(flat: list[Any]) -> list[Entry]:
    return [Entry(*each) for each in zip(flat[::3], map(int, flat[1::3]), flat[2::3], strict=True)]


class Survey(NamedTuple):
    """What the first screen shows of a partition.

    Attributes:
        standing: as of ``queries.stats``.
        present, minutes: as of ``series``.
        workers, failures: the last to go first.
    """

    standing: dict[str, int]
    present: int
    minutes: list[dict[str, int]]
    workers: list[Entry]
    failures: list[Entry]


def survey(partition: Partition, *, minutes: int, failures: int) -> Call[Survey]:
    """All of it in one look; the failures that happened last, so many."""

    def read(reply: list[Any]) -> Survey:
        standing, (present, *counted), workers, kinds = reply
        minutes = [numbers_of(each) for each in counted]
        return Survey(named(standing), present, minutes, _entries(workers), _entries(kinds))

    return Call(load("survey"), partition, (b"%d" % minutes, b"%d" % PAGE, b"%d" % failures), read)


def series(
    partition: Partition, unit: Literal["m", "h"], task: str, count: int
) -> Call[tuple[int, list[dict[str, int]]]]:
    """The number of the present minute or hour since the epoch, and the numbers of each, it first; 1500 at most."""
    args = (unit.encode(), task.encode(), b"%d" % count)
    return Call(load("series"), partition, args, lambda reply: (reply[0], [numbers_of(each) for each in reply[1:]]))


def numbers_of(data: bytes) -> dict[str, int]:
    """The numbers of ``model.counts``; none where nothing is kept, or it cannot be read."""
    return readable(_numbers, data, {}) if data else {}


#: Where jobs are, as the pages of ``jobs`` call it.
Place = Literal["held", "solo", "prio", "ready", "backlog", "parked", "sched", "dead", "recent", "called_off"]


class Seen(NamedTuple):
    """A job as a page of its place shows it.

    Attributes:
        on: from where to go on behind it.
        id: its 16 bytes.
        detail: what the place says of it: the token of one that is held; when it is due, or was given up, in
            milliseconds; of one that has ended ``ended``'s bytes.
        message, record: empty where they are large, or not there.
        tries: what is counted of its attempts, as ``lib/tries.lua`` has it.
    """

    place: Place
    on: bytes
    id: bytes
    detail: bytes
    message: bytes
    record: bytes
    tries: bytes


class Jobs(NamedTuple):
    """A page: the server's clock, in which place to go on (None at the end), from where there, and the jobs."""

    now_ms: int
    place: Place | None
    on: bytes
    seen: list[Seen]


def jobs(partition: Partition, places: Sequence[Place], start: bytes, most: int) -> Call[Jobs]:
    """A page of the jobs in some places, one after the other.

    Args:
        start: from where in the first of them: empty, or what a page before says.
    """

    def read(reply: list[Any]) -> Jobs:
        now, place, on, *rest = reply
        flat = zip(*(rest[at::7] for at in range(7)), strict=True)
        seen = [Seen(each[0].decode(), *each[1:]) for each in flat]
        return Jobs(int(now), place.decode() or None, on, seen)

    return Call(load("jobs"), partition, (b"%d" % most, start, *(place.encode() for place in places)), read)


_ended = msgspec.msgpack.Decoder(tuple[str, float, float]).decode


def ended(id: bytes, ended_ms: int, task: str, waited: float, seconds: float) -> bytes:
    """What is kept of a job that has succeeded."""
    return b"%bs%013d%b" % (id, ended_ms, _pack((task, waited, seconds)))


def read_ended(detail: bytes) -> tuple[bytes, int, str, float, float]:
    """The letter of the state, Unix milliseconds of the end, the task, seconds it waited (below 0: unknown) and ran.

    Of one that was called off only the first two are known. No letter: it cannot be read.
    """
    return readable(_read_ended, detail, (b"", 0, "", -1.0, 0.0))


def _read_ended(detail: bytes) -> tuple[bytes, int, str, float, float]:
    task, waited, seconds = _ended(detail[14:]) if detail[14:] else ("", -1.0, 0.0)
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
