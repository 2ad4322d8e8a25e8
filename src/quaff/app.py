"""Quaff: the object an application holds. Tasks are registered on it; it knows the settings and the store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from quaff import config
from quaff.config import Settings
from quaff.delivery import Delivery
from quaff.errors import (
    ConfigurationError,
    JobNotFound,
    UnknownTask,
    did_you_mean,
)
from quaff.guest import Guest
from quaff.job import Job
from quaff.model import blocking, codec, ids, schedule
from quaff.model.ids import JobId
from quaff.model.limits import Limit, check_names
from quaff.model.message import Submission
from quaff.model.options import TaskOptions, check_name, resolve
from quaff.model.times import Seconds
from quaff.queues import Queue
from quaff.schedules import Declared, NamedSchedule, ScheduleDecorator, Schedules, definition
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.task import GivenOptions, Task, TaskDecorator

_NOTHING = nullcontext()

P = ParamSpec("P")
R = TypeVar("R")


class Backend:
    """One application's settings and its store, made when first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings.url, settings.url_source, settings.deadline)
        self.store = Store(self.endpoint, settings.deadline)


class Quaff:
    """A task queue for a plain Python program; Flask's is ``quaff.flask.Quaff``.

    Args:
        url: the server (see ``docs/configuration.md``); None leaves it to the environment, else ``embedded:``.
        settings: any other setting by its name, such as ``namespace="shop"`` or ``result_ttl=60``.

    Attributes:
        tasks: the registered tasks by name, and by the names they had before (``aliases=``).
        declared_schedules: those of ``cron`` and ``every``, by name; ``schedules`` are those on the server.
    """

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self._code = settings if url is None else {"url": url, **settings}
        self._flags: dict[str, Any] = {}
        self._backend: Backend | None = None
        self._open_batch: ContextVar[list[Submission] | None] = ContextVar("quaff_batch", default=None)
        self.tasks: dict[str, Task[Any, Any, Any]] = {}
        self.declared_schedules: dict[str, Declared] = {}

    # Registering

    @overload
    def task(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, **given: Unpack[GivenOptions]
    ) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, fn: Callable[P, R], /, **given: Unpack[GivenOptions]) -> Task[P, R, R]: ...
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
            priority: from -100 to 100, 0 by default: higher ones of the queue come first.
            unique: ``Unique(...)``: of the jobs with the same arguments one is enough.
            rate, concurrency: ``RateLimit(...)`` and ``Concurrency(...)``, or tuples of them: how many start in a
                time, or run at a time, over all workers. What is over its limit waits, and takes no slot.
            fair_by: a text such as ``"{tenant}"``, a function of the arguments, or ``FairBy(...)``: keys take turns.

        Raises:
            ConfigurationError: an unknown option, a bad name, or a name that another function has.
        """
        if fn is None:
            return lambda function: self.task(function, **given)
        name = given.pop("name", None)
        name = check_name("task", _name_of(fn) if name is None else name)
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
        return self._scheduled({"cron": expression, "tz": tz, **given})

    def every(self, seconds: Seconds, /, **given: Unpack[NamedSchedule]) -> ScheduleDecorator:
        """Fire a task at the multiples of so many seconds, counted from 1970 (UTC): ``@quaff.every(30)``.

        Args and errors as of ``cron``.
        """
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

    # Asking

    @property
    def schedules(self) -> Schedules:
        """The schedules on the server: add, pause, look at them."""
        return Schedules(self)

    def job(self, id_or_key: str) -> Job[Any]:
        """The handle of a job again, by its id or by ``<queue>/<task>/<key>``; no I/O.

        The key of a job of ``quaff.snippet``, ``<queue key>:result:<uuid>``, will do too.

        Raises:
            JobNotFound: the text is neither.
        """
        if not isinstance(id_or_key, str):
            raise TypeError(f"quaff.job({id_or_key!r}): an id or key is a text")
        id = ids.parse(id_or_key)
        if id is not None:
            return self._handle(id)
        queue, _, rest = id_or_key.partition("/")
        task, _, key = rest.partition("/")
        if ids.NAME.fullmatch(queue) and ids.NAME.fullmatch(task) and key:
            return self._handle(JobId(queue, 0, ids.keyed_raw(queue, task, key)), id_or_key)
        parsed = ids.parse_result_key(id_or_key)
        if parsed is None:
            raise JobNotFound(f"{id_or_key!r} is neither a job's id nor <queue>/<task>/<key>.", id_or_key)
        return self._handle(parsed[1], id_or_key)

    def queue(self, name: str) -> Queue:
        """A queue, to pause, purge or count it; no I/O."""
        return Queue(self.store, self.settings, name)

    def limit(self, key: str, limit: Limit, *, queue: str = "default", hold: Seconds = 60) -> Guest:
        """Keep code that is no job to a limit: ``with quaff.limit("api", RateLimit(10)): ...``.

        Entering raises LimitReached, with ``retry_after``, where there is no room; a Flask view answers that with 429.

        Args:
            key: what the limit is about, such as ``"api:example.com"``.
            limit: its numbers; with ``key="api:{host}"`` it is the one of the tasks that declare it so.
            queue: whose limits these are: limits are kept apart for each queue.
            hold: seconds after which a place in a Concurrency is free again, whatever became of its holder.
        """
        home = partition(self.settings.namespace, check_name("queue", queue))
        return Guest(self.store, home, key, limit, hold)

    def block(self, task: Task[Any, Any, Any] | str, /, **arguments: Any) -> bool:
        """Start no jobs of a task, or none with these arguments: ``quaff.block(send, user_id=7)``.

        They wait, and nothing is lost; what runs goes on. In every queue that the tasks of this application name.

        Returns:
            False if it was so before.

        Raises:
            UnknownTask, ConfigurationError: no such task here, or no such parameter.
            EncodeError: a value that no call could have.
        """
        return self._block(task, arguments, on=True)

    def unblock(self, task: Task[Any, Any, Any] | str, /, **arguments: Any) -> bool:
        """Lift what was blocked with the same arguments; False if nothing was. Errors as of ``block``."""
        return self._block(task, arguments, on=False)

    def _block(self, task: Task[Any, Any, Any] | str, arguments: dict[str, Any], *, on: bool) -> bool:
        known = self.find_task(task) if isinstance(task, str) else task
        check_names(f"block({known.name})", arguments, known.signature.names)
        rule = blocking.encode(known.name, arguments)
        changed = [self.queue(name).block(rule, on=on) for name in self.queue_names()]
        return any(changed)

    def find_task(self, name: str) -> Task[Any, Any, Any]:
        """A registered task. Raises UnknownTask with the nearest name."""
        try:
            return self.tasks[name]
        except KeyError:
            raise UnknownTask(f"no task {name!r} is registered here.{did_you_mean(name, self.tasks)}") from None

    def queue_names(self) -> list[str]:
        """Every queue that the tasks name, and ``default``; those that a worker serves if it is not told."""
        return sorted({"default", *(task.settings.queue for task in self.tasks.values())})

    # Sending

    @contextmanager
    def batch(self) -> Generator[None]:
        """Collect what ``delay`` and ``map`` send inside the block and send it together at its end.

        Nothing is sent if the block raises. Errors as of ``Task.map``.
        """
        if self._open_batch.get() is not None:
            yield
            return
        collected: list[Submission] = []
        token = self._open_batch.set(collected)
        try:
            yield
        finally:
            self._open_batch.reset(token)
        self.send(collected)

    def send(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """Store jobs; called by tasks."""
        collected = self._open_batch.get()
        if collected is not None:
            collected.extend(submissions)
            return [self._handle(submission.id, submission.key, fresh=True) for submission in submissions]
        delivery = Delivery(submissions, self.settings, self._handle)
        for places, call in delivery.calls():
            with delivery.explained(places):
                delivery.note(places, self.store.run(call))
        return delivery.jobs()

    async def asend(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """As ``send``, in a coroutine."""
        if self._open_batch.get() is not None:
            return self.send(submissions)
        delivery = Delivery(submissions, self.settings, self._handle)
        for places, call in delivery.calls():
            with delivery.explained(places):
                delivery.note(places, await self.store.aio.run(call))
        return delivery.jobs()

    def _handle(self, id: JobId, key: str | None = None, **known: bool) -> Job[Any]:
        backend = self.backend
        return Job(backend.store, backend.settings, id, key=key, decode=self._decode_result, **known)

    def _decode_result(self, name: str, data: bytes) -> Any:
        task = self.tasks.get(name)
        return task.signature.decode_result(data) if task else codec.unpack(data)

    # Settings and store

    @property
    def backend(self) -> Backend:
        """The settings and store in force here."""
        if self._backend is None:
            self._backend = Backend(config.resolve(self._flags, self._code))
        return self._backend

    @property
    def settings(self) -> Settings:
        """The settings in force here."""
        return self.backend.settings

    @property
    def store(self) -> Store:
        """The store in force here."""
        return self.backend.store

    @property
    def max_message(self) -> int:
        """Bytes of the largest message."""
        return self.settings.max_message

    def override(self, **flags: Any) -> None:
        """Lay settings from a command line over all others; before the first use."""
        self._flags.update({name: value for name, value in flags.items() if value is not None})
        self._backend = None

    def attempt_scope(self) -> AbstractContextManager[Any]:
        """What surrounds each attempt in a worker; Flask's gives a fresh application context."""
        return _NOTHING


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
    """``<module>.<qualname>``."""
    return f"{importable(fn.__module__)}.{fn.__qualname__}".replace("<locals>.", "").replace("<lambda>", "lambda")


def _same_source(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both are the same ``def``, met twice (a reload, or ``__main__`` imported again)."""
    code, other_code = getattr(one, "__code__", one), getattr(other, "__code__", other)
    place = ("co_qualname", "co_firstlineno", "co_filename")
    return all(getattr(code, name, code) == getattr(other_code, name, other_code) for name in place)
