"""RQ's words: ``@rq_job(quaff, "pictures", …)`` for ``@job(…)``, and a queue with ``enqueue``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from quaff.dialects.spelling import NO, Called, Dialect, Said, Spelling, ours
from quaff.errors import ConfigurationError, UnknownTask
from quaff.job import Job
from quaff.model.retry import Pauses
from quaff.model.times import duration, seconds
from quaff.registry import Registry
from quaff.task import Task

P = ParamSpec("P")
R = TypeVar("R")

_THERE = "the URL of the application says where jobs go (QUAFF_URL)"
_OF_TASKS = "say it where the function is declared: @rq_job(quaff, …)"
_FOLLOWED = "on_exhausted= of @quaff.task, or group(on_success=, on_failure=)"


def _limit(given: int | str) -> float:
    """Seconds, or a text such as ``1h``; -1 is without one there, and 0 here."""
    return 0 if given == -1 else duration("timeout", given)


def _kept(seconds: int) -> int:
    if seconds == -1:
        raise ValueError("no result is kept for ever; give seconds")
    return seconds


_BOTH = {
    "at_front": Said("priority", lambda value: 1, idle=NO),
    "depends_on": Said(why="chain(), group() or workflow()"),
    "description": Said(why="screens show task and arguments; leave it out"),
    "failure_ttl": Said(why="FAILED_TTL, for all of a namespace"),
    "meta": Said(why="current_job.progress(…), current_job.log(…), or an argument"),
    "on_failure": Said(why=_FOLLOWED),
    "on_stopped": Said(why=_FOLLOWED),
    "on_success": Said(why=_FOLLOWED),
    "ttl": Said("expires"),
    "webhooks": Said(why="a task that sends the request"),
}
JOB: Spelling = {
    **_BOTH,
    "connection": Said(why=_THERE),
    "queue_class": Said(why=_THERE),
    "result_ttl": Said("result_ttl", _kept),
    "retry": Said("retries"),
    "timeout": Said("timeout", _limit),
}
CALL: Spelling = {
    **_BOTH,
    "job_id": Said(why="key= of .task.options(), with which the same key is the same job"),
    "job_timeout": Said("timeout", _limit),
    "pipeline": Said(why="with quaff.batch(): …"),
    "rate_limit": Said(why="concurrency=Concurrency(n, key=…) of @quaff.task"),
    "repeat": Said(why="@quaff.every(seconds), or raise Snooze(seconds)"),
    "result_ttl": Said(why=_OF_TASKS),
    "retry": Said(why=_OF_TASKS),
    "unique": Said(idle=NO, why="key= of .task.options(), with which the same key is the same job"),
}


class RQJob(Called[P, R]):
    """A task with the methods that RQ's ``@job`` gives a function."""

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As ``delay``."""
        return self.task.delay(*args, **kwargs)


def rq_job(quaff: Registry, queue: str = "default", **options: Any) -> Callable[[Callable[P, R]], RQJob[P, R]]:
    """``@rq_job(quaff, "pictures", …)`` for ``@job("pictures", …)``.

    Args:
        quaff: the application.
        queue: its name.
        options: RQ's; a ``Retry`` is read by its attributes. Without ``timeout`` an attempt may run for three minutes.

    Raises:
        ConfigurationError: an option that there is none for here, with what to do.
    """
    retry = options.pop("retry", None)
    given = {"queue": queue, "timeout": 180, "result_ttl": 500, **ours("@rq_job", JOB, options)}
    if retry is not None:
        given |= _retries(retry)
    return lambda fn: RQJob(quaff.task(fn, **given))


def _retries(retry: Any) -> dict[str, Any]:
    """``Retry(max=, interval=)``, or a number of them; its pauses are as long as it says."""
    most = getattr(retry, "max", retry)
    pauses = [seconds("Retry(interval=)", each) for each in getattr(retry, "intervals", None) or [0]]
    if isinstance(most, int) and len(pauses) > 1:
        # Of too few the first one repeats there, and not the last as here; of too many the last ones count.
        pauses = [pauses[0]] * (most - len(pauses)) + pauses[-most:]
    if getattr(retry, "enqueue_at_front", False):
        raise ConfigurationError(
            "@rq_job: nothing here does what Retry(enqueue_at_front=True) asks for. Instead: "
            "raise quaff.Retry(priority=1)."
        )
    return {"retries": most, "backoff": Pauses(tuple(pauses), jitter=False)}


class RQQueue:
    """A queue with RQ's methods; what is enqueued has been declared, with ``rq_job`` or ``quaff.task``.

    Args:
        quaff: the application.
        name: of the queue. One that no task names is served by workers that are told so (``-Q``).
    """

    def __init__(self, quaff: Registry, name: str = "default") -> None:
        self._quaff = quaff
        self.name: str = name

    def enqueue(self, f: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Job[Any]:
        """Send one call: ``job_timeout= ttl= at_front=``, and what else is named is for the function.

        Args:
            f: a function that is declared, what declaring it gave, or its name.
            args, kwargs: as RQ takes them, also as ``args=`` and ``kwargs=``.

        Raises:
            UnknownTask: it is not declared.
            ConfigurationError: an option that there is none for here; others as of ``Task.delay``.
        """
        return self._send(f, args, kwargs)

    def enqueue_at(self, datetime: datetime, f: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Job[Any]:
        """As ``enqueue``, at a moment with a time zone."""
        return self._send(f, args, kwargs, eta=datetime)

    def enqueue_in(self, time_delta: timedelta, f: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Job[Any]:
        """As ``enqueue``, so much later."""
        return self._send(f, args, kwargs, delay=time_delta)

    def _send(
        self, f: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any], **when: Any
    ) -> Job[Any]:
        task = self._task(f)
        options = ours(f"enqueue({task.name})", CALL, {name: kwargs.pop(name) for name in CALL if name in kwargs})
        if not args and kwargs.keys() <= {"args", "kwargs"}:
            args, kwargs = kwargs.get("args") or (), kwargs.get("kwargs") or {}
        return task.options(queue=self.name, **options, **when).delay(*args, **kwargs)

    def _task(self, f: Callable[..., Any] | str) -> Task[Any, Any, Any]:
        if isinstance(f, str):
            return self._quaff.find_task(f)
        for task in self._quaff.tasks.values():
            if f in (task, task.fn) or (isinstance(f, Dialect) and f.task is task):
                return task
        raise UnknownTask(
            f"{f!r} is not declared here, and a worker runs nothing else. Declare it: @rq_job(quaff, …), or "
            "resize_job = rq_job(quaff, …)(resize)."
        )
