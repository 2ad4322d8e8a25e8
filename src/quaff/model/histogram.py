"""Durations as counts in buckets, two for each doubling: what is added up of many processes and minutes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec

#: Seconds at which the first bucket ends; each other one ends at 1.41 times the end of the one before.
FIRST = 0.0001
#: How many there are; the last one ends after some 29 hours and has all that is longer.
BUCKETS = 61


def bucket_of(seconds: float) -> int:
    """The number of a duration's bucket, from 0."""
    return bisect_left(_ENDS, seconds)


def bound(bucket: int) -> float:
    """Seconds at which a bucket ends."""
    return FIRST * math.sqrt(2) ** bucket


#: Where all but the last one end.
_ENDS = [bound(bucket) for bucket in range(BUCKETS - 1)]


class Histogram(msgspec.Struct, frozen=True):
    """How long things took.

    Attributes:
        counts: how many by the number of their bucket; those with none are left out.
        seconds: the sum of all of them.
    """

    counts: dict[int, int] = {}
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float | None:
        """Seconds; None where there are none."""
        return self.seconds / self.count if self.counts else None

    def percentile(self, share: float) -> float | None:
        """Seconds within which this share (0 to 1) was done, within a fifth; None where there are none."""
        left = share * self.count
        for bucket, count in sorted(self.counts.items()):
            if count >= left:
                lower = bound(bucket - 1) if bucket else 0.0
                return lower + (bound(bucket) - lower) * left / count
            left -= count
        return None

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return Histogram(counts, self.seconds + other.seconds)


def total(several: Iterable[Histogram]) -> Histogram:
    """All of them as one."""
    return sum(several, start=Histogram())


def of_numbers(numbers: Mapping[str, int], letter: str) -> Histogram:
    """Out of the numbers of a tally: ``<letter><bucket>`` the counts, ``<letter>us`` the sum in microseconds."""
    counts = {int(name[1:]): n for name, n in numbers.items() if name[:1] == letter and name[1:].isdigit()}
    return Histogram(counts, numbers.get(f"{letter}us", 0) / 1e6)
