"""Durations, or sizes, as counts in buckets, two for each doubling: what is added up of many processes and minutes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping

import msgspec

#: Where the first bucket ends, in units (a second); each other one ends at 1.41 times the end of the one before.
FIRST = 0.0001
#: How many there are; the last one ends after some 29 hours and has all that is longer.
BUCKETS = 61
#: The unit of sizes, in bytes: with it the first bucket ends at 128 KiB.
SIZES = 2**17 / FIRST


def bucket_of(units: float) -> int:
    """The number of a duration's bucket, from 0."""
    return bisect_left(_ENDS, units)


def bound(bucket: int) -> float:
    """Where a bucket ends, in units."""
    return FIRST * math.sqrt(2) ** bucket


#: Where all but the last one end.
_ENDS = [bound(bucket) for bucket in range(BUCKETS - 1)]
#: As names have them. Others were damaged: a page has a row for each bucket up to the last one.
_NUMBERS = {str(bucket): bucket for bucket in range(BUCKETS)}


class Histogram(msgspec.Struct, frozen=True):
    """How long things took, in seconds, or how large they were, in bytes.

    Attributes:
        counts: how many by the number of their bucket; those with none are left out.
        sum: of all of them.
        unit: what the ends of the buckets are told in: 1 second, or ``SIZES`` bytes.
    """

    counts: dict[int, int] = {}
    sum: float = 0.0
    unit: float = 1.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float | None:
        """None where there are none."""
        return self.sum / self.count if self.counts else None

    def end(self, bucket: int) -> float:
        """Where a bucket ends."""
        return bound(bucket) * self.unit

    def percentile(self, share: float) -> float | None:
        """What this share (0 to 1) did not exceed, within a fifth; None where there are none."""
        left = share * self.count
        for bucket, count in sorted(self.counts.items()):
            if count >= left:
                lower = self.end(bucket - 1) if bucket else 0.0
                return lower + (self.end(bucket) - lower) * left / count
            left -= count
        return None

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return Histogram(counts, self.sum + other.sum, self.unit)


def of_numbers(numbers: Mapping[str, int], letter: str, unit: float = 1.0) -> Histogram:
    """Out of a tally's numbers: ``<letter><bucket>`` the counts, ``<letter>us`` the sum in millionths of a unit."""
    counts = {
        _NUMBERS[name[1:]]: n for name, n in numbers.items() if name[:1] == letter and name[1:] in _NUMBERS and n > 0
    }
    return Histogram(counts, numbers.get(f"{letter}us", 0) / 1e6 * unit, unit)
