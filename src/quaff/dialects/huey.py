"""Huey's words: ``@huey_task(quaff, …)`` for ``@huey.task(…)``: a call sends, ``call_local`` calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from quaff.dialects.spelling import NO, Dialect, Said, Spelling, ours
from quaff.job import Job
from quaff.model.retry import exponential
from quaff.model.times import LONGEST
from quaff.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")

_OF_TASKS = "say it where the task is declared"

_BOTH = {"expires": Said("expires"), "priority": Said("priority"), "timeout": Said("timeout")}
TASK: Spelling = {
    **_BOTH,
    "context": Said(idle=NO, why="current_job, and no parameter for it"),
    "name": Said("name"),
    "retries": Said("retries"),
    "retry_backoff": Said("backoff"),
    "retry_delay": Said("backoff"),
}
CALL: Spelling = {
    **_BOTH,
    "delay": Said("delay"),
    "eta": Said("eta"),
    "id": Said(why="key= of .task.options(), with which the same key is the same job"),
    **dict.fromkeys(("retries", "retry_backoff", "retry_delay"), Said(why=_OF_TASKS)),
}


class HueyTask(Dialect[P, R]):
    """A task with the methods of Huey's."""

    words: ClassVar[Mapping[str, str]] = {
        "map": ".task.map([(1,), (2,)])",
        "restore": "quaff.unblock(task)",
        "revoke": "quaff.block(task)",
        "s": ".task.s(…)",
    }

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Send one call; errors as of ``Task.delay``."""
        return self.task.delay(*args, **kwargs)

    def call_local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """A plain call, here and now."""
        return cast("R", self.task(*args, **kwargs))

    def schedule(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Job[R]:
        """Send one call: ``delay= eta= expires= priority= timeout=``, in seconds.

        Raises:
            ConfigurationError: an option that there is none for here, or an ``eta`` without a time zone; others as of
                ``Task.delay``.
        """
        return self._send(args or (), kwargs or {}, ours(f"{self.task.name}.schedule()", CALL, options))


def huey_task(
    quaff: Registry, *, retry_delay: float = 0, retry_backoff: float = 0, **options: Any
) -> Callable[[Callable[P, R]], HueyTask[P, R]]:
    """``@huey_task(quaff, …)`` for ``@huey.task(…)``.

    Args:
        quaff: the application.
        retry_delay, retry_backoff: seconds, and how many times as long each pause is as the one before.
        options: Huey's. Without ``timeout`` an attempt may run for ever. A result is kept for RESULT_TTL, read or not.

    Raises:
        ConfigurationError: an option that there is none for here, with what to do.
    """
    found = ours("@huey_task", TASK, options)
    pauses = exponential(retry_delay, base=retry_backoff or 1, max=LONGEST, jitter=False)
    given = {"retries": 0, "backoff": pauses, "timeout": 0, **found}
    return lambda fn: HueyTask(quaff.task(fn, **given))
