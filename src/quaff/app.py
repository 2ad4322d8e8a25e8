"""Quaff: the object an application holds. Tasks are registered on it, and it knows the settings and the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from contextvars import ContextVar
from typing import Any, Literal, TypeVar, overload

from quaff import config, detour, gathering
from quaff.answers import Answers
from quaff.backend import Backend
from quaff.config import Settings
from quaff.delivery import Delivery
from quaff.detour import Detour
from quaff.errors import ConfigurationError, EnqueueError, JobError, JobNotFound, ScriptFault
from quaff.flow import Flow
from quaff.gathering import AsCompleted
from quaff.guest import Guest
from quaff.job import Job
from quaff.model import blocking, codec, ids
from quaff.model.ids import JobId, check_name
from quaff.model.limits import Limit, check_names
from quaff.model.message import Submission
from quaff.model.times import Seconds
from quaff.queues import Queue
from quaff.registry import Registry
from quaff.results import ResultStore, checked
from quaff.schedules import Schedules
from quaff.store.client import Steps, Store
from quaff.store.faults import NoAnswer
from quaff.store.keys import partition
from quaff.task import Task

_NOTHING = nullcontext()

R = TypeVar("R")


class Quaff(Registry):
    """A task queue for a plain Python program; Flask's is ``quaff.flask.Quaff``.

    Args:
        url: the server (see ``docs/configuration.md``); None leaves it to the environment, else ``embedded:``.
        results: where results go that are larger than MAX_RESULT, such as ``FileResults("/var/lib/shop/results")``;
            without it they are refused. Workers and whoever reads results need the same.
        settings: any other setting by its name, such as ``namespace="shop"`` or ``result_ttl=60``.

    Raises:
        ConfigurationError: ``results`` is no ResultStore, or there is no setting of that name.
    """

    def __init__(self, url: str | None = None, *, results: ResultStore | None = None, **settings: Any) -> None:
        super().__init__()
        self.results: ResultStore | None = checked(results)
        config.check_names(settings, "Quaff(...)")
        self._code = settings if url is None else {"url": url, **settings}
        self._flags: dict[str, Any] = {}
        self._backend: Backend | None = None
        self._answers = Answers(self._decode_result, self._decode_value, self.results)
        self._open_batch: ContextVar[list[tuple[Submission, Job[Any]]] | None] = ContextVar("quaff_batch", default=None)

    # Asking

    @property
    def schedules(self) -> Schedules:
        """The schedules on the server, to be added, paused and looked at."""
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
            return self._handle(self.settings.partitions.home(queue, ids.keyed_raw(queue, task, key)), id_or_key)
        parsed = ids.parse_result_key(id_or_key)
        if parsed is None:
            raise JobNotFound(f"{id_or_key!r} is neither a job's id nor <queue>/<task>/<key>.", id_or_key)
        found = parsed[1]
        return self._handle(self.settings.partitions.home(found.queue, found.raw), id_or_key)

    @overload
    def wait_all(
        self, jobs: Iterable[Job[R]], timeout: float | None = None, *, return_errors: Literal[False] = False
    ) -> list[R]: ...
    @overload
    def wait_all(
        self, jobs: Iterable[Job[R]], timeout: float | None = None, *, return_errors: bool
    ) -> list[R | JobError]: ...
    def wait_all(
        self, jobs: Iterable[Job[Any]], timeout: float | None = None, *, return_errors: bool = False
    ) -> list[Any]:
        """Wait until all of these jobs have ended, and give their values in the order of the jobs.

        Args:
            jobs: of this application.
            timeout: seconds for all of them; None waits for ever.
            return_errors: put what ``result()`` would raise for a job in the place of its value.

        Raises:
            ResultTimeout: some have not ended; what ``result()`` raises for the first one of which it does.
        """
        return gathering.wait_all(self.store, jobs, timeout, return_errors=return_errors)

    @overload
    async def await_all(
        self, jobs: Iterable[Job[R]], timeout: float | None = None, *, return_errors: Literal[False] = False
    ) -> list[R]: ...
    @overload
    async def await_all(
        self, jobs: Iterable[Job[R]], timeout: float | None = None, *, return_errors: bool
    ) -> list[R | JobError]: ...
    async def await_all(
        self, jobs: Iterable[Job[Any]], timeout: float | None = None, *, return_errors: bool = False
    ) -> list[Any]:
        """As ``wait_all``, in a coroutine."""
        return await gathering.await_all(self.store, jobs, timeout, return_errors=return_errors)

    def as_completed(self, jobs: Iterable[Job[R]], timeout: float | None = None) -> AsCompleted[R]:
        """Each of these jobs as it ends, for ``for`` and ``async for``; ResultTimeout when time is up before all have.

        Args:
            jobs, timeout: as in ``wait_all``.
        """
        return AsCompleted(self.store, jobs, timeout)

    def flow(self, id: str) -> Flow[Any]:
        """The handle of a flow again, by its id; no I/O. Raises JobNotFound for a text that is none."""
        if not isinstance(id, str):
            raise TypeError(f"quaff.flow({id!r}): an id is a text")
        place = ids.parse(id)
        if place is None:
            raise JobNotFound(f"{id!r} is no id of a flow.", id)
        backend = self.backend
        return Flow(backend.store, backend.settings, place, answers=self._answers, job=self.job)

    def queue(self, name: str) -> Queue:
        """A queue, to pause, purge or count it; no I/O."""
        return Queue(self.store, self.settings, name, self.tasks)

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
        if self.settings.partitions.of(queue) > 1:
            raise ConfigurationError(f"limit({key!r}): queue {queue!r} has several partitions; limits hold within one.")
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
        known = task if isinstance(task, Task) else self.find_task(task)
        check_names(f"block({known.name})", arguments, known.signature.names)
        rule = blocking.encode(known.name, arguments)
        if hidden := [name for name in arguments if name in known.settings.sensitive]:
            raise ConfigurationError(f"block({known.name}, {hidden[0]}=...): it is sensitive=, and rules are shown.")
        changed = [self.queue(name).block(rule, on=on) for name in self.queue_names()]
        return any(changed)

    # Sending

    @contextmanager
    def batch(self) -> Generator[None]:
        """Collect what ``delay`` and ``map`` send inside the block and send it together at its end.

        Nothing is sent if the block raises. Errors as of ``Task.map``.
        """
        if self._open_batch.get() is not None:
            yield
            return
        collected: list[tuple[Submission, Job[Any]]] = []
        token = self._open_batch.set(collected)
        try:
            yield
        finally:
            self._open_batch.reset(token)
        _settle(collected, self.send([each for each, _ in collected]))

    def send(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """Store jobs; called by tasks."""
        collected = self._open_batch.get()
        if collected is not None:
            promised = self.promise(submissions)
            collected.extend(promised)
            return [job for _, job in promised]
        where = self.detour()
        return self._deliver(submissions) if where is None else where.take(self, submissions)

    def promise(self, submissions: Sequence[Submission]) -> list[tuple[Submission, Job[Any]]]:
        """Handles of jobs that are sent later."""
        return [(each, self._handle(each.id, each.key, fresh=True)) for each in submissions]

    def keep(self, promised: Sequence[tuple[Submission, Job[Any]]]) -> None:
        """Send at once what was promised; errors as of ``Task.map``."""
        _settle(promised, self._deliver([each for each, _ in promised]))

    def detour(self) -> Detour | None:
        """Where jobs and flows go that are sent here and now; None for nearly all: to the server."""
        return detour.current()

    def lacking(self) -> str:
        """What the application lacks, as one says it; nothing if all is there. Of a web framework's there is more."""
        return ""

    def _deliver(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        delivery = Delivery(submissions, self.settings, self._handle)
        places: list[int] = []
        try:
            if not (queues := {each.id.queue for each in submissions}) <= self.backend.told:
                self.store.go(self.news(queues))
            for places, call in delivery.calls():
                delivery.note(places, self.store.run(call))
        except (EnqueueError, NoAnswer, ScriptFault) as error:
            raise delivery.explained(error, places) from None
        return delivery.jobs()

    async def asend(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """As ``send``, in a coroutine."""
        if self._open_batch.get() is not None or self.detour() is not None:
            return self.send(submissions)
        delivery = Delivery(submissions, self.settings, self._handle)
        places: list[int] = []
        try:
            if not (queues := {each.id.queue for each in submissions}) <= self.backend.told:
                await self.store.aio.go(self.news(queues))
            for places, call in delivery.calls():
                delivery.note(places, await self.store.aio.run(call))
        except (EnqueueError, NoAnswer, ScriptFault) as error:
            raise delivery.explained(error, places) from None
        return delivery.jobs()

    def news(self, queues: Iterable[str]) -> Steps[None]:
        """What is to be done before jobs are sent to these queues; nearly always nothing."""
        new = set(queues) - self.backend.told
        return self.backend.news(new, self.queue_names() if new else ())

    def _handle(self, id: JobId, key: str | None = None, **known: bool) -> Job[Any]:
        backend = self.backend
        return Job(backend.store, backend.settings, id, key=key, answers=self._answers, **known)

    def _decode_result(self, name: str, data: bytes) -> Any:
        task = self.tasks.get(name)
        return task.signature.decode_result(data) if task else codec.unpack(data)

    def _decode_value(self, name: str, data: bytes) -> Any:
        task = self.tasks.get(name)
        return task.signature.decode_value(data) if task else codec.unpack(data)

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

    def override(self, **flags: Any) -> None:
        """Lay settings from a command line over all others; before the first use."""
        self._flags.update({name: value for name, value in flags.items() if value is not None})
        self._backend = None

    @contextmanager
    def overridden(self, **flags: Any) -> Iterator[None]:
        """Lay settings over all others for the length of a block; for tests."""
        before = dict(self._flags)
        self.override(**flags)
        try:
            yield
        finally:
            self._flags = before
            self.override()

    def attempt_scope(self) -> AbstractContextManager[Any]:
        """What surrounds each attempt in a worker; Flask's gives a fresh application context."""
        return _NOTHING

    def async_attempt_scope(self) -> AbstractAsyncContextManager[Any]:
        """What surrounds each attempt of a coroutine: the same, where a framework has nothing to await."""
        scope = self.attempt_scope()
        return _NOTHING if scope is _NOTHING else _entered(scope)


def _settle(promised: Iterable[tuple[Submission, Job[Any]]], jobs: Iterable[Job[Any]]) -> None:
    for (_, handle), job in zip(promised, jobs, strict=True):
        handle.become(job)


@asynccontextmanager
async def _entered(scope: AbstractContextManager[Any]) -> AsyncGenerator[Any]:
    with scope as value:
        yield value
