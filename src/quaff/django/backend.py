"""A backend for ``django.tasks``: ``TASKS = {"default": {"BACKEND": "quaff.django.backend.QuaffBackend"}}``.

Before Django 6 it is that of the package django-tasks, which has the same API.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from quaff.context import current_job
from quaff.django.project import quaff
from quaff.errors import JobNotFound, ResultExpired
from quaff.info import JobInfo
from quaff.job import Job
from quaff.model.states import JobState
from quaff.task import Task

P = ParamSpec("P")
R = TypeVar("R")

_ROOT = "django.tasks" if find_spec("django.tasks") else "django_tasks"


def of_django(module: str, name: str) -> Any:
    """A part of ``django.tasks``, wherever it is."""
    return getattr(import_module(f"{_ROOT}.{module}"), name)


if TYPE_CHECKING:
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task as DjangoTask
    from django.tasks.base import TaskResult, TaskResultStatus
else:
    BaseTaskBackend = of_django("backends.base", "BaseTaskBackend")
    TaskResult = of_django("base", "TaskResult")
    TaskResultStatus = of_django("base", "TaskResultStatus")

_STATUS = {
    JobState.RUNNING: TaskResultStatus.RUNNING,
    JobState.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    JobState.FAILED: TaskResultStatus.FAILED,
    JobState.CANCELLED: TaskResultStatus.FAILED,
    JobState.EXPIRED: TaskResultStatus.FAILED,
}

#: By alias and name, for all threads of a process: Django makes a backend for each, and declares a task once.
_DECLARED: dict[str, dict[str, DjangoTask[..., Any]]] = {}


class QuaffBackend(BaseTaskBackend):
    """Runs Django's tasks as jobs of the project's Quaff.

    ``OPTIONS`` are those of ``quaff.task`` for all of its tasks, such as ``{"retries": 3, "timeout": 30}``. What a
    worker runs are the tasks that its own code has declared, never a name in a message.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._declared = _DECLARED.setdefault(alias, {})

    def validate_task(self, task: DjangoTask[..., Any]) -> None:
        """Refuse what cannot run; Django calls it for each task that is declared, so a worker knows it by then.

        Raises:
            InvalidTask: as Django's own; ConfigurationError: OPTIONS that quaff.task does not know.
        """
        super().validate_task(task)
        if task.module_path not in self._declared:
            self._declared[task.module_path] = task
            fn = self._with_context(task) if task.takes_context else task.func
            quaff.task(fn, name=task.module_path, queue=task.queue_name, **self.options)

    def enqueue(self, task: DjangoTask[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
        """Send a call; in a transaction after its commit. Errors as of ``Task.delay``."""
        return self._enqueued(task, args, kwargs, self._task(task).delay(*args, **kwargs))

    async def aenqueue(self, task: DjangoTask[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
        """As ``enqueue``, in a coroutine."""
        return self._enqueued(task, args, kwargs, await self._task(task).adelay(*args, **kwargs))

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """How a call stands, by the id of its job; ``args`` and ``kwargs`` are empty there.

        Raises:
            TaskResultDoesNotExist: nobody knows it, it is no task of this backend, or its value is kept no longer.
        """
        try:
            job = quaff.job(result_id)
            info = job.info()
            task = self._declared[info.task or ""]
            value = job.result(0) if info.state == JobState.SUCCEEDED else None
        except (JobNotFound, ResultExpired, KeyError):
            raise of_django("exceptions", "TaskResultDoesNotExist")(result_id) from None
        result = self._result(task, info)
        object.__setattr__(result, "_return_value", _plain(value))
        return result

    def _task(self, task: DjangoTask[..., Any]) -> Task[..., Any, Any]:
        self.validate_task(task)
        options: dict[str, Any] = {"queue": task.queue_name, "priority": task.priority}
        if task.run_after is not None:
            due = task.run_after
            options["eta"] = due if timezone.is_aware(due) else timezone.make_aware(due)
        return quaff.find_task(task.module_path).options(**options)

    def _enqueued(
        self, task: DjangoTask[P, R], args: list[Any], kwargs: dict[str, Any], job: Job[Any]
    ) -> TaskResult[P, R]:
        result = TaskResult(
            task=task,
            id=job.id,
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        of_django("signals", "task_enqueued").send(type(self), task_result=result)
        return result

    def _result(self, task: DjangoTask[..., Any], info: JobInfo) -> TaskResult[..., Any]:
        return TaskResult(
            task=task,
            id=info.id,
            status=_STATUS.get(info.state, TaskResultStatus.READY),
            enqueued_at=info.created_at,
            started_at=info.started_at,
            finished_at=info.ended_at if info.state.terminal else None,
            last_attempted_at=info.attempts[-1].started_at if info.attempts else None,
            args=[],
            kwargs={},
            backend=self.alias,
            errors=[
                of_django("base", "TaskError")(
                    exception_class_path=_path(each.error.type), traceback=each.error.traceback
                )
                for each in info.attempts
                if each.error
            ],
            worker_ids=[each.worker for each in info.attempts],
        )

    def _with_context(self, task: DjangoTask[..., Any]) -> Callable[..., Any]:
        """The function without its first parameter, which is made here."""

        def context() -> Any:
            return of_django("base", "TaskContext")(task_result=self.get_result(current_job.id))

        async def in_loop(*args: Any, **kwargs: Any) -> Any:
            return await task.func(await sync_to_async(context, thread_sensitive=False)(), *args, **kwargs)

        def plain(*args: Any, **kwargs: Any) -> Any:
            return task.func(context(), *args, **kwargs)

        made: Any = functools.wraps(task.func)(in_loop if inspect.iscoroutinefunction(task.func) else plain)
        signature = inspect.signature(task.func)
        made.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        return cast("Callable[..., Any]", made)


def _plain(value: Any) -> Any:
    """A value as JSON has it, which is what Django promises."""
    return json.loads(json.dumps(value, cls=DjangoJSONEncoder))


def _path(name: str) -> str:
    """An exception's class as Django imports it; where only its name is known, JobFailed stands for it."""
    if "." in name:
        return name
    return f"builtins.{name}" if isinstance(getattr(builtins, name, None), type) else "quaff.JobFailed"
