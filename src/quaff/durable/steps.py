"""The memory of one attempt: read when it is first asked for, written before a step returns.

What talks to the server is a generator of calls, so that threads and coroutines share it: ``in_thread`` and ``in_loop``
send what it gives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from quaff.errors import EncodeError, ServerUnavailable, SignalTimeout, StepError
from quaff.model import steps as model
from quaff.model.codec import UNREADABLE
from quaff.model.steering import Lost, Pause
from quaff.model.steps import DONE, ITERATION, MOST, MOST_BYTES, RECEIVED, SLEEP, TIMED_OUT, WAIT, Step, checked_name
from quaff.model.times import LONGEST, Duration, duration
from quaff.store.client import Store
from quaff.store.faults import NoAnswer
from quaff.store.keys import partition
from quaff.store.steps import Heard, Kept, recall, receive, step
from quaff.store.transitions import Call

log: logging.Logger = logging.getLogger("quaff.worker")

T = TypeVar("T")
Calls = Generator[Call[Any], Any, T]

_WORDS = {DONE: "a step", ITERATION: "an iteration", SLEEP: "a sleep"} | dict.fromkeys(
    (WAIT, RECEIVED, TIMED_OUT), "a wait for a signal"
)


class Memory(NamedTuple):
    """Where the attempts of a process keep what they remember; ``max_value``: bytes of the largest value."""

    store: Store
    namespace: str
    max_value: int


class Running(Protocol):
    """What its memory must know of an attempt."""

    queue: str
    partition: int
    raw: bytes
    token: bytes
    attempt: int

    @property
    def id(self) -> str: ...


class Steps:
    """What a job remembers, as one attempt sees it.

    Args:
        memory: where it is kept.
        attempt: the attempt.

    Attributes:
        pause: what ends this attempt, once it has to wait.
        inside: how many iterations are under way.
    """

    def __init__(self, memory: Memory, attempt: Running) -> None:
        self.memory = memory
        self.pause: Pause | None = None
        self.inside = 0
        self._home = partition(memory.namespace, attempt.queue, attempt.partition)
        self._attempt = attempt
        self._known: dict[str, Step] | None = None
        self._used: dict[str, str] = {}
        self._unnamed: dict[str, int] = {}
        self._now_ms = 0
        self._read_at = 0.0

    # Steps of any kind

    def use(self, call: str, name: str | None, where: str, default: str = "") -> str:
        """The name of a step, which nobody else has in this attempt.

        Args:
            call: what was called, for error texts.
            name: as it was given; None numbers those that have no name.
            where: the line of the call, for error texts.
            default: what a number is added to.

        Raises:
            StepError: a name that is none, or is used already; no name inside an iteration.
            Pause: the attempt has to end, and somebody caught that.
        """
        if self.pause is not None:
            raise self.pause
        if name is None:
            if self.inside:
                raise StepError(
                    f"{call} at {where} is inside an iteration, which does not begin with the same item each time: "
                    "give it a name of its own for each item, such as name=f'... {item}'."
                )
            number = self._unnamed[default] = self._unnamed.get(default, 0) + 1
            name = default if number == 1 else f"{default}#{number}"
        name = checked_name(call, name)
        if name in self._used:
            raise StepError(
                f"the name {name!r} is used twice in one attempt, by {self._used[name]} and by {call} at {where}: "
                "what is remembered is found by its name, so give each its own."
            )
        self._used[name] = f"{call} at {where}"
        return name

    def recall(self, name: str, kind: str) -> Calls[Step | None]:
        """What is remembered by that name. Raises StepError: it is of another kind, or one too many."""
        if self._known is None:
            now_ms, data = yield recall(self._home, self._attempt.raw)
            if self._known is None:  # several coroutines may have asked
                self._now_ms, self._read_at = now_ms, time.monotonic()
                self._known = {each.name: each for each in self._read(data)}
        known = self._known.get(name)
        if known is not None and _WORDS.get(known.kind) != _WORDS[kind]:
            was = _WORDS.get(known.kind, "something that nobody knows here")
            raise StepError(
                f"{name!r} is remembered as {was} and now used as {_WORDS[kind]}: an older version of "
                "the task used that name otherwise; take another one."
            )
        if known is None and len(self._known) >= MOST:
            raise StepError(
                f"{name!r} would be step {MOST + 1} of job {self._attempt.id}: a job remembers {MOST}. Use "
                "current_job.iterate() for many small items, or several jobs."
            )
        return known

    def _read(self, data: bytes) -> list[Step]:
        try:
            return model.decode(data)
        except UNREADABLE as error:
            raise StepError(
                f"what job {self._attempt.id} remembers cannot be read ({error}): it was damaged. Send the job "
                "anew; what its steps have done is done again then."
            ) from None

    def keep(self, name: str, kind: str, value: bytes) -> Calls[None]:
        """Remember a step. Raises Lost, StepError."""
        spec = self.spec(name, kind, value)
        (answer,) = yield step(self._home, [(self._attempt.raw, self._attempt.token, spec)])
        if answer is Kept.FENCED:
            raise Lost(f"step {name!r} came too late: this attempt does not hold the job any more")
        if answer is not Kept.OK:
            what = f"{MOST} steps" if answer is Kept.TOO_MANY else f"{MOST_BYTES:,} bytes of steps"
            raise StepError(
                f"step {name!r} cannot be remembered: a job has room for {what}. Store large values elsewhere and "
                "return their id or path."
            )
        assert self._known is not None
        self._known[name] = Step(name, kind, self._now_ms, self._attempt.attempt, "", value)

    def spec(self, name: str, kind: str, value: bytes = b"", signal: str = "") -> bytes:
        """A step as the server takes it."""
        return model.encode(name, kind, self._attempt.attempt, value, signal)

    def paused(self, spec: bytes, delay: float = 0.0, word: str = "snoozed") -> Pause:
        """What to raise so that the attempt ends and the job goes on later."""
        self.pause = Pause(spec, delay, word)
        return self.pause

    def checked_value(self, name: str, data: bytes) -> bytes:
        """A value that is not too large. Raises EncodeError."""
        if len(data) > self.memory.max_value:
            raise EncodeError(
                f"the value of step {name!r} is {len(data):,} bytes, the limit is {self.memory.max_value:,} "
                "(MAX_RESULT). Store it and return its id or path."
            )
        return data

    # Waiting

    def sleep(self, name: str, given: Duration) -> Calls[None]:
        """Return if the time is over, else raise Pause."""
        delay = duration("current_job.sleep()", given)
        known = yield from self.recall(name, SLEEP)
        now_ms = self._now_ms + (time.monotonic() - self._read_at) * 1000
        if known is None or known.ms > now_ms:
            raise self.paused(self.spec(name, SLEEP), delay)

    def wait(self, name: str, signal: str, timeout: Duration | None) -> Calls[bytes]:
        """The signal's value, encoded; raises SignalTimeout, Pause or Lost."""
        checked_name("current_job.wait_for()", signal)
        longest = None if timeout is None else duration("current_job.wait_for(timeout=)", timeout)
        known = yield from self.recall(name, WAIT)
        if known is not None and known.kind == RECEIVED:
            return known.value
        if known is None or known.kind == WAIT:
            spec = self.spec(name, WAIT, signal=signal)
            timeout_ms = -1 if longest is None else int(longest * 1000)
            heard, value = yield receive(self._home, self._attempt.raw, self._attempt.token, spec, timeout_ms)
            if heard is Heard.RECEIVED:
                data: bytes = value
                return data
            if heard is Heard.FENCED:
                raise Lost(f"the wait for {signal!r} came too late: this attempt does not hold the job any more")
            if heard is Heard.NOT_YET:
                # Without an end it looks again after a year.
                raise self.paused(spec, LONGEST if longest is None else longest)
        raise SignalTimeout(f"no signal {signal!r} came to job {self._attempt.id} in time (step {name!r}).")


def in_thread(store: Store, calls: Calls[T]) -> T:
    """Send what is asked for, from a thread, for as long as it takes: a step that has run must be remembered.

    Raises:
        RuntimeError: an event loop runs here.
    """
    if _in_coroutine():
        calls.close()
        raise RuntimeError(
            "this would hold up the event loop: in a coroutine use `await current_job.astep()`, `asleep()`, "
            "`await_for()` and `async for … in current_job.aiterate()`."
        )
    answer: Any = None
    try:
        while True:
            call = calls.send(answer)
            while True:
                try:
                    answer = store.run(call)
                    break
                except (ServerUnavailable, NoAnswer) as error:
                    log.warning("a step waits for the server: %s", error)
    except StopIteration as end:
        value: T = end.value
        return value


async def in_loop(store: Store, calls: Calls[T]) -> T:
    """As ``in_thread``, in a coroutine."""
    answer: Any = None
    try:
        while True:
            call = calls.send(answer)
            while True:
                try:
                    answer = await store.aio.run(call)
                    break
                except (ServerUnavailable, NoAnswer) as error:
                    log.warning("a step waits for the server: %s", error)
    except StopIteration as end:
        value: T = end.value
        return value


def _in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
