"""Registry: what an application declares, its tasks and its schedules."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from quaff.config import Settings
from quaff.errors import ConfigurationError, UnknownTask, did_you_mean
from quaff.job import Job
from quaff.middleware import Middleware
from quaff.model import schedule
from quaff.model.batch import Batch
from quaff.model.ids import check_name
from quaff.model.message import Submission
from quaff.model.options import TaskOptions, resolve
from quaff.model.times import Seconds
from quaff.schedules import Declared, NamedSchedule, ScheduleDecorator, definition
from quaff.task import GivenOptions, Task

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")


class TaskDecorator(Protocol):
    """``@quaff.task(...)`` waiting for its function."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, Generator[Y, Any, R]], /) -> Task[P, R, Generator[Y, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, AsyncIterator[Y]], /) -> Task[P, None, AsyncIterator[Y]]: ...
    @overload
    def __call__(self, fn: Callable[P, Iterator[Y]], /) -> Task[P, Any, Iterator[Y]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R, R]: ...
    def __call__(self, fn: Any, /) -> Any: ...


class BatchDecorator(Protocol):
    """``@quaff.task(batch=...)`` waiting for its function; the arguments of one call are checked when it is sent."""

    @overload
    def __call__(
        self, fn: Callable[[list[Any]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> Task[..., R, Coroutine[Any, Any, Sequence[R | Exception]]]: ...
    @overload
    def __call__(
        self, fn: Callable[[list[Any]], Sequence[R | Exception]], /
    ) -> Task[..., R, Sequence[R | Exception]]: ...
    @overload
    def __call__(
        self, fn: Callable[[list[Any]], Coroutine[Any, Any, None]], /
    ) -> Task[..., None, Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, fn: Callable[[list[Any]], None], /) -> Task[..., None, None]: ...
    def __call__(self, fn: Any, /) -> Any: ...


class Registry(ABC):
    """Tasks by name, and declared schedules; whoever sends jobs completes it (``Sender`` of task.py).

    Attributes:
        tasks: the registered tasks by name, and by the names they had before (``aliases=``).
        declared_schedules: those of ``cron`` and ``every``, by name.
        middleware: sees what is sent and what runs; see ``use``.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Task[Any, Any, Any]] = {}
        self.declared_schedules: dict[str, Declared] = {}
        self.middleware: tuple[Middleware, ...] = ()

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The settings in force here."""

    @abstractmethod
    def send(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """Store jobs; called by tasks."""

    @abstractmethod
    async def asend(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """As ``send``, in a coroutine."""

    @overload
    def task(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, **given: Unpack[GivenOptions]
    ) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(
        self, fn: Callable[P, Generator[Y, Any, R]], /, **given: Unpack[GivenOptions]
    ) -> Task[P, R, Generator[Y, Any, R]]: ...
    @overload
    def task(
        self, fn: Callable[P, AsyncIterator[Y]], /, **given: Unpack[GivenOptions]
    ) -> Task[P, None, AsyncIterator[Y]]: ...
    @overload
    def task(self, fn: Callable[P, Iterator[Y]], /, **given: Unpack[GivenOptions]) -> Task[P, Any, Iterator[Y]]: ...
    @overload
    def task(self, fn: Callable[P, R], /, **given: Unpack[GivenOptions]) -> Task[P, R, R]: ...
    @overload
    def task(self, fn: None = None, /, *, batch: Batch, **given: Unpack[GivenOptions]) -> BatchDecorator: ...
    @overload
    def task(self, fn: None = None, /, **given: Unpack[GivenOptions]) -> TaskDecorator: ...
    def task(self, fn: Any = None, /, **given: Any) -> Any:
        """Register a function: ``@quaff.task``, ``@quaff.task(queue="mail")`` or ``quaff.task(fn, queue="mail")``.

        Args:
            name: what messages call it; ``<module>.<qualname>`` by default.
            queue: where its jobs wait; ``default`` by default.
            result_ttl: seconds, or a timedelta, its result is kept; RESULT_TTL by default, 0 keeps none.
            keep_none: False keeps no result of a call that returned None.
            retries: how often a failed attempt is followed by another one; by default never, but for ``raise Retry``.
            backoff: how long after: seconds, a list of them, ``fixed() linear() exponential()``, or a function of
                the number of failures and the exception that gives seconds, or None to give up. By default
                ``exponential()``: at random within 1, 2, 4 … 3600 s.
            retry_on, give_up_on: exception classes that are followed by another attempt (Exception), or are not.
            timeout: seconds, or a timedelta, an attempt may run; TIMEOUT by default, 0 sets no limit. A coroutine is
                cancelled then, a thread interrupted, and where that does not help its process is replaced.
            soft_timeout: after so long SoftTimeout is raised in the task, which may catch it and clean up.
            expires: seconds, a timedelta, or an aware datetime by which a job must have begun; else it ends as expired.
            on_exhausted: a task, or its name, that is sent the id of each job that is given up (``failed``), in the
                step that ends it and in the same queue.
            aliases: names that older messages call the task by.
            sensitive: names of parameters whose values are masked in errors, tracebacks, lines and progress.
            durability: ``"primary"``, ``"replicas:N"``, ``"fsync"`` or ``"fsync:N"``: where a job has to be before
                ``delay`` returns; DURABILITY by default.
            priority: from -100 to 100, 0 by default: higher ones of the queue come first.
            unique: ``Unique(...)``: of the jobs with the same arguments one is enough.
            rate, concurrency: ``RateLimit(...)`` and ``Concurrency(...)``, or tuples of them: how many start in a
                time, or run at a time, over all workers. What is over its limit waits, and takes no slot.
            fair_by: a text such as ``"{tenant}"``, a function of the arguments, or ``FairBy(...)``: keys take turns.
            batch: ``Batch(100, within=0.5)``: the function is called with a list of up to 100 calls, and gives a list
                of what each came to, an exception for one that failed, or None.

        Raises:
            ConfigurationError: an unknown option, a bad name, or a name that another function has.
        """
        if fn is None:
            return lambda function: self.task(function, **given)
        if not callable(fn):
            raise ConfigurationError(
                f"@quaff.task({fn!r}): a task is a function; options are named, as in queue='mail'."
            )
        made = fn if isinstance(fn, Task) else getattr(fn, "task", None)
        if isinstance(made, Task):
            hint = "give its function, to make another one" if fn is made else "its .task is what schedules take"
            raise ConfigurationError(f"{fn!r} is a task already: {hint}.")
        name = given.pop("name", None)
        name = _name_of(fn) if name is None else check_name("task", name)
        if isinstance(given.get("on_exhausted"), Task):
            given["on_exhausted"] = _told_an_id(given["on_exhausted"]).name
        task: Task[Any, Any, Any] = Task(self, name, fn, resolve(TaskOptions(), given))
        for each in (name, *task.settings.aliases):
            known = self.tasks.get(each)
            if known is not None and not _same_source(known.fn, fn):
                raise ConfigurationError(f"the task name {each!r} is taken by {known.fn!r}; give one of them name=.")
        self.tasks.update(dict.fromkeys((name, *task.settings.aliases), task))
        return task

    def cron(self, expression: str, /, *, tz: str = "UTC", **given: Unpack[NamedSchedule]) -> ScheduleDecorator:
        """Fire a task by a cron expression: ``@quaff.cron("0 7 * * mon-fri", tz="Europe/Vienna")``.

        Above ``@quaff.task``, or on a plain function. Any worker of the queue fires it, and each instant once.

        Args:
            expression: minute, hour, day, month and weekday, with seconds before them if there are six; where clocks
                are changed, as Debian's cron does it.
            tz: the IANA zone in which it is read.
            name: of the schedule; the task's name by default.
            args, kwargs: for the task.
            missed: for instants at which no worker lived: ``once`` makes up for the last one, ``all`` for each,
                ``skip`` for none.
            max_lateness: seconds after which an instant is passed over in any case.
            overlap: while the job before has not ended: ``allow`` another one, ``skip`` it, ``queue`` one behind it, or
                ``cancel_running``.
            jitter: seconds: each job starts up to so much later.
            start, end: aware datetimes: no instant before, or from then on.

        Raises:
            ConfigurationError: a value that cannot be, or arguments that the task does not take.
        """
        if callable(expression):
            raise ConfigurationError('@quaff.cron needs its expression: @quaff.cron("0 7 * * *").')
        return self._scheduled({"cron": expression, "tz": tz, **given})

    def every(self, seconds: Seconds, /, **given: Unpack[NamedSchedule]) -> ScheduleDecorator:
        """Fire a task at the multiples of so many seconds, counted from 1970 (UTC): ``@quaff.every(30)``.

        Args and errors as of ``cron``.
        """
        if callable(seconds):
            raise ConfigurationError("@quaff.every needs its seconds: @quaff.every(30).")
        return self._scheduled({"every": seconds, **given})

    def _scheduled(self, given: dict[str, Any]) -> ScheduleDecorator:
        def declare(fn: Any) -> Any:
            task = fn if isinstance(fn, Task) else self.task(fn)
            name = given.get("name") or task.name
            made = definition(name, task, given)
            encoded = schedule.encode(made)
            known = self.declared_schedules.get(name)
            if known is not None and known.definition != encoded:
                raise ConfigurationError(f"there is another schedule {name!r}; give one of them name=.")
            self.declared_schedules[name] = Declared(made.queue, name, encoded)
            return task

        return declare

    def use(self, middleware: Middleware) -> None:
        """Have it see jobs that are sent and attempts that run: ``quaff.use(OpenTelemetry())``.

        The first one is the outermost. Where tasks are declared, so that workers have it, too.

        Raises:
            ConfigurationError: it is none.
        """
        if not isinstance(middleware, Middleware):
            raise ConfigurationError(
                f"use({middleware!r}): give an instance of a subclass of quaff.middleware.Middleware."
            )
        self.middleware = (*self.middleware, middleware)

    def find_task(self, name: str) -> Task[Any, Any, Any]:
        """A registered task. Raises UnknownTask with the nearest name."""
        try:
            return self.tasks[name]
        except KeyError:
            raise UnknownTask(f"no task {name!r} is registered here.{did_you_mean(str(name), self.tasks)}") from None

    def queue_names(self) -> list[str]:
        """Every queue that the tasks name, and ``default``; those that a worker serves if it is not told."""
        return sorted({"default", *(task.settings.queue for task in self.tasks.values())})


def _told_an_id(task: Task[Any, Any, Any]) -> Task[Any, Any, Any]:
    try:
        task.signature.bind(("id",), {})
    except TypeError as error:
        raise ConfigurationError(
            f"on_exhausted={task.name}: it is called with a job's id alone; {error.args[0]}"
        ) from None
    return task


def importable(module: str) -> str:
    """The name a module has for other processes: for ``__main__`` the one its file would be imported as."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    name: str = spec.name if spec else Path(getattr(main, "__file__", None) or "__main__").stem
    return name.removesuffix(".__main__")


def _name_of(fn: Callable[..., Any]) -> str:
    """``<module>.<qualname>``. Raises ConfigurationError where that can be no name."""
    name = f"{importable(fn.__module__)}.{fn.__qualname__}".replace("<locals>.", "").replace("<lambda>", "lambda")
    try:
        return check_name("task", name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.args[0]}, or give it another one: @quaff.task(name=...).") from None


def _same_source(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both are the same ``def``, met twice (a reload, or ``__main__`` imported again)."""
    code, other_code = getattr(one, "__code__", one), getattr(other, "__code__", other)
    place = ("co_qualname", "co_firstlineno", "co_filename")
    return all(getattr(code, name, code) == getattr(other_code, name, other_code) for name in place)
