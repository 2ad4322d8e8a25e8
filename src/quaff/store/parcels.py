"""What one partition has to tell another: no script touches two, so it is written down, sent, and struck off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from quaff.model.codec import readable
from quaff.model.message import partition_of
from quaff.store.flows import advance
from quaff.store.keys import Partition, partition
from quaff.store.scripts import load
from quaff.store.transitions import STEP, Call, cancel


class Parcel(NamedTuple):
    """What to tell the partition ``to``, an ``(queue, number)``; ``kind`` and ``parts`` are as in ``outgoing.lua``."""

    name: bytes
    kind: str
    to: tuple[str, int]
    parts: list[bytes]


class Delivery(NamedTuple):
    """A call that says it there, and the names of the parcels that are delivered if it answers True."""

    call: Call[bool]
    names: list[bytes]


def outgoing(home: Partition, *, hold_ms: int) -> Call[list[Parcel]]:
    """What is due, STEP at most; for so long it is ours to send."""
    return Call(load("outgoing"), home, (STEP, hold_ms), _parcels)


def sent(home: Partition, *, again_ms: int, names: Sequence[bytes]) -> Call[int | None]:
    """These are delivered; a journey that is not over by then is announced again. Answers ms until more is due."""
    return Call(load("sent"), home, (again_ms, *names), lambda reply: None if reply < 0 else reply)


def deliveries(namespace: str, parcels: Sequence[Parcel], *, window_ms: int) -> Iterator[Delivery]:
    """How to deliver parcels: one call for those of a kind that go to the same partition."""
    groups: dict[tuple[str, tuple[str, int]], list[Parcel]] = {}
    for each in parcels:
        groups.setdefault((each.kind, each.to), []).append(each)
    for (kind, to), some in groups.items():
        yield from _KINDS[kind].how(partition(namespace, *to), some, window_ms)


def _arrive(there: Partition, parcels: list[Parcel], window_ms: int) -> Iterator[Delivery]:
    parts = chain.from_iterable(each.parts for each in parcels)
    yield Delivery(Call(load("arrive"), there, tuple(parts), _heard), [each.name for each in parcels])


def _return(there: Partition, parcels: list[Parcel], window_ms: int) -> Iterator[Delivery]:
    parts = chain.from_iterable(each.parts for each in parcels)
    yield Delivery(Call(load("returned"), there, (window_ms, *parts), _heard), [each.name for each in parcels])


def _cancel(there: Partition, parcels: list[Parcel], window_ms: int) -> Iterator[Delivery]:
    for each in parcels:
        id, _, ttl_ms, window, record = each.parts
        call = cancel(there, outcome=record, ttl_ms=int(ttl_ms), window_ms=int(window), ids=[id])
        # Unknown there: it has not arrived yet, and is told when it has.
        yield Delivery(Call(call.script, there, call.args, lambda answers: answers != [b""]), [each.name])


def _advance(there: Partition, parcels: list[Parcel], window_ms: int) -> Iterator[Delivery]:
    for each in parcels:
        what, of, at, *_ = each.parts
        # Struck off, or changed to what is left to do, by the script itself.
        yield Delivery(advance(there, what, of, at), [])


def _signal(there: Partition, parcels: list[Parcel], window_ms: int) -> Iterator[Delivery]:
    for each in parcels:
        # Unknown there: as with a cancellation.
        yield Delivery(Call(load("signal"), there, tuple(each.parts), bool), [each.name])


class _Kind(NamedTuple):
    how: Callable[[Partition, list[Parcel], int], Iterator[Delivery]]
    parts: tuple[int, ...]


#: How to deliver each, and how many parts it may have: with others it would be read into its neighbours.
_KINDS: dict[str, _Kind] = {
    "go": _Kind(_arrive, (6,)),
    "back": _Kind(_return, (8,)),
    "cancel": _Kind(_cancel, (5,)),
    "advance": _Kind(_advance, (3, 4)),
    "signal": _Kind(_signal, (6,)),
}


def _heard(reply: Any) -> bool:
    return True


def _parcels(reply: list[list[bytes]]) -> list[Parcel]:
    # What was damaged stays where it is, and the others go.
    found = (readable(_parcel, each, None) for each in reply)
    return [each for each in found if each is not None]


def _parcel(told: list[bytes]) -> Parcel:
    name, kind, to, *parts = told
    parcel = Parcel(name, kind.decode(), partition_of(to), parts)
    if len(parts) not in _KINDS[parcel.kind].parts:
        raise ValueError(f"no {parcel.kind!r} has {len(parts)} parts")
    if parcel.kind == "cancel" and not all(map(bytes.isdigit, parts[2:4])):
        raise ValueError("how long it is kept is no number")
    return parcel
