"""Kit: what a test holds. It sends jobs as ever, says when they run, and looks at what came of them."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch
from uuid import uuid4

from quaff.app import Quaff
from quaff.errors import ConfigurationError
from quaff.job import Job
from quaff.model import ids, outcome
from quaff.model.states import JobState
from quaff.model.steering import Lost, Pause
from quaff.model.times import LONGEST, Duration, duration, milliseconds
from quaff.store.connect import Endpoint
from quaff.store.keys import NAMES, partition
from quaff.store.probe import Line
from quaff.task import Task
from quaff.testing import server
from quaff.testing.clock import Clock
from quaff.testing.expecting import Expecting
from quaff.testing.store import KitStore, Seen
from quaff.testing.worker import Ended, Worker
from quaff.worker.capture import captured
from quaff.worker.loading import load, unwrap
from quaff.worker.ready import Ready
from quaff.worker.run import Interrupt
from quaff.workflows import Part

R = TypeVar("R")

#: Attempts of one run, by default: a task that sends itself goes on for ever.
LIMIT = 1000
#: Seconds between two looks.
_EVERY = 0.01
P = ParamSpec("P")


class Kit(Expecting):
    """An application under test: its jobs wait until the test says that they run, and time stands still.

    Args:
        app: the application, which has settings and store of the test already.
        clock: its time.
        worker: runs its jobs.
        seen: the partitions of its queues.

    Attributes:
        app: the application.
    """

    def __init__(self, app: Quaff, clock: Clock, worker: Worker, seen: Seen) -> None:
        super().__init__(app, worker, seen)
        self._clock = clock
        self._apart = itertools.count(1)

    # Running

    def run_all(self, *, raises: bool = True, limit: int = LIMIT) -> list[Job[Any]]:
        """Run what is due in this thread, until nothing is; also what it sends, and retries that are due at once.

        Args:
            raises: raise what made a job fail for good, as it was raised in the task; the job is recorded as failed,
                and what comes after it waits. An attempt that is tried again raises nothing.
            limit: attempts after which it is given up.

        Returns:
            The job of each attempt, in their order.

        Raises:
            AssertionError: the limit is reached; else what a task has raised.
        """
        ran: list[Job[Any]] = []
        with closing(self._worker.due()) as due:
            for ready in due:
                self._count(ran, ready, limit)
                _judge(self._worker.run(ready), raises)
        return ran

    async def arun_all(self, *, raises: bool = True, limit: int = LIMIT) -> list[Job[Any]]:
        """As ``run_all``, with coroutines in this event loop and plain functions in threads."""
        ran: list[Job[Any]] = []
        with closing(self._worker.due()) as due:
            for ready in due:
                self._count(ran, ready, limit)
                _judge(await self._worker.arun(ready), raises)
        return ran

    def run_for(self, time: Duration | datetime, *, raises: bool = True, limit: int = LIMIT) -> list[Job[Any]]:
        """Run what becomes due from now on for so long, each job when it is due, and leave the clock there.

        Args:
            time: as of ``travel``; the others as of ``run_all``.
        """
        until_ms = self._until(time, "run_for()")
        ran = self.run_all(raises=raises, limit=limit)
        for _ in self._steps(until_ms):
            ran += self.run_all(raises=raises, limit=limit - len(ran))
        return ran

    async def arun_for(self, time: Duration | datetime, *, raises: bool = True, limit: int = LIMIT) -> list[Job[Any]]:
        """As ``run_for``, with coroutines in this event loop."""
        until_ms = self._until(time, "arun_for()")
        ran = await self.arun_all(raises=raises, limit=limit)
        for _ in self._steps(until_ms):
            ran += await self.arun_all(raises=raises, limit=limit - len(ran))
        return ran

    def perform(self, task: Task[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one call as a worker would, now: one attempt, with ``current_job``, in a queue of its own.

        Returns:
            What the task returned, encoded and decoded.

        Raises:
            AssertionError: the task waits (``current_job.sleep``, ``wait_for``); else what the task raises, Retry,
                Snooze and Cancel too; what ``delay`` raises for arguments that do not fit.
        """
        job, ready = self._send_apart(task, args, kwargs)
        return self._performed_as(job, self._worker.run(ready))

    async def aperform(self, task: Task[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``perform``, in a coroutine, and a coroutine in this event loop."""
        job, ready = self._send_apart(task, args, kwargs)
        return self._performed_as(job, await self._worker.arun(ready))

    @contextmanager
    def inline(self, *, raises: bool = True) -> Iterator[None]:
        """Within it jobs run when they are sent, before ``delay`` returns; sent and run as ever.

        Args:
            raises: as of ``run_all``.
        """

        def then_run(send: Callable[..., Any]) -> Callable[..., Any]:
            def sent(*args: Any) -> Any:
                result = send(*args)
                self.run_all(raises=raises)  # nothing, within quaff.batch(): what is collected is not there yet
                return result

            return sent

        def then_arun(send: Callable[..., Any]) -> Callable[..., Any]:
            async def sent(*args: Any) -> Any:
                result = await send(*args)
                await self.arun_all(raises=raises)
                return result

            return sent

        with ExitStack() as stack:
            stack.enter_context(patch.object(self.app, "send", then_run(self.app.send)))
            stack.enter_context(patch.object(self.app, "asend", then_arun(self.app.asend)))
            stack.enter_context(patch.object(Part, "delay", then_run(Part.delay)))
            stack.enter_context(patch.object(Part, "adelay", then_arun(Part.adelay)))
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within it a thread runs jobs as they come, and time goes on: for tests that wait for them, or watch them."""
        stop = threading.Event()
        troubles: list[BaseException] = []

        def work() -> None:
            at = time.monotonic()
            try:
                while not stop.wait(_EVERY):
                    passed, at = time.monotonic() - at, time.monotonic()
                    self._worker.chores.move(self._clock, self._clock.now_ms + int(passed * 1000))
                    self.run_all(raises=False, limit=sys.maxsize)
            except BaseException as error:  # noqa: BLE001  it is raised where the test is
                troubles.append(error)

        thread = threading.Thread(target=work, name="quaff-test-worker")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if troubles:
            raise troubles[0]

    # Time

    @property
    def now(self) -> datetime:
        """The time of the server, and of all that Quaff writes down, as an aware datetime in UTC."""
        return self._clock.now

    def travel(self, time: Duration | datetime) -> None:
        """Let it be later. Schedules put their jobs in line, results expire; nothing runs.

        Args:
            time: seconds, a timedelta, a text such as ``"2d"`` or ``"1h30m"``, or an aware datetime.

        Raises:
            ConfigurationError: it is no time, or was before.
        """
        until_ms = self._until(time, "travel()")
        self._worker.chores.do()
        self._worker.chores.move(self._clock, until_ms)

    def _until(self, time: Duration | datetime, called: str) -> int:
        if not isinstance(time, datetime):
            return self._clock.now_ms + milliseconds(duration(called, time))
        if time.utcoffset() is None or time < self.now:
            raise ConfigurationError(
                f"{called}: {time!r} cannot be: give an aware datetime that is not before {self.now}."
            )
        return int(time.timestamp() * 1000)

    def _steps(self, until_ms: int) -> Iterator[None]:
        """Go from one moment at which something becomes due to the next, and to the end."""
        while (at := self._worker.next_ms()) is not None and at <= until_ms:
            self._worker.chores.move(self._clock, at)
            yield
        self._worker.chores.move(self._clock, until_ms)
        yield

    def _count(self, ran: list[Job[Any]], ready: Ready, limit: int) -> None:
        if len(ran) >= limit:
            self._worker.give_back(ready)
            raise AssertionError(
                f"{limit} attempts were run, and there is more to do: {ready.claim.id} of {ready.task.name}. "
                "Does a task send itself? If all is well, give a larger limit=."
            )
        ran.append(self.app.job(ready.claim.id))

    def _send_apart(self, task: Task[..., R, Any], args: Any, kwargs: Any) -> tuple[Job[R], Ready]:
        # Nobody before it in line, and none of its limits and unique keys taken.
        queue = f"{task.settings.queue[:100]}.perform-{next(self._apart)}"
        self._seen.apart.add(queue)
        job = task.options(queue=queue).delay(*args, **kwargs)
        id = ids.parse(job.id)
        assert id is not None
        self._performed.add(id)
        home = partition(self.app.settings.namespace, queue)
        ready = next(self._worker.sorted(home, self._worker.claim(home, 1)), None)
        if ready is None:
            raise AssertionError(f"{task.name} cannot be performed now: the job is {job.state}.")
        return job, ready

    def _performed_as(self, job: Job[R], ended: Ended) -> R:
        error = ended.error
        if error is None:
            id = ids.parse(job.id)
            assert id is not None
            value: R = self.app._answers.value(id, outcome.read(ended.record), self.app.settings)
            return value
        if not ended.state.terminal:
            job.cancel("it was performed")
        if isinstance(error, Pause):
            raise AssertionError(
                "the task waits (current_job.sleep or wait_for), and perform() runs one attempt: send it with delay(), "
                "then run_all(), job.signal() and run_for()."
            )
        raise error


def _judge(ended: Ended, raises: bool) -> None:
    error = ended.error
    if error is None:
        return
    # Those of pytest, and a Ctrl+C, are for whoever runs the tests.
    foreign = not isinstance(error, (Exception, Pause, Lost, Interrupt, asyncio.CancelledError))
    if foreign or (raises and ended.state is JobState.FAILED):
        raise error


@contextmanager
def kit(app: object, *, url: str | None = None, **settings: Any) -> Iterator[Kit]:
    """``with kit(app) as jobs:`` an application on a server of the tests, with queues that nobody else has.

    Args:
        app: a Quaff, a Flask or Quart application that has one, or what ``-A`` of a worker takes.
        url: another server; by default one that this process starts in a temporary directory, and keeps.
        settings: any, by their names, such as ``lease=5``; they go before all others. Without ``result_ttl=`` results
            stay, however far a test travels, but for those of tasks with a ``result_ttl=`` of their own.

    Raises:
        ConfigurationError: there is no Quaff in it, no server program can be found, or a setting is wrong.
    """
    quaff = load(app) if isinstance(app, str) else unwrap(app)
    if quaff is None:
        raise ConfigurationError(f"kit({app!r}): give a Quaff, or an application that has one.")
    clock = Clock()
    namespace = f"test-{uuid4().hex[:16]}"
    settings = {"result_ttl": LONGEST, **settings, "url": url or server.url(), "namespace": namespace}
    with quaff.overridden(**settings), clock.of_python():
        backend = quaff.backend
        seen = Seen(clock, namespace)
        store = backend.store = KitStore(backend.endpoint, backend.settings.deadline, seen)
        worker = Worker(quaff, store, seen, clock)
        try:
            with captured(backend.settings.job_log_level):
                yield Kit(quaff, clock, worker, seen)
        finally:
            worker.close()
            _clear(backend.endpoint, seen)
            serve = getattr(quaff, "serve", None)
            if serve is not None:
                serve(None)


def _clear(endpoint: Endpoint, seen: Seen) -> None:
    for home in seen.partitions:
        with closing(Line(endpoint, home=home)) as line:
            line.ask([("UNLINK", *home.keys(NAMES))])
    endpoint.close()
