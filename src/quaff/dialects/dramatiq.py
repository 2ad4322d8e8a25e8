"""Dramatiq's words: ``@dramatiq_actor(quaff, …)`` for ``@dramatiq.actor(…)``, whose result has ``send``."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar, overload

import msgspec

from quaff.dialects.spelling import NO, Dialect, Said, Spelling, ours
from quaff.errors import ConfigurationError
from quaff.job import Job
from quaff.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")

_THERE = "the URL of the application says where jobs go (QUAFF_URL)"
_FOLLOWED = "chain() and group(on_success=, on_failure=)"
_OF_TASKS = "say it where the actor is declared"


def _seconds(ms: float | timedelta) -> float | timedelta:
    return ms if isinstance(ms, timedelta) else ms / 1000


def _limit(ms: float) -> float:
    """Without one it is infinite there, and 0 here."""
    return 0 if ms == float("inf") else ms / 1000


def _count(retries: int | None) -> int:
    if retries is None:
        raise ValueError("it has no end; give a number")
    return retries


#: What a pause is made of, in milliseconds, as it is there by default: see ``Between``.
_BACKOFF = {"min_backoff": 15_000, "max_backoff": 7 * 24 * 3600 * 1000}
ACTOR: Spelling = {
    "actor_class": Said(why="tasks are functions"),
    "actor_name": Said("name"),
    "broker": Said(why=_THERE),
    "max_age": Said("expires", _seconds),
    "max_backoff": Said("backoff"),
    "max_retries": Said("retries", _count, idle=()),
    "min_backoff": Said("backoff"),
    "notify_shutdown": Said(idle=NO, why="current_job.should_stop"),
    "on_failure": Said(why=_FOLLOWED),
    "on_retry_exhausted": Said(why="on_exhausted= of @quaff.task, which is sent the job's id alone"),
    "on_success": Said(why=_FOLLOWED),
    "pipe_ignore": Said(idle=NO, why=".task.si(…)"),
    "pipe_target": Said(why="chain()"),
    # Low is first there, and high here.
    "priority": Said("priority", lambda value: -value),
    "queue_name": Said("queue"),
    "result_ttl": Said("result_ttl", _seconds),
    "retry_when": Said(why="backoff= of @quaff.task, a function of failures and exception: None gives up"),
    "store_results": Said("result_ttl", idle=NO),
    "throws": Said("give_up_on"),
    "time_limit": Said("timeout", _limit),
}
CALL: Spelling = {
    "delay": Said("delay", _seconds),
    "max_age": ACTOR["max_age"],
    "max_backoff": Said(why=_OF_TASKS),
    "max_retries": Said(why=_OF_TASKS, idle=()),
    "min_backoff": Said(why=_OF_TASKS),
    "notify_shutdown": ACTOR["notify_shutdown"],
    "on_failure": ACTOR["on_failure"],
    "on_retry_exhausted": ACTOR["on_retry_exhausted"],
    "on_success": ACTOR["on_success"],
    "pipe_ignore": ACTOR["pipe_ignore"],
    "pipe_target": ACTOR["pipe_target"],
    "result_ttl": Said(why=_OF_TASKS),
    "store_results": Said(why=_OF_TASKS),
    "throws": Said(why=_OF_TASKS),
    "time_limit": ACTOR["time_limit"],
}


class Between(msgspec.Struct, frozen=True):
    """Dramatiq's pauses: once to twice ``least`` milliseconds, then twice as long each time, up to ``most``."""

    least: float
    most: float

    def __call__(self, failures: int, error: BaseException) -> float:
        """Seconds to wait after so many failures, from 1."""
        ms = self.least * 2 ** min(failures - 1, 32) * random.uniform(1, 2)
        return (ms if ms <= self.most else self.most * random.uniform(0.5, 1)) / 1000


def _pause(name: str, ms: float | None, usual: float) -> float:
    if ms is None:
        return usual
    if type(ms) not in (int, float) or not ms >= 0:
        raise ConfigurationError(f"@dramatiq_actor: {name}={ms!r}: give milliseconds from 0.")
    return min(ms, _BACKOFF["max_backoff"])  # none is longer there


def _named(fn: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": getattr(fn, "__name__", ""), **given}


class DramatiqActor(Dialect[P, R]):
    """A task with the methods of Dramatiq's actors."""

    words: ClassVar[Mapping[str, str]] = {
        "actor_name": ".task.name",
        "message": ".task.s(…)",
        "message_with_options": ".task.options(…).s(…)",
        "queue_name": ".task.settings.queue",
    }

    def send(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Send one call; errors as of ``Task.delay``."""
        return self.task.delay(*args, **kwargs)

    def send_with_options(
        self, *, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Job[R]:
        """Send one call: ``delay= max_age= time_limit=``, in milliseconds; ``delay`` may be a timedelta.

        Raises:
            ConfigurationError: an option that there is none for here; others as of ``Task.delay``.
        """
        return self._send(args, kwargs or {}, ours(f"{self.task.name}.send_with_options()", CALL, options))


class Decorator(Protocol):
    """``@dramatiq_actor(…)`` waiting for its function."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> DramatiqActor[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> DramatiqActor[P, R]: ...
    def __call__(self, fn: Any, /) -> Any: ...


def dramatiq_actor(quaff: Registry, **options: Any) -> Decorator:
    """``@dramatiq_actor(quaff, …)`` for ``@dramatiq.actor(…)``, whose times are milliseconds.

    Args:
        quaff: the application.
        options: Dramatiq's, those of its own middleware included. Without others a failed attempt is followed by
            twenty more, with pauses from 15 seconds to a week, each may run for ten minutes, and no result is kept;
            with ``store_results=True`` for ten minutes. The name is that of the function alone.

    Raises:
        ConfigurationError: an option that there is none for here, with what to do.
    """
    pauses = Between(*(_pause(name, options.pop(name, None), usual) for name, usual in _BACKOFF.items()))
    stores, ttl = options.pop("store_results", None), options.get("result_ttl")
    if ttl is not None and not stores:
        raise ConfigurationError(f"@dramatiq_actor: result_ttl={ttl!r} is for results; add store_results=True.")
    given = {
        "retries": 20,
        "backoff": pauses,
        "timeout": 600,
        "result_ttl": 600 if stores else 0,
        **ours("@dramatiq_actor", ACTOR, options),
    }
    return lambda fn: DramatiqActor(quaff.task(fn, **_named(fn, given)))
