"""Options of a task and of one call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaff.errors import ConfigurationError
from quaff.model import ids
from quaff.model.limits import Concurrency, FairBy, RateLimit, Unique
from quaff.model.options import TaskOptions, check_name, resolve

BASE = TaskOptions()


def test_what_is_not_given_stays() -> None:
    """Options are laid over those of the task."""
    task = resolve(BASE, {"queue": "mail", "result_ttl": 5})
    assert resolve(task, {"key": "k"}, call=True) == TaskOptions(queue="mail", result_ttl=5, key="k")
    assert resolve(task, {"queue": "other"}, call=True).result_ttl == 5
    assert task.key is None


@pytest.mark.parametrize(("given", "seconds"), [(0, 0), (1.5, 1.5), (timedelta(minutes=1), 60.0), (None, None)])
def test_a_time_is_seconds_or_a_timedelta(given: Any, seconds: float | None) -> None:
    """0 keeps no result, None takes the setting."""
    assert resolve(BASE, {"result_ttl": given}).result_ttl == seconds


@pytest.mark.parametrize(
    "given", [-1, timedelta(seconds=-1), float("nan"), float("inf"), 1e300, "60", True, [], timedelta.max], ids=repr
)
def test_a_time_that_cannot_be_is_refused(given: Any) -> None:
    """Also those that would only break later, in the worker."""
    with pytest.raises(ConfigurationError, match="result_ttl"):
        resolve(BASE, {"result_ttl": given})


@pytest.mark.parametrize(
    "given", ["", "x" * 1025, 5, b"x", "\ud800"], ids=["none", "long", "int", "bytes", "surrogate"]
)
def test_a_key_that_cannot_be_is_refused(given: Any) -> None:
    """A key is a text that everybody hashes alike."""
    with pytest.raises(ConfigurationError, match="key="):
        resolve(BASE, {"key": given}, call=True)


def test_an_unknown_option_is_told_with_the_nearest_known_one() -> None:
    """Of a task and of a call, each with its own list."""
    with pytest.raises(ConfigurationError, match=r"unknown option 'qeue'. Did you mean 'queue'\?"):
        resolve(BASE, {"qeue": "x"})
    with pytest.raises(ConfigurationError, match=r"unknown option 'kee'. Did you mean 'key'\?"):
        resolve(BASE, {"kee": "x"}, call=True)


def test_an_option_that_would_have_no_effect_is_refused() -> None:
    """A result's time belongs to the task, a key to one call; each says where."""
    with pytest.raises(ConfigurationError, match=r"belongs to the task: @quaff\.task\(result_ttl=\.\.\.\)"):
        resolve(BASE, {"result_ttl": 5}, call=True)
    with pytest.raises(ConfigurationError, match=r"belongs to one call: task\.options\(key=\.\.\.\)"):
        resolve(BASE, {"key": "x"})


@pytest.mark.parametrize("name", ["a", "A-Z.0_9", "x" * 128, "..", "-"])
def test_a_good_name_is_given_back(name: str) -> None:
    """The characters that keys, URLs and ACLs can hold."""
    assert check_name("queue", name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "a b", "a/b", "{a}", "a*", "a\n", "ä", "a:b", "a#0", "\ud800", None, 5, b"a"], ids=repr
)
def test_a_bad_name_is_refused(name: Any) -> None:
    """Nothing that could leave the hash tag, match a pattern or break a line (S11)."""
    with pytest.raises(ConfigurationError, match="queue name"):
        check_name("queue", name)
    with pytest.raises(ConfigurationError, match="queue name"):
        resolve(BASE, {"queue": name})


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=10))
def test_a_name_is_good_or_refused(name: str) -> None:
    """Nothing else happens to any text."""
    if ids.NAME.fullmatch(name):
        assert check_name("task", name) == name
    else:
        with pytest.raises(ConfigurationError):
            check_name("task", name)


@pytest.mark.parametrize("name", ["timeout", "soft_timeout", "expires"])
@pytest.mark.parametrize(
    "given", [-1, timedelta(seconds=-1), float("nan"), float("inf"), "abc", True, [], timedelta.max], ids=repr
)
def test_a_limit_that_cannot_be_is_refused(name: str, given: Any) -> None:
    """With its name, its value and what to give instead."""
    with pytest.raises(ConfigurationError, match=rf"{name}=.*give seconds from 0.* \[QF001\]"):
        resolve(BASE, {name: given})


def test_limits_are_seconds_or_timedeltas() -> None:
    """Of a task and of one call; 0 sets no hard limit, and a soft one is shorter than the hard one."""
    task = resolve(BASE, {"timeout": timedelta(minutes=1), "soft_timeout": 50})
    assert (task.timeout, task.soft_timeout) == (60, 50)
    assert resolve(task, {"timeout": 55.5}, call=True).timeout == 55.5
    assert resolve(task, {"timeout": 0}, call=True).timeout == 0
    for short in (50, 1):
        with pytest.raises(ConfigurationError, match="soft_timeout=50 would come no sooner than timeout="):
            resolve(task, {"timeout": short}, call=True)
    with pytest.raises(ConfigurationError, match=r"soft_timeout=0: give seconds from 0\.001"):
        resolve(BASE, {"soft_timeout": 0})


def test_a_moment_has_a_time_zone() -> None:
    """A naive one would mean another moment on each machine (pain 7)."""
    with pytest.raises(ConfigurationError, match=r"expires=.*without a time zone.*tzinfo"):
        resolve(BASE, {"expires": datetime(2030, 1, 1)}, call=True)  # noqa: DTZ001
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert resolve(BASE, {"expires": moment}, call=True).expires_ms() == int(moment.timestamp() * 1000)
    assert resolve(BASE, {"expires": datetime(1960, 1, 1, tzinfo=UTC)}).expires_ms() == 1
    assert BASE.expires_ms() == 0


def test_a_moment_is_not_for_ever_away() -> None:
    """The server's lists have room for 13 digits of milliseconds."""
    for name in ("expires", "eta"):
        with pytest.raises(ConfigurationError, match=f"{name}=.*hundred years"):
            resolve(BASE, {name: datetime(3000, 1, 1, tzinfo=UTC)}, call=True)


@pytest.mark.parametrize(("seconds", "ms"), [(2.3, 2300), (0.29, 290), (0.0015, 2), (1e-7, 0), (60, 60_000)])
def test_nothing_comes_before_its_time(seconds: float, ms: int) -> None:
    """Milliseconds are rounded up, and 2.3 seconds are 2300 of them."""
    wishes = resolve(BASE, {"delay": seconds, "priority": 1}, call=True).wishes(0)
    assert wishes is not None
    assert wishes.delay_ms == ms
    moment = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    wishes = resolve(BASE, {"eta": moment}, call=True).wishes(0)
    assert wishes is not None
    assert wishes.due_ms == 1_893_456_000_000 + ms
    if seconds >= 0.001:
        assert RateLimit(3, per=seconds).numbers() == f"3 {ms} 1"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FairBy("{a}", weights=["a"]), "give a dict"),  # type: ignore[arg-type]
        (lambda: FairBy("{a}", weights={7: 2}), "keys are texts.*'7'"),  # type: ignore[dict-item]
        (lambda: FairBy("{a}", weights={"a": 0}), "from 1 to 1000"),
        (lambda: Unique(by="a"), r"\('a',\)"),  # type: ignore[arg-type]
        (lambda: Unique(by=None), "names of arguments"),  # type: ignore[arg-type]
        (lambda: Unique(by=(5,)), "names of arguments"),  # type: ignore[arg-type]
        (lambda: Unique(until="time"), "needs for_="),
        (lambda: RateLimit(10, per=float("nan")), "per=.*nan"),
        (lambda: RateLimit(10, burst=-1), "burst=-1"),
        (lambda: Concurrency(True), "n=True"),
    ],
    ids=range(10),
)
def test_a_limit_or_turn_that_cannot_be_is_refused(make: Callable[[], object], says: str) -> None:
    """Where it is made, with the reason."""
    with pytest.raises(ConfigurationError, match=says):
        make()


def test_names_of_other_tasks_are_checked() -> None:
    """A text for aliases= would be taken for its letters."""
    with pytest.raises(ConfigurationError, match=r"aliases='old': give a tuple of names, \('old',\)"):
        resolve(BASE, {"aliases": "old"})
    with pytest.raises(ConfigurationError, match="alias task name 'a b'"):
        resolve(BASE, {"aliases": ("a b",)})
    with pytest.raises(ConfigurationError, match="on_exhausted task name 5"):
        resolve(BASE, {"on_exhausted": 5})
