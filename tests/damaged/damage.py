"""What can become of bytes: a bit is another one, the end is missing, something made to break a parser stands there."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from quaff.model import codec

T = TypeVar("T")

#: What chooses among damages where all of them take too long; `SEED=7 make test` chooses again what it chose then.
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))

BOMBS = {
    "arrays in arrays": b"\x91" * 200_000,
    "tuples in tuples": b"\xc7\xff\x01" * 50_000,
    "an array of four thousand millions": b"\xdd\xff\xff\xff\xff",
    "a map of four thousand millions": b"\xdf\xff\xff\xff\xff",
    "bytes of four thousand millions": b"\xc6\xff\xff\xff\xff",
    "an extension of four thousand millions": b"\xc9\xff\xff\xff\xff\x01",
    "a number of a million digits": codec.pack(codec.Ext(4, b"f" * 1_000_000)),
    "a decimal of a million digits": codec.pack(codec.Ext(10, b"9" * 1_000_000)),
    "nothing": b"",
}


#: Times and places that nobody would give.
SCORES = (0.0, -1.0, 0.5, 2.0**53, 1e300, float("inf"), float("-inf"))


def damaged(data: bytes) -> Iterator[bytes]:
    """Each bit flipped, each length that is too short, and bombs in its place and behind it."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    yield from (data[:length] for length in range(len(data)))
    for bomb in BOMBS.values():
        yield from (bomb, data + bomb, data[:1] + bomb)


def in_place(kind: str, value: dict[bytes, Any] | list[bytes]) -> Iterator[dict[bytes, Any] | list[bytes]]:
    """What a key holds with one damage in it, one after the other: in a field, in a value, in an entry, in a score."""
    if isinstance(value, list):
        for at, entry in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in damaged(entry))
        return
    for field, kept in value.items():
        rest = {each: value[each] for each in value if each != field}
        yield from (rest | {other: kept} for other in damaged(field))
        others: Iterable[Any] = damaged(kept) if kind == "hash" else SCORES
        yield from (value | {field: other} for other in others)


def some(all_: Iterable[T], count: int, about: str) -> Sequence[T]:
    """So many of them, chosen by the seed, which is in the output of a test that fails.

    Args:
        about: what is damaged: of two things that have as many damages, others are chosen.
    """
    known = list(all_)
    print(f"SEED={SEED}, {about}")
    return random.Random(f"{SEED} {about}").sample(known, min(max(1, count), len(known)))
