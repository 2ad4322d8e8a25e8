"""Backoff and policy: how long after, and whether at all."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quaff import ConfigurationError, Retry, exponential, fixed, linear
from quaff.model.retry import LONGEST, Again, Pauses, Policy, policy

ERROR = ValueError("x")


def pauses(rule: Any, count: int = 5) -> list[float]:
    """The first pauses."""
    return [rule(failures, ERROR) for failures in range(1, count + 1)]


def test_each_rule_grows_as_it_says() -> None:
    """Fixed, linear, exponential, each with its cap; a list repeats its last."""
    assert pauses(fixed(2, jitter=False)) == [2, 2, 2, 2, 2]
    assert pauses(linear(2, max=7, jitter=False)) == [2, 4, 6, 7, 7]
    assert pauses(exponential(1, max=10, jitter=False)) == [1, 2, 4, 8, 10]
    assert pauses(exponential(2, base=3, jitter=False)) == [2, 6, 18, 54, 162]
    assert pauses(Pauses((1, 5, 30), jitter=False)) == [1, 5, 30, 30, 30]
    assert pauses(fixed(timedelta(minutes=1), jitter=False), 1) == [60]


@given(st.integers(1, 10_000), st.sampled_from([fixed(9), linear(3), exponential(), exponential(1e-9, base=999)]))
def test_a_pause_is_a_time_within_its_bounds(failures: int, rule: Any) -> None:
    """However many failures; with full jitter anything from nothing to all of it."""
    pause = rule(failures, ERROR)
    assert 0 <= pause <= min(rule.max, LONGEST)


def test_jitter_spreads_over_the_whole_pause() -> None:
    """Full jitter by default: the mean of many is about the half."""
    drawn = [fixed(10)(1, ERROR) for _ in range(2000)]
    assert 4 < sum(drawn) / len(drawn) < 6
    assert min(drawn) < 1
    assert max(drawn) > 9


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"retries": "3"},
        {"backoff": -1},
        {"backoff": math.nan},
        {"backoff": math.inf},
        {"backoff": []},
        {"backoff": [1, "2"]},
        {"backoff": "soon"},
        {"backoff": None},
        {"retry_on": "ValueError"},
        {"retry_on": [ValueError]},
        {"give_up_on": (ValueError, 3)},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_where_it_is_declared(options: dict[str, Any]) -> None:
    """With its name and value."""
    (name,) = options
    with pytest.raises(ConfigurationError, match=name):
        policy(options)


def test_a_wrong_pause_is_refused_by_its_rule() -> None:
    """Where it is written."""
    for make in (lambda: fixed(-1), lambda: linear("1"), lambda: exponential(base=0), lambda: Retry(in_=-1)):  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="give"):
            make()


def test_a_plain_task_is_not_retried() -> None:
    """Zero by default: only what was declared safe to run again runs again."""
    assert Policy().again(1, ERROR) is None


def test_retries_are_counted_in_failures() -> None:
    """``retries=2`` is two more attempts after the first."""
    twice = policy({"retries": 2, "backoff": fixed(3, jitter=False)})
    assert [twice.again(failures, ERROR) for failures in (1, 2, 3)] == [Again(3), Again(3), None]


def test_an_explicit_retry_sets_the_time_and_keeps_the_limit() -> None:
    """It wins over the kinds of exceptions, not over the number."""
    limited = policy({"retries": 1, "backoff": fixed(3, jitter=False), "retry_on": KeyError})
    assert limited.again(1, Retry(in_=timedelta(seconds=7))) == Again(7)
    assert limited.again(1, Retry()) == Again(3)
    assert limited.again(2, Retry(in_=7)) is None
    assert Policy().again(99, Retry(in_=7)) == Again(7)
    assert policy({"retries": 0}).again(1, Retry(in_=7)) is None


def test_the_kinds_decide_with_their_subclasses() -> None:
    """``give_up_on`` wins; what is no Exception is given up by default."""
    some = policy({"retries": 9, "backoff": 0, "retry_on": (OSError, KeyError), "give_up_on": PermissionError})
    assert [some.again(1, error) is not None for error in (TimeoutError(), KeyError(), PermissionError(), ERROR)] == [
        True,
        True,
        False,
        False,
    ]
    every = policy({"retries": 9, "backoff": 0})
    assert [every.again(1, error) is None for error in (KeyboardInterrupt(), SystemExit(), ERROR)] == [
        True,
        True,
        False,
    ]


def test_an_attempt_that_is_ended_from_outside_has_the_pause_of_its_rule() -> None:
    """No function of the user's runs there: exponential() stands in for it; kinds and numbers count as ever."""
    rule = {"retries": 2, "backoff": fixed(7, jitter=False)}
    assert policy(rule).again_if_killed(1) == Again(7)
    assert policy(rule).again_if_killed(3) is None
    assert policy({**rule, "give_up_on": TimeoutError}).again_if_killed(1) is None
    assert policy({**rule, "retry_on": ValueError}).again_if_killed(1) is None

    def user(failures: int, error: BaseException) -> float:
        raise AssertionError

    again = policy({"retries": 2, "backoff": user}).again_if_killed(1)
    assert again is not None
    assert 0 <= again.seconds <= 1


def test_a_backoff_function_may_change_the_priority_too() -> None:
    """It gives a Retry instead of seconds; what that leaves open is as usual."""

    def sooner(failures: int, error: BaseException) -> Retry:
        return Retry(in_=2, priority=failures) if failures < 3 else Retry(priority=-5)

    rule = policy({"retries": 9, "backoff": sooner})
    assert [rule.again(failures, ERROR) for failures in (1, 2)] == [Again(2, 1), Again(2, 2)]
    usual = rule.again(3, ERROR)
    assert usual is not None
    assert 0 <= usual.seconds <= 4
    assert usual.priority == -5
    assert rule.again(1, Retry(in_=7, priority=50)) == Again(7, 50)
    with pytest.raises(ConfigurationError, match="-100 to 100"):
        Retry(priority=101)
