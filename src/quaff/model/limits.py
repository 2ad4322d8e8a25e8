"""How many jobs may start or run at a time, whose turn it is, and which are one: what a task declares, as values."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model.times import Seconds, milliseconds, seconds

#: ``"api:{host}"``, filled in with a call's arguments, or a function of them.
Key: TypeAlias = "str | Callable[..., object]"
Cost: TypeAlias = "int | Callable[..., int]"

_MOST = 1_000_000
#: Characters of a key, filled in.
LONGEST_KEY = 1024

Until: TypeAlias = Literal["start", "done", "time"]
Conflict: TypeAlias = Literal["keep", "replace", "reschedule", "raise", "cancel_running"]


class RateLimit(msgspec.Struct, frozen=True):
    """At most ``n + burst`` starts in any ``per`` seconds, over all workers of a queue, by the server's clock (GCRA).

    Attributes:
        n, per: how many starts in how many seconds, evenly: ``RateLimit(10, per=1)`` starts one each 100 ms.
        burst: how many may start at once after a pause.
        key: jobs with the same key share the limit; ``"api:{host}"`` takes the argument ``host``, a function is called
            with all of them. Empty: all jobs of the task.
        cost: how much of the limit one job takes, a number or a function of its arguments.
    """

    n: int
    per: Seconds = 1.0
    burst: int = 1
    key: Key = ""
    cost: Cost = 1

    def __post_init__(self) -> None:
        _check_count("RateLimit", "n", self.n)
        _check_count("RateLimit", "burst", self.burst)
        _check_cost("RateLimit", self.cost, self.burst)
        if not seconds("RateLimit(per=)", self.per) >= 0.001:
            raise ConfigurationError(f"RateLimit(per={self.per!r}): give at least a millisecond.")

    kind = "r"

    def numbers(self) -> str:
        """As the scripts read them: n, milliseconds, burst."""
        return f"{self.n} {milliseconds(seconds('per', self.per))} {self.burst}"


class Concurrency(msgspec.Struct, frozen=True):
    """At most ``n`` jobs run at a time, over all workers of a queue; ``key`` and ``cost`` as in RateLimit.

    The place of a worker that dies is free again when its jobs are taken back: at once, or with its lease.
    """

    n: int
    key: Key = ""
    cost: Cost = 1

    def __post_init__(self) -> None:
        _check_count("Concurrency", "n", self.n)
        _check_cost("Concurrency", self.cost, self.n)

    kind = "c"

    def numbers(self) -> str:
        """As the scripts read them; a concurrency limit has only the first."""
        return f"{self.n} 1 1"


Limit: TypeAlias = "RateLimit | Concurrency"


class FairBy(msgspec.Struct, frozen=True):
    """Jobs take turns by their key: whoever has few need not wait for all of whoever has many.

    Attributes:
        key: as in RateLimit; ``fair_by="{tenant}"`` is the short form.
        weights: how many jobs a key may start in one turn, from 1, by the key's text; 1 for those not in it.
        cap: at most so many jobs of one key run at a time; None: as many as there are slots.
    """

    key: Key
    weights: Mapping[str, int] | None = None
    cap: int | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and not isinstance(self.weights, Mapping):
            raise ConfigurationError(f"FairBy(weights={self.weights!r}): give a dict of whole numbers by key.")
        for name, weight in (self.weights or {}).items():
            if not isinstance(name, str):
                raise ConfigurationError(
                    f"FairBy(weights={{{name!r}: {weight!r}}}): keys are texts, as they are filled in: {str(name)!r}."
                )
            if type(weight) is not int or not 1 <= weight <= 1000:
                raise ConfigurationError(
                    f"FairBy(weights={{{name!r}: {weight!r}}}): give whole numbers from 1 to 1000."
                )
        if self.cap is not None:
            _check_count("FairBy", "cap", self.cap)


class Unique(msgspec.Struct, frozen=True):
    """Of the jobs of a task with the same arguments one is enough.

    Attributes:
        by: the names of the arguments that count; empty: all of them.
        until: when another one may be sent: after the ``start`` of the first, when it is ``done`` with all its retries,
            or when the ``time`` ``for_`` is over, whatever has become of it.
        for_: seconds after which another one may be sent in any case; None: no such time.
        on_conflict: what becomes of a second one. ``keep``: nothing, ``delay()`` gives the first. ``raise``: nothing,
            and ``delay()`` raises DuplicateJob. ``reschedule``: the first, while it waits, takes the second one's time.
            ``replace``: the first, if it waits, is cancelled; if it runs, the second follows it. ``cancel_running``:
            as replace, and one that runs is asked to end.
    """

    by: tuple[str, ...] = ()
    until: Until = "done"
    for_: Seconds | None = None
    on_conflict: Conflict = "keep"

    def __post_init__(self) -> None:
        if isinstance(self.by, str):
            raise ConfigurationError(f"Unique(by={self.by!r}): give a tuple of names, ({self.by!r},).")
        if not isinstance(self.by, (tuple, list)) or not all(isinstance(name, str) for name in self.by):
            raise ConfigurationError(f"Unique(by={self.by!r}): give a tuple of names of arguments, or () for all.")
        for name, given, words in (
            ("until", self.until, get_args(Until)),
            ("on_conflict", self.on_conflict, get_args(Conflict)),
        ):
            if given not in words:
                raise ConfigurationError(
                    f"Unique({name}={given!r}): one of {', '.join(words)}.{did_you_mean(str(given), words)}"
                )
        if self.until == "time" and not self.for_:
            raise ConfigurationError("Unique(until='time') needs for_=: for how many seconds.")
        if self.for_ is not None and seconds("Unique(for_=)", self.for_) < 0.001:
            raise ConfigurationError(f"Unique(for_={self.for_!r}): give at least a millisecond.")

    @property
    def hold_ms(self) -> int:
        """How long the key is held at most; 0: no such time."""
        return 0 if self.for_ is None else milliseconds(seconds("for_", self.for_))


def check_key(what: str, key: Any, names: Iterable[str], *, varies: bool = False) -> None:
    """Refuse a key that no call could fill in, or, if it has to vary, one that all calls would fill in alike.

    Raises ConfigurationError.
    """
    known = list(names)
    if callable(key):
        return
    if not isinstance(key, str) or len(key) > LONGEST_KEY:
        raise ConfigurationError(f"{what}={key!r}: give a text such as 'api:{{host}}', or a function of the arguments.")
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(key) if field is not None]
    except ValueError as error:
        raise ConfigurationError(f"{what}={key!r}: {error}.") from None
    check_names(f"{what}={key!r}", fields, known)
    if varies and not fields:
        braced = f" Did you mean '{{{key}}}'?" if key in known else ""
        raise ConfigurationError(f"{what}={key!r} names no argument, so all jobs would have one turn.{braced}")


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are no parameters. Raises ConfigurationError."""
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigurationError(
                f"{what}: the function has no parameter {name!r}.{did_you_mean(name, names)} "
                f"It has: {', '.join(names) or 'none'}."
            )


def filled(key: Key, arguments: Mapping[str, Any]) -> str:
    """A key's text for one call. Raises whatever a function of the user's raises."""
    text = str(key(**arguments)) if callable(key) else key.format_map(arguments)
    if len(text) > LONGEST_KEY:
        raise ValueError(f"the key {text[:50]!r}... is longer than {LONGEST_KEY} characters")
    return text


def counted(cost: Cost, arguments: Mapping[str, Any]) -> int:
    """What one call costs. Raises ValueError, and whatever a function of the user's raises."""
    given = cost(**arguments) if callable(cost) else cost
    if type(given) is not int or not 1 <= given <= _MOST:
        raise ValueError(f"a cost of {given!r}: give a whole number from 1")
    return given


def _check_count(what: str, name: str, given: Any) -> None:
    if type(given) is not int or not 1 <= given <= _MOST:
        raise ConfigurationError(f"{what}({name}={given!r}): give a whole number from 1 to {_MOST}.")


def _check_cost(what: str, cost: Any, most: int) -> None:
    if not callable(cost) and (type(cost) is not int or not 1 <= cost <= most):
        raise ConfigurationError(f"{what}(cost={cost!r}): give a whole number from 1 to {most}, or a function.")
