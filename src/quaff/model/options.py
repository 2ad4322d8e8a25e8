"""Options of a task and of one call: resolved once, unknown names refused with the nearest known one."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model import durability, elsewhere
from quaff.model.batch import Batch
from quaff.model.ids import check_name
from quaff.model.limits import Concurrency, FairBy, Limit, RateLimit, Unique
from quaff.model.placement import PRIORITIES, Wishes
from quaff.model.retry import Policy, policy
from quaff.model.times import milliseconds


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the jobs of a task are stored and run.

    Attributes:
        queue: the queue its jobs wait in.
        result_ttl: seconds its result is kept after the end; 0 keeps none; None takes RESULT_TTL.
        keep_none: False keeps no result of a function that returned None.
        retry: when a failed attempt is followed by another one.
        timeout: seconds an attempt may run; 0 sets no limit, None takes TIMEOUT.
        soft_timeout: seconds after which SoftTimeout is raised in the task; None never.
        expires: seconds after the call, or an aware datetime, by which the job must have begun; None never.
        on_exhausted: the name of the task that is sent the id of a job that is given up.
        aliases: other names by which messages may call the task.
        priority: from -100 to 100; those above 0 come before all others of the queue, those below after them.
        unique: which jobs count as one; None: each counts.
        rate, concurrency: how many may start in a time, or run at a time.
        fair_by: whose turn it is.
        batch: how many calls one run of the function takes; None: one, and not in a list.
        sensitive: names of parameters whose values are shown nowhere.
        durability: what its jobs have to survive before they count as sent; None takes DURABILITY.
        key: for one call: the idempotency key; the same key and arguments is the same job.
        delay, eta: for one call: seconds until it may start, or an aware datetime.
        fair_key: for one call: the text that ``fair_by`` would give.
    """

    queue: str = "default"
    result_ttl: float | None = None
    keep_none: bool = True
    retry: Policy = Policy()
    timeout: float | None = None
    soft_timeout: float | None = None
    expires: float | datetime | None = None
    on_exhausted: str | None = None
    aliases: tuple[str, ...] = ()
    priority: int = 0
    unique: Unique | None = None
    rate: tuple[RateLimit, ...] = ()
    concurrency: tuple[Concurrency, ...] = ()
    fair_by: FairBy | None = None
    batch: Batch | None = None
    sensitive: tuple[str, ...] = ()
    durability: str | None = None
    key: str | None = None
    delay: float | None = None
    eta: datetime | None = None
    fair_key: str | None = None

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All of them."""
        return (*self.concurrency, *self.rate)

    def wishes(self, later_ms: int) -> Wishes | None:
        """What a call asks for beyond the end of the line, so many milliseconds later; None for nearly all."""
        if not (
            (later_ms or self.delay or self.eta)
            or (self.priority or self.unique or self.rate or self.concurrency or self.fair_by)
        ):
            return None
        return Wishes(
            due_ms=milliseconds(self.eta.timestamp()) + later_ms if self.eta else 0,
            delay_ms=milliseconds(self.delay or 0) + (0 if self.eta else later_ms),
            priority=self.priority,
            unique=self.unique,
            limits=self.limits,
            fair_by=self.fair_by,
            fair_key=self.fair_key,
        )

    def expires_ms(self) -> int:
        """Unix milliseconds by which a job that is sent now must have begun; 0: whenever."""
        if self.expires is None:
            return 0
        at = self.expires.timestamp() if isinstance(self.expires, datetime) else time.time() + self.expires
        return max(1, int(at * 1000))


#: What a task can set and what one call can: the others would have no effect there.
_OF_RETRIES = ("retries", "backoff", "retry_on", "give_up_on")
_OF_BOTH = ("queue", "timeout", "expires", "priority", "unique", "durability")
_OF_LIMITS = ("rate", "concurrency", "fair_by", "batch")
_OF_TASKS = (
    *(*_OF_BOTH, "result_ttl", "keep_none", *_OF_RETRIES, "soft_timeout", "on_exhausted", "aliases", "sensitive"),
    *_OF_LIMITS,
)
_OF_CALLS = (*_OF_BOTH, "key", "delay", "eta", "fair_key")

#: Seconds. A tombstone has room for 13 digits of milliseconds.
LONGEST = 100 * 365 * 24 * 3600


def resolve(base: TaskOptions, given: dict[str, Any], *, call: bool = False) -> TaskOptions:
    """``base`` with the given options laid over it, those of a task or of one ``call``.

    Raises:
        ConfigurationError: an unknown option, or a value it cannot take.
    """
    known, others = (_OF_CALLS, _OF_TASKS) if call else (_OF_TASKS, _OF_CALLS)
    for name in given:
        if name not in known:
            owner = "the task: @quaff.task" if call else "one call: task.options"
            hint = f" It belongs to {owner}({name}=...)." if name in others else did_you_mean(name, known)
            hint = f" Here it is {elsewhere.OPTIONS[name]}." if name in elsewhere.OPTIONS else hint
            raise ConfigurationError(f"unknown option {name!r}.{hint} Known here: {', '.join(known)}.")
    retry = {name: given[name] for name in _OF_RETRIES if name in given}
    values = {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in given.items()
        if name not in retry
    }
    if retry:
        values["retry"] = policy(retry)
    for name, kind in (("rate", RateLimit), ("concurrency", Concurrency)):
        if name in values:
            values[name] = _several(name, kind, values[name])
    fair_by: Any = values.get("fair_by")
    if isinstance(fair_by, str) or callable(fair_by):
        values["fair_by"] = FairBy(fair_by)
    options = msgspec.structs.replace(base, **values)
    check_name("queue", options.queue)
    for name, least in (("result_ttl", 0), ("timeout", 0), ("soft_timeout", 0.001), ("delay", 0)):
        _check_seconds(name, getattr(options, name), least)
    _check_moment("expires", options.expires)
    _check_eta(options)
    _check_place(options)
    if options.durability is not None:
        durability.check("", options.durability)
    soft, hard = options.soft_timeout, options.timeout
    if soft is not None and hard and soft >= hard:
        raise ConfigurationError(
            f"soft_timeout={soft:g} would come no sooner than timeout={hard:g}: give a shorter one."
        )
    if options.on_exhausted is not None:
        if callable(options.on_exhausted):
            raise ConfigurationError(f"on_exhausted={options.on_exhausted!r}: give a task (@quaff.task), or its name.")
        check_name("on_exhausted task", options.on_exhausted)
    if isinstance(options.sensitive, str):
        raise ConfigurationError(f"sensitive={options.sensitive!r}: give names, ({options.sensitive!r},).")
    if isinstance(options.aliases, str):
        raise ConfigurationError(f"aliases={options.aliases!r}: give a tuple of names, ({options.aliases!r},).")
    for alias in options.aliases:
        check_name("alias task", alias)
    key = options.key
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 1024 and _is_utf8(key)):
        raise ConfigurationError(f"key={key!r}: give a text of 1 to 1024 characters that UTF-8 can hold.")
    return options


def _check_seconds(name: str, given: Any, least: float) -> None:
    if given is not None and (type(given) not in (int, float) or not least <= given <= LONGEST):  # nan is not, either
        raise ConfigurationError(f"{name}={given!r}: give seconds from {least:g} to {LONGEST}, or a timedelta.")


def _several(name: str, kind: type, given: Any) -> tuple[Any, ...]:
    """One limit or several, as a tuple."""
    several = tuple(given) if isinstance(given, (list, tuple)) else () if given is None else (given,)
    for each in several:
        if not isinstance(each, kind):
            raise ConfigurationError(f"{name}={each!r}: give {kind.__name__}(...), or a tuple of them.")
    return several


def _check_place(options: TaskOptions) -> None:
    if type(options.priority) is not int or options.priority not in PRIORITIES:
        raise ConfigurationError(f"priority={options.priority!r}: give a whole number from -100 to 100.")
    for name, kind in (("unique", Unique), ("fair_by", FairBy), ("batch", Batch)):
        given = getattr(options, name)
        if given is not None and not isinstance(given, kind):
            raise ConfigurationError(f"{name}={given!r}: give {kind.__name__}(...).")
    key = options.fair_key
    if key is not None and not (isinstance(key, str) and len(key) <= 1024 and _is_utf8(key)):
        raise ConfigurationError(f"fair_key={key!r}: give a text of at most 1024 characters that UTF-8 can hold.")
    if key is not None and options.fair_by is None:
        raise ConfigurationError(f"fair_key={key!r} is for tasks with fair_by=; this one has none.")


def _check_eta(options: TaskOptions) -> None:
    if options.eta is not None:
        if not isinstance(options.eta, datetime):
            raise ConfigurationError(f"eta={options.eta!r}: give an aware datetime; delay= takes seconds.")
        _check_moment("eta", options.eta)
        if options.delay is not None:
            raise ConfigurationError("delay= and eta= say the same in two ways: give one of them.")


def _check_moment(name: str, given: Any) -> None:
    if not isinstance(given, datetime):
        _check_seconds(name, given, 0)
    elif given.utcoffset() is None:
        raise ConfigurationError(
            f"{name}={given!r}: a datetime without a time zone means another moment on each machine. "
            "Give one with tzinfo, such as datetime.now(UTC) + timedelta(minutes=5)."
        )
    elif given.timestamp() > time.time() + LONGEST:
        raise ConfigurationError(f"{name}={given!r}: give a moment in the next hundred years.")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
