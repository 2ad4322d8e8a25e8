"""Where and when a job waits, as the scripts read it: only for calls that ask for more than the end of the one line.

``route`` stays with the job: ``[priority, unique key, when that is free, lane, weight, [[limit, cost], ...], ms
to hold the key]``. ``terms`` are for the moment of the call: ``[due ms, delay ms, what to do about a conflict,
[[declaration, numbers], ...]]``.
Texts only, no bytes: the Lua reader of MessagePack knows no other strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from quaff.model import codec
from quaff.model.limits import Concurrency, FairBy, Key, Limit, Unique, counted, filled

_encode = msgspec.msgpack.Encoder().encode

PRIORITIES = range(-100, 101)


class Placement(NamedTuple):
    """``route`` and ``terms`` as bytes, ``route`` empty where there is none; ``strict``: a conflict is an error."""

    route: bytes
    terms: bytes
    strict: bool


class Wishes(NamedTuple):
    """What a call asks for, resolved from its task and its own options. Times in Unix or plain milliseconds."""

    due_ms: int
    delay_ms: int
    priority: int
    unique: Unique | None
    limits: Sequence[Limit]
    fair_by: FairBy | None
    fair_key: str | None


def placement(task: str, wishes: Wishes, arguments: Mapping[str, Any]) -> Placement:
    """What to send beside a message.

    Args:
        task: its name.
        arguments: by the names of the parameters, as the function would get them.

    Raises:
        ValueError: a key or cost that cannot be; and whatever a function of the user's raises.
    """
    unique = wishes.unique
    limits, numbers = _limits(task, wishes, arguments)
    lane, weight = _lane(wishes, limits, arguments)
    key = "" if unique is None else _unique_key(task, unique, arguments)
    hold_ms = unique.hold_ms if unique else 0
    route = b""
    if wishes.priority or key or lane:
        route = _encode((wishes.priority, key, unique.until if unique else "done", lane, weight, limits, hold_ms))
    conflict = unique.on_conflict if unique else "keep"
    strict = conflict == "raise"
    terms = (wishes.due_ms, wishes.delay_ms, "keep" if strict else conflict, numbers)
    return Placement(route, _encode(terms), strict)


def short(*parts: str) -> str:
    """16 characters for texts; different ones for different texts, as far as 64 bits go."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def limit_name(kind: str, declared: str, key: str) -> str:
    """A limit as the scripts know it: its kind, its key, its declaration."""
    return kind + short(kind, declared, key) + short(kind, declared)


def declared_as(task: str, key: Key) -> str:
    """What a limit is declared as: tasks with the same text share it; with a function, or with nothing, they do not."""
    return f"{task}()" if callable(key) or not key else key


def _limits(
    task: str, wishes: Wishes, arguments: Mapping[str, Any]
) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    limits: list[tuple[str, int]] = []
    numbers: list[tuple[str, str]] = []
    for each in wishes.limits:
        declared = declared_as(task, each.key)
        name = limit_name(each.kind, declared, filled(each.key, arguments))
        limits.append((name, counted(each.cost, arguments)))
        numbers.append((name[17:], each.numbers()))
    if wishes.fair_by is not None and wishes.fair_by.cap is not None:
        cap = Concurrency(wishes.fair_by.cap)
        name = limit_name(cap.kind, f"{task}/cap", _fair_key(wishes, arguments))
        limits.append((name, 1))
        numbers.append((name[17:], cap.numbers()))
    return limits, numbers


def _lane(wishes: Wishes, limits: Sequence[tuple[str, int]], arguments: Mapping[str, Any]) -> tuple[str, int]:
    if wishes.fair_by is None and not limits:
        return "", 1
    parts = [f"{name} {cost}" for name, cost in limits]
    if wishes.fair_by is None:
        return short("", *parts), 1
    key = _fair_key(wishes, arguments)
    return short(f"={key}", *parts), (wishes.fair_by.weights or {}).get(key, 1)


def _fair_key(wishes: Wishes, arguments: Mapping[str, Any]) -> str:
    assert wishes.fair_by is not None
    return filled(wishes.fair_by.key, arguments) if wishes.fair_key is None else wishes.fair_key


def _unique_key(task: str, unique: Unique, arguments: Mapping[str, Any]) -> str:
    counted_in = {name: arguments[name] for name in unique.by} if unique.by else dict(arguments)
    # As they will come back, because what is on the wire has lost which order counts.
    same = codec.canonical([task, sorted(unique.by), codec.unpack(codec.encode(counted_in))])
    return hashlib.blake2b(same, digest_size=16).hexdigest()
