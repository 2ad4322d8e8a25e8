"""Celery's words: ``@celery_task(quaff, …)`` for ``@app.task(…)``, with ``delay`` and ``apply_async``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar

from quaff.dialects.spelling import EITHER, NO, YES, Called, Said, Spelling, ours
from quaff.errors import ConfigurationError
from quaff.job import Job
from quaff.model.retry import exponential, fixed
from quaff.model.steering import TimeLimit
from quaff.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")

_LATE = "a job is acknowledged with its outcome, and one whose worker died runs again"
_ROUTED = "queue= is all there is"
_SOFT = "soft_timeout= of @quaff.task, which raises quaff.SoftTimeout"
_FOLLOWED = "chain() and group(on_success=, on_failure=)"
_LEFT_OUT = "leave it out"

# High is first here, and low there.
_BOTH = {
    "expires": Said("expires"),
    "priority": Said("priority", lambda value: -value),
    "queue": Said("queue"),
    "serializer": Said(idle=(None, "json"), why="leave it out: arguments arrive as what they were"),
    "soft_time_limit": Said(why=_SOFT),
    "time_limit": Said("timeout"),
}
#: What belongs together: see ``_retries``.
_RETRIES = {
    "autoretry_for": Said("retry_on"),
    "dont_autoretry_for": Said("give_up_on"),
    **dict.fromkeys(("default_retry_delay", "retry_backoff", "retry_backoff_max", "retry_jitter"), Said("backoff")),
    "max_retries": Said("retries"),
}
TASK: Spelling = {
    **_BOTH,
    **_RETRIES,
    "acks_late": Said(idle=YES, why=_LATE),
    **dict.fromkeys(
        ("acks_on_failure", "acks_on_failure_or_timeout", "acks_on_timeout"),
        Said(idle=YES, why="retries= of @quaff.task"),
    ),
    "base": Said(why="a decorator of your own on the function"),
    "bind": Said(idle=NO, why="current_job has what self.request has, and the function no first parameter"),
    "ignore_result": Said("result_ttl", lambda value: 0, idle=NO),
    "name": Said("name"),
    "pydantic": Said(idle=NO, why="models are arguments by the hints of the function, without an option"),
    "rate_limit": Said(why="there it is for each worker; rate=RateLimit(10, per=1) of @quaff.task is for all of them"),
    "reject_on_worker_lost": Said(idle=YES, why=_LATE),
    "retry_kwargs": Said(why="max_retries= and default_retry_delay= say the same"),
    "retry_on_worker_lost": Said(idle=YES, why=_LATE),
    "send_events": Said(idle=EITHER),
    "store_errors_even_if_ignored": Said(idle=EITHER),
    "throws": Said(why="leave it out: the log has one line for each job that failed"),
    "track_started": Said(idle=EITHER),
    "trail": Said(idle=EITHER),
    "typing": Said(idle=YES, why="arguments are always checked, before anything is sent"),
}
CALL: Spelling = {
    **_BOTH,
    "add_to_parent": Said(idle=EITHER),
    "compression": Said(why="nothing is compressed; leave it out"),
    "countdown": Said("delay"),
    "eta": Said("eta"),
    "exchange": Said(why=_ROUTED),
    "headers": Said(why="a middleware has headers (quaff.middleware)"),
    "ignore_result": Said(idle=NO, why="say it where the task is declared"),
    "link": Said(why=_FOLLOWED),
    "link_error": Said(why=_FOLLOWED),
    "producer": Said(why=_LEFT_OUT),
    "retry": Said(idle=YES, why="DEADLINE bounds all tries to send a job; leave it out"),
    "retry_policy": Said(why="DEADLINE bounds all tries to send a job; leave it out"),
    "routing_key": Said(why=_ROUTED),
    "shadow": Said(why="screens show task and arguments; leave it out"),
    "task_id": Said(why="key= of .task.options(), with which the same key is the same job"),
}


class CeleryTask(Called[P, R]):
    """A task with the methods of Celery's."""

    words: ClassVar[Mapping[str, str]] = {
        "chunks": ".task.map(calls)",
        "request": "current_job",
        "retry": "raise quaff.Retry(in_=…)",
        "signature": ".task.s(…)",
        "subtask": ".task.s(…)",
        "apply": "a plain call",
    }

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Job[R]:
        """Send one call: ``countdown= eta= expires= queue= priority= time_limit=``, in Celery's units.

        Raises:
            ConfigurationError: an option that there is none for here, or an ``eta`` without a time zone; others as of
                ``Task.delay``.
        """
        return self._send(args or (), kwargs or {}, ours(f"{self.task.name}.apply_async()", CALL, options))


def celery_task(quaff: Registry, **options: Any) -> Callable[[Callable[P, R]], CeleryTask[P, R]]:
    """``@celery_task(quaff, …)`` for ``@app.task(…)`` and ``@shared_task(…)``.

    Args:
        quaff: the application.
        options: Celery's. Without ``time_limit`` an attempt may run for ever; results are kept for a day.

    Raises:
        ConfigurationError: an option that there is none for here, with what to do.
    """
    retries = {name: options.pop(name) for name in _RETRIES if name in options}
    if retries and not retries.get("autoretry_for"):
        raise ConfigurationError(
            f"@celery_task: {', '.join(retries)} without autoretry_for= is for self.retry(), which is not here: "
            "raise quaff.Retry(in_=…), and say retries= in @quaff.task."
        )
    given = {"timeout": 0, "result_ttl": 24 * 3600, **ours("@celery_task", TASK, options)}
    if retries:
        try:
            given |= _retries(**retries)
        except (TypeError, ValueError) as error:
            told = ", ".join(f"{name}={value!r}" for name, value in retries.items())
            raise ConfigurationError(f"@celery_task: {told} cannot be read: {error}.") from None
    return lambda fn: CeleryTask(quaff.task(fn, **given))


def _retries(
    *,
    autoretry_for: Sequence[type[BaseException]],
    dont_autoretry_for: Sequence[type[BaseException]] = (),
    max_retries: int | None = 3,
    default_retry_delay: float = 180,
    retry_backoff: float = 0,
    retry_backoff_max: float = 600,
    retry_jitter: bool = True,
) -> dict[str, Any]:
    """What Celery does with these, their defaults included."""
    if max_retries is None:
        raise ConfigurationError("@celery_task: max_retries=None has no end; give a number.")
    first = max(1, int(retry_backoff)) if retry_backoff else 0
    return {
        "retries": max_retries,
        "retry_on": tuple(autoretry_for),
        # Celery tries nothing again that was ended at its limit.
        "give_up_on": (*dont_autoretry_for, TimeLimit),
        "backoff": exponential(first, max=retry_backoff_max, jitter=retry_jitter)
        if first
        else fixed(default_retry_delay, jitter=False),
    }
