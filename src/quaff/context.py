"""``current_job``: what a task's code can ask about the attempt it runs in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec

from quaff.durable.current import Durable
from quaff.durable.iteration import Iteration
from quaff.durable.steps import Memory, Steps
from quaff.errors import NoCurrentJob
from quaff.model import events
from quaff.model.ids import JobId
from quaff.model.masking import Mask
from quaff.model.progress import Progress, checked
from quaff.model.steering import Pause, Retry, Snooze
from quaff.model.tail import LINES, Outgoing
from quaff.model.times import Seconds


class Attempt(msgspec.Struct):
    """The attempt that runs in this thread or coroutine.

    Attributes:
        queue, partition, raw: where the job lives; the text form of its id is made when somebody asks.
        token: what it is settled with.
        task: the task's name.
        attempt: its number, from 1; it rises by one with every charged start.
        scheduled_ms: the nominal instant of an occurrence of a schedule, Unix milliseconds; 0 for other jobs.
        stopping: empty until the worker is stopping; cancelled: somebody wants this job to end.
        should_stop: True if either is so: finish early if you can.
        progress: how far it has come, as it said last; noted: what the server was told of that.
        said: its lines and values that the server does not know yet, by kind; size: bytes of those it was told.
        home: where the job is at home, if it runs in another queue.
        flow: the id of the flow that it is of; empty for other jobs.
        tell: whom to tell that there is news; told: it has been, and has not looked yet.
        memory: where steps are remembered, None for a batch; steps: what is, once somebody has asked.
        iterations: those that were begun; cursors: how far they have come, if the server does not know yet.
        mask: takes out of a text what is not to be shown.
        ended: it says no more; heard: and the server knows all of it.
    """

    queue: str
    partition: int
    raw: bytes
    token: bytes
    task: str
    attempt: int
    scheduled_ms: int
    stopping: list[bool]
    tell: Callable[[Attempt], None]
    home: JobId | None = None
    flow: str = ""
    cancelled: bool = False
    progress: Progress | None = None
    noted: Progress | None = None
    said: dict[bytes, Outgoing] = {}
    size: int = 0
    told: bool = False
    memory: Memory | None = None
    steps: Steps | None = None
    iterations: tuple[Iteration[Any], ...] = ()
    cursors: dict[str, bytes] = {}
    mask: Mask = str
    ended: bool = False
    heard: bool = False

    @property
    def id(self) -> str:
        return str(self.home or JobId(self.queue, self.partition, self.raw))

    @property
    def should_stop(self) -> bool:
        return self.cancelled or bool(self.stopping)

    @property
    def pause(self) -> Pause | None:
        """What the attempt has ended itself with to wait, whatever its task made of that."""
        return self.steps.pause if self.steps else None

    def log(self, level: int, logger: str, text: str, at: float | None = None) -> None:
        """Keep a line; ``at``: Unix seconds, now by default."""
        # One step: two threads of one attempt may both come with its first line.
        outgoing = self.said.setdefault(LINES, Outgoing(LINES)) if LINES not in self.said else self.said[LINES]
        outgoing.add(events.line(level, logger, self.attempt, self.mask(text), at))
        self.news()

    def news(self) -> None:
        """There is something to tell."""
        if not self.told:
            self.told = True
            self.tell(self)


_current: ContextVar[Attempt | None] = ContextVar("quaff_current_job", default=None)


class CurrentJob(Durable):
    """Stands for the running attempt; false outside a task."""

    def _attempt(self) -> Attempt:
        attempt = _current.get()
        if attempt is None:
            raise NoCurrentJob(
                "current_job is only there where a job runs, and a plain call task(...) is none: send it with delay(), "
                "or in a test use perform(task, ...) of quaff.testing. `if current_job:` tells whether one is there."
            )
        return attempt

    def _running(self) -> Attempt:
        return self._attempt()

    def __bool__(self) -> bool:
        return _current.get() is not None

    @property
    def id(self) -> str:
        """The job's id."""
        return self._attempt().id

    @property
    def task(self) -> str:
        """The task's name."""
        return self._attempt().task

    @property
    def queue(self) -> str:
        """The queue it runs in."""
        return self._attempt().queue

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt().attempt

    @property
    def scheduled_for(self) -> datetime | None:
        """The nominal instant of an occurrence of a schedule (an aware datetime in UTC)."""
        ms = self._attempt().scheduled_ms
        return datetime.fromtimestamp(ms / 1000, UTC) if ms else None

    @property
    def flow(self) -> str | None:
        """The id of the flow that it is of, for ``quaff.flow(...)``; None for a job of none."""
        return self._attempt().flow or None

    @property
    def should_stop(self) -> bool:
        """True once the worker is stopping, or the job was cancelled."""
        return self._attempt().should_stop

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the task has come: ``progress(3, 10, "resizing")``.

        Costs next to nothing: the server hears of it a few times a second. ``job.info().progress`` and the status URL
        have it.

        Raises:
            ValueError: a number below 0, or no number.
        """
        attempt = self._attempt()
        attempt.progress = checked(done, total, attempt.mask(str(note)))
        attempt.news()

    def log(self, text: str, level: int = logging.INFO) -> None:
        """Keep a line with the job: ``log("resized")``. ``job.info().logs`` and ``job.watch()`` have it.

        What is logged with ``logging`` is kept, too. The newest lines of a job stay, some hundred or 32 KiB at least.

        Args:
            level: as of ``logging``; the setting JOB_LOG_LEVEL is not asked.

        Raises:
            ValueError: no level.
        """
        if type(level) is not int:
            raise ValueError(f"log(level={level!r}): give a number, such as logging.ERROR.")
        attempt = self._attempt()
        attempt.log(level, attempt.task, str(text))

    def retry(self, why: str = "the task asked for another attempt", *, in_: Seconds | None = None) -> NoReturn:
        """``raise Retry(why, in_=...)``."""
        raise Retry(why, in_=in_)

    def snooze(self, in_: Seconds) -> NoReturn:
        """``raise Snooze(in_)``."""
        raise Snooze(in_)

    def __repr__(self) -> str:
        attempt = _current.get()
        return f"<current_job {attempt.id}>" if attempt else "<current_job: none>"


current_job: CurrentJob = CurrentJob()


def member_of(flow: str) -> bytes:
    """The id of the job that runs here, as it is at home, if it is of that flow; else empty."""
    attempt = _current.get()
    if attempt is None or attempt.flow != flow:
        return b""
    return attempt.home.raw if attempt.home else attempt.raw


def enter(attempt: Attempt) -> Token[Attempt | None]:
    """Make ``attempt`` the current one; for the executor."""
    return _current.set(attempt)


def running() -> Attempt | None:
    """The attempt that runs here."""
    return _current.get()


def leave(token: Token[Attempt | None]) -> None:
    """Undo ``enter``."""
    _current.reset(token)
