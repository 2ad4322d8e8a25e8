"""Buckets of durations: where one falls, and what share was done by when."""

from __future__ import annotations

import pytest

from quaff.model import counts
from quaff.model.histogram import BUCKETS, FIRST, SIZES, Histogram, bound, bucket_of
from quaff.model.states import JobState


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, FIRST, 0.00011, 0.001, 0.5, 1.0, 59.9, 3600.0, 86_399.0])
def test_a_duration_is_within_its_bucket(seconds: float) -> None:
    """Above the end of the one before, and not above its own."""
    bucket = bucket_of(seconds)
    assert seconds <= bound(bucket) * (1 + 1e-9)
    assert bucket == 0 or seconds > bound(bucket - 1) * (1 - 1e-9)


def test_what_is_longer_than_a_day_is_in_the_last_bucket() -> None:
    """There are sixty, whatever comes."""
    assert bucket_of(1e9) == BUCKETS - 1


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 0.99])
def test_a_percentile_is_within_a_fifth(share: float) -> None:
    """Of a thousand durations from a millisecond to a second."""
    seconds = [0.001 * each for each in range(1, 1001)]
    counted = Histogram({}, 0.0)
    for each in seconds:
        counted += Histogram({bucket_of(each): 1}, each)
    exact = seconds[int(share * 1000) - 1]
    assert counted.percentile(share) == pytest.approx(exact, rel=0.2)
    assert counted.mean == pytest.approx(sum(seconds) / 1000)
    assert counted.count == 1000


def test_of_nothing_nothing_is_said() -> None:
    """No mean, no percentile."""
    assert Histogram().mean is None
    assert Histogram().percentile(0.5) is None


def test_numbers_of_several_are_added_up_and_shown() -> None:
    """Outcomes by their state, times by their bucket; who has expired has not run."""
    one: dict[str, int] = {}
    other: dict[str, int] = {}
    counts.add(one, JobState.SUCCEEDED, 0.5, 2.0)
    counts.add(one, JobState.RETRYING, 1.0, -1.0)
    counts.add(other, JobState.SUCCEEDED, 0.5, 2.0)
    counts.add(other, JobState.EXPIRED, 0.0, -1.0)
    counts.add(other, JobState.FAILED, 0.25, -1.0)
    found = counts.read(counts.merge([one, other]))
    assert (found.succeeded, found.retried, found.failed, found.expired, found.cancelled) == (2, 1, 1, 1, 0)
    assert (found.run.count, found.run.sum) == (4, pytest.approx(2.25))
    assert (found.wait.count, found.wait.sum) == (2, pytest.approx(4.0))
    assert found.ended == 4
    assert found.failure_rate == 0.5
    assert (found.stored, found.memory) == (0, Histogram(unit=SIZES))
    assert found + found == counts.read(counts.merge([one, other, one, other]))


def test_a_clock_that_was_put_back_takes_nothing_from_a_sum() -> None:
    """An attempt is measured by the time of day."""
    numbers: dict[str, int] = {}
    for seconds in (2.0, -3600.0):
        counts.add(numbers, JobState.SUCCEEDED, seconds, -1.0)
    assert counts.read(numbers).run.mean == 1.0


@pytest.mark.parametrize("numbers", [{"d99999999": 1}, {"d²": 1}, {"d3": 0}, {"d3": -1}, {"d-1": 1}])
def test_numbers_that_nobody_has_counted_are_in_no_bucket(numbers: dict[str, int]) -> None:
    """S8: a bit is another one, or somebody wrote it: a page is not as long as that says, and divides by nothing."""
    run = counts.read(numbers | {"dus": 5}).run
    assert (run.counts, run.mean, run.percentile(0.95)) == ({}, None, None)
