"""What is counted of a task's attempts, as the numbers that scripts add up, and what of it is shown.

Numbers have short names: how attempts ended by the letters of ``LETTER``; ``d`` and a bucket's number, ``q`` and a
bucket's number: how many ran, and waited, so long; ``dus`` and ``qus`` the sums of these times in microseconds;
``m`` and ``mus`` the same of memory, in units of ``SIZES`` bytes; ``b`` bytes that the server was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from quaff.model.histogram import BUCKETS, SIZES, Histogram, bucket_of, of_numbers
from quaff.model.states import LETTER, JobState

_RAN = [f"d{bucket}" for bucket in range(BUCKETS)]
_WAITED = [f"q{bucket}" for bucket in range(BUCKETS)]
#: What comes back.
_BACK = LETTER[JobState.RETRYING] + LETTER[JobState.SCHEDULED]
_GREW = [f"m{bucket}" for bucket in range(BUCKETS)]


class Counts(msgspec.Struct, frozen=True):
    """What was counted of attempts that ended.

    Attributes:
        succeeded, failed, cancelled, expired: jobs that ended so.
        retried: attempts that failed, after which the job comes back.
        snoozed: attempts that ended because the job wants to wait.
        run: how long attempts ran.
        wait: how long jobs waited for their first attempt from when they were due.
        memory: by how many bytes the process had grown, at its largest, while an attempt ran in it; of attempts that
            ran for some milliseconds. What others in the same process took meanwhile is in it.
        stored: bytes that the server was given of these jobs: messages, what is kept of attempts and results, lines
            and streamed values.
    """

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    retried: int = 0
    snoozed: int = 0
    run: Histogram = Histogram()
    wait: Histogram = Histogram()
    memory: Histogram = Histogram(unit=SIZES)
    stored: int = 0

    @property
    def ended(self) -> int:
        """Jobs that ended, however."""
        return self.succeeded + self.failed + self.cancelled + self.expired

    @property
    def failure_rate(self) -> float | None:
        """The share of attempts that failed (0 to 1); None where none ended."""
        failed = self.failed + self.retried
        return failed / (self.succeeded + failed) if self.succeeded + failed else None

    @property
    def stored_each(self) -> float | None:
        """Bytes that the server was given of a job; None where none ended."""
        return self.stored / self.ended if self.ended else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


def add(
    numbers: dict[str, int],
    state: JobState,
    seconds: float,
    waited: float,
    kept: int = 0,
    sent: int = 0,
    memory: int = -1,
) -> None:
    """Count one attempt.

    Args:
        numbers: to be changed.
        state: what its job is now.
        seconds: that it ran.
        waited: seconds that its job waited before it; below 0: nobody knows.
        kept: bytes that the server was given of the attempt; sent: of the job's message, which count with its end.
        memory: bytes by which its process had grown; below 0: nobody looked.
    """
    letter = LETTER[state]
    numbers[letter] = numbers.get(letter, 0) + 1
    numbers["b"] = numbers.get("b", 0) + (kept if letter in _BACK else kept + sent)
    if letter == "e":
        return  # it did not run
    seconds = max(0.0, seconds)  # a clock that was put back meanwhile takes nothing from the sum
    bucket = _RAN[bucket_of(seconds)]
    numbers[bucket] = numbers.get(bucket, 0) + 1
    numbers["dus"] = numbers.get("dus", 0) + int(seconds * 1e6)
    if waited >= 0:
        bucket = _WAITED[bucket_of(waited)]
        numbers[bucket] = numbers.get(bucket, 0) + 1
        numbers["qus"] = numbers.get("qus", 0) + int(waited * 1e6)
    if memory >= 0:
        units = memory / SIZES
        bucket = _GREW[bucket_of(units)]
        numbers[bucket] = numbers.get(bucket, 0) + 1
        numbers["mus"] = numbers.get("mus", 0) + int(units * 1e6)


def merge(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name."""
    sums: dict[str, int] = {}
    for numbers in several:
        for name, number in numbers.items():
            sums[name] = sums.get(name, 0) + number
    return sums


def read(numbers: Mapping[str, int]) -> Counts:
    """As it is shown."""
    return Counts(
        succeeded=numbers.get("s", 0),
        failed=numbers.get("f", 0),
        cancelled=numbers.get("c", 0),
        expired=numbers.get("e", 0),
        retried=numbers.get("r", 0),
        snoozed=numbers.get("w", 0),
        run=of_numbers(numbers, "d"),
        wait=of_numbers(numbers, "q"),
        memory=of_numbers(numbers, "m", SIZES),
        stored=numbers.get("b", 0),
    )
