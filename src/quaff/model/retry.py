"""Whether a failed attempt is followed by another one, and when: values, applied where the task's own code is."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from quaff.errors import ConfigurationError
from quaff.model.steering import Retry, TimeLimit
from quaff.model.times import LONGEST, Seconds, checked
from quaff.model.times import seconds as _seconds


class Backoff(msgspec.Struct, frozen=True):
    """Pauses by a rule: ``first``, and each next one ``times`` the one before, ``plus`` so much more, up to ``max``.

    Attributes:
        jitter: take a random part of each pause, from nothing to all of it, so that jobs which failed together do not
            come back together ("full jitter": M. Brooker, AWS Architecture Blog, 2015).
    """

    first: float
    plus: float = 0.0
    times: float = 1.0
    max: float = LONGEST
    jitter: bool = True

    def __call__(self, failures: int, error: BaseException) -> float:
        """Seconds to wait after so many failures, from 1."""
        try:
            whole = self.first * self.times ** (failures - 1) + self.plus * (failures - 1)
        except OverflowError:
            whole = self.max
        return _spread(min(whole, self.max), self.jitter)


class Pauses(msgspec.Struct, frozen=True):
    """Pauses from a list, of which the last one repeats; ``jitter`` as in Backoff."""

    seconds: tuple[float, ...]
    jitter: bool = True

    def __call__(self, failures: int, error: BaseException) -> float:
        """Seconds to wait after so many failures, from 1."""
        return _spread(self.seconds[min(failures, len(self.seconds)) - 1], self.jitter)


def _spread(seconds: float, jitter: bool) -> float:
    return random.uniform(0, seconds) if jitter else seconds


def fixed(seconds: Seconds, *, jitter: bool = True) -> Backoff:
    """The same pause each time."""
    return Backoff(_seconds("fixed()", seconds), jitter=jitter)


def linear(step: Seconds, *, max: Seconds = LONGEST, jitter: bool = True) -> Backoff:
    """``step``, then twice and three times as much, up to ``max``."""
    first = _seconds("linear()", step)
    return Backoff(first, plus=first, max=_seconds("linear(max=)", max), jitter=jitter)


def exponential(first: Seconds = 1.0, *, base: float = 2.0, max: Seconds = 3600.0, jitter: bool = True) -> Backoff:
    """``first``, then each time ``base`` times as much, up to ``max``."""
    if type(base) not in (int, float) or not 1 <= base <= 1000:
        raise ConfigurationError(f"exponential(base={base!r}): give a number from 1 to 1000.")
    return Backoff(_seconds("exponential()", first), times=base, max=_seconds("exponential(max=)", max), jitter=jitter)


#: After how many failures, and why: seconds, None to give up, or a Retry, which can also change priority and queue.
Rule: TypeAlias = "Callable[[int, BaseException], Seconds | Retry | None]"
Kinds: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...]"


_USUAL = exponential()


class Again(NamedTuple):
    """Another attempt: in how many seconds, with which priority and in which queue (None: as before)."""

    seconds: float
    priority: int | None = None
    queue: str | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When a task's failed attempts are followed by another one.

    Attributes:
        retries: how often at most; None: never by itself, and as often as the task raises Retry.
        backoff: how long after.
        retry_on, give_up_on: which exceptions; the second wins.
    """

    retries: int | None = None
    backoff: Rule = _USUAL
    retry_on: Kinds = Exception
    give_up_on: Kinds = ()

    def again(self, failures: int, error: BaseException) -> Again | None:
        """The next attempt after so many failures, this one included; None: give up.

        Raises:
            ValueError: the backoff function gave what is no time.
        """
        asked = error if isinstance(error, Retry) else None
        if failures > (self.retries or 0) and not (asked and self.retries is None):
            return None
        if not asked and (isinstance(error, self.give_up_on) or not isinstance(error, self.retry_on)):
            return None
        if asked and asked.in_ is not None:
            return Again(asked.in_, asked.priority, asked.queue)
        given = self.backoff(failures, error)
        if isinstance(given, Retry):
            seconds = _USUAL(failures, error) if given.in_ is None else given.in_
            return Again(seconds, given.priority, given.queue)
        if given is None:
            return None
        return Again(checked(given), asked.priority, asked.queue) if asked else Again(checked(given))

    def again_if_killed(self, failures: int) -> Again | None:
        """As ``again``, for an attempt that is ended at its limit from outside, where no code of the task's can run.

        ``exponential()`` stands in for a backoff that is a function.
        """
        rule = self.backoff if isinstance(self.backoff, (Backoff, Pauses)) else _USUAL
        return msgspec.structs.replace(self, backoff=rule).again(failures, TimeLimit())


def policy(given: dict[str, Any]) -> Policy:
    """A policy from a task's options ``retries backoff retry_on give_up_on``; those that are absent by default.

    Raises:
        ConfigurationError: a value it cannot take.
    """
    retries = given.get("retries")
    if retries is not None and (type(retries) is not int or not 0 <= retries <= 1_000_000):
        raise ConfigurationError(f"retries={retries!r}: give a whole number from 0.")
    for name in ("retry_on", "give_up_on"):
        if name in given and not _are_exceptions(given[name]):
            raise ConfigurationError(f"{name}={given[name]!r}: give an exception class, or a tuple of them.")
    values = {**given, "backoff": _rule(given["backoff"])} if "backoff" in given else given
    return Policy(**values)


def _rule(given: Any) -> Rule:
    if isinstance(given, (list, tuple)) and given:
        return Pauses(tuple(_seconds("backoff=", each) for each in given))
    if isinstance(given, (int, float, timedelta)):
        return Backoff(_seconds("backoff=", given))
    if callable(given):
        return cast("Rule", given)
    raise ConfigurationError(
        f"backoff={given!r}: give seconds, a list of them, fixed(), linear(), exponential(), or a function of the "
        "number of failures and the exception."
    )


def _are_exceptions(given: Any) -> bool:
    kinds = given if isinstance(given, tuple) else (given,)
    return all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)
