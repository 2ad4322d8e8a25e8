"""The part of ``current_job`` by which a task remembers, and waits without a slot."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from quaff.durable import calling, iteration, steps
from quaff.durable.iteration import Iteration
from quaff.durable.steps import Memory, Steps, in_loop, in_thread
from quaff.errors import StepError
from quaff.model.times import Duration

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Running(steps.Running, iteration.Running, Protocol):
    """What is needed of an attempt."""

    task: str
    memory: Memory | None
    steps: Steps | None
    iterations: tuple[Iteration[Any], ...]


class Durable:
    """What ``current_job`` inherits: ``step``, ``sleep``, ``wait_for``, ``iterate`` and their twins for coroutines."""

    def _running(self) -> Running:
        raise NotImplementedError

    def step(self, name: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """``fn(*args, **kwargs)``, once: a later attempt is given the value that is remembered, and does not call it.

        What raises is not remembered. The value is stored before this returns, as results are.

        Args:
            name: unique in the job, and the same in each attempt.
            fn: any function; its return annotation says what a remembered value comes back as.

        Raises:
            EncodeError: the value cannot be stored, or is larger than MAX_RESULT.
            StepError: a name twice in one attempt, or too many steps; whatever ``fn`` raises.
        """
        steps = self._steps()
        return calling.run(steps, steps.use(f"step of {calling.name_of(fn)}", name, _caller()), fn, args, kwargs)  # type: ignore[no-any-return]

    @overload
    async def astep(self, name: str, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def astep(self, name: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def astep(self, name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As ``step``, in a coroutine; what ``fn`` gives is awaited if it can be."""
        steps = self._steps()
        return await calling.arun(steps, steps.use(f"step of {calling.name_of(fn)}", name, _caller()), fn, args, kwargs)

    def sleep(self, in_: Duration, *, name: str | None = None) -> None:
        """Wait without a slot: the attempt ends at no cost, and the function runs again from its top when time is up.

        Args:
            in_: seconds, a timedelta or a text such as ``"2d"`` or ``"1h30m"``, from the first time this is reached.
            name: unique in the job; None numbers the sleeps without one: ``sleep``, ``sleep#2``.

        Raises:
            StepError, ConfigurationError; and what ends the attempt, which is no Exception.
        """
        steps = self._steps()
        in_thread(steps.memory.store, steps.sleep(steps.use("sleep", name, _caller(), "sleep"), in_))

    async def asleep(self, in_: Duration, *, name: str | None = None) -> None:
        """As ``sleep``, in a coroutine."""
        steps = self._steps()
        await in_loop(steps.memory.store, steps.sleep(steps.use("asleep", name, _caller(), "sleep"), in_))

    @overload
    def wait_for(self, signal: str, timeout: Duration | None = None, *, name: str | None = None) -> Any: ...
    @overload
    def wait_for(
        self, signal: str, timeout: Duration | None = None, *, name: str | None = None, type: type[R]
    ) -> R: ...
    def wait_for(
        self, signal: str, timeout: Duration | None = None, *, name: str | None = None, type: Any = Any
    ) -> Any:
        """The value of ``job.signal(signal, value)``, which may have come before; waits as ``sleep`` does.

        Args:
            signal: its name; several of one name come in their order, one for each wait.
            timeout: as ``in_`` of ``sleep``; None waits for ever.
            name: as of ``sleep``; by default the signal's, the second time with ``#2``.
            type: what the value comes back as.

        Raises:
            SignalTimeout: none came in time; later attempts are told the same.
            StepError: also for a value of another type; and what ends the attempt, which is no Exception.
        """
        steps = self._steps()
        step = steps.use("wait_for", name, _caller(), signal)
        return calling.typed(signal, step, in_thread(steps.memory.store, steps.wait(step, signal, timeout)), type)

    @overload
    async def await_for(self, signal: str, timeout: Duration | None = None, *, name: str | None = None) -> Any: ...
    @overload
    async def await_for(
        self, signal: str, timeout: Duration | None = None, *, name: str | None = None, type: type[R]
    ) -> R: ...
    async def await_for(
        self, signal: str, timeout: Duration | None = None, *, name: str | None = None, type: Any = Any
    ) -> Any:
        """As ``wait_for``, in a coroutine."""
        steps = self._steps()
        step = steps.use("await_for", name, _caller(), signal)
        return calling.typed(signal, step, await in_loop(steps.memory.store, steps.wait(step, signal, timeout)), type)

    def iterate(
        self,
        source: Iterable[T] | Callable[[Any], Iterable[T]],
        *,
        key: Callable[[T], Any] | None = None,
        name: str | None = None,
    ) -> Iterator[T]:
        """The items of ``source``, from where the last attempt was: ``for user in current_job.iterate(users): ...``.

        How far it is, is saved every second, when the attempt ends, and when the worker stops or the job is cancelled:
        then the attempt ends between two items, at no cost. A crash repeats at most the items of the last second.
        An iteration that has ended is skipped. It also says the progress, with the time left where ``len(source)`` is
        known.

        Args:
            source: the same items in the same order each time; or a function of the cursor, which gives what comes
                after it.
            key: an item -> its cursor, such as its id; None: the number of items handled. The function is called
                with None, or 0, at first.
            name: as of ``sleep``: ``iterate``, ``iterate#2``.

        Raises:
            StepError, EncodeError: at the first item, for a key that is no cursor; and what ends the attempt.
        """
        return self._iteration(source, key, name, "iterate").items()

    def aiterate(
        self,
        source: AsyncIterable[T] | Iterable[T] | Callable[[Any], AsyncIterable[T] | Iterable[T]],
        *,
        key: Callable[[T], Any] | None = None,
        name: str | None = None,
    ) -> AsyncIterator[T]:
        """As ``iterate``, for ``async for``."""
        return self._iteration(source, key, name, "aiterate").aitems()

    def _iteration(self, source: Any, key: Callable[[T], Any] | None, name: str | None, call: str) -> Iteration[T]:
        attempt, steps = self._running(), self._steps()
        iteration = Iteration(steps, attempt, steps.use(call, name, _caller(3), "iterate"), source, key)
        attempt.iterations = (*attempt.iterations, iteration)
        return iteration

    def _steps(self) -> Steps:
        attempt = self._running()
        if attempt.memory is None:
            raise StepError(f"{attempt.task} is called with many jobs at once (batch=), so it has no steps of one job.")
        if attempt.steps is None:
            attempt.steps = Steps(attempt.memory, attempt)
        return attempt.steps


def _caller(depth: int = 2) -> str:
    frame = sys._getframe(depth)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
