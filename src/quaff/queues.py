"""Queue: what an operator does with one queue. Every change is in its list of changes."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Protocol

import msgspec

from quaff.config import Settings
from quaff.errors import ConfigurationError, UnknownTask, did_you_mean
from quaff.model import blocking
from quaff.model.ids import check_name
from quaff.model.limits import Concurrency, Limit, RateLimit
from quaff.model.placement import declared_as, limit_name
from quaff.model.times import Seconds, instant, seconds
from quaff.stepwise import Step, purged, written_down
from quaff.store.client import Store
from quaff.store.keys import Partition, partition
from quaff.store.operations import block, capacity, limit, pause, record
from quaff.store.queries import blocks, changes, partitions, stats
from quaff.store.transitions import Call


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a queue are where, and what has been counted since it exists.

    Attributes:
        queued: wait in line, those at a limit included.
        scheduled: wait for their time, retries included.
        blocked: wait for the end of the job that holds their unique key.
        parked: wait for a worker that knows their task.
        running: are being run.
        away: sent to this queue and, after a retry, at work in another one.
        dead_letters: failed and are kept.
        paused: nothing is handed out.
        resumes_in: seconds until a pause ends by itself; None: it does not, or there is none.
        head_since: when the job at the head of the line was sent, aware, UTC; None where nothing waits there or it does
            not tell.
        enqueued, succeeded, failed, cancelled, expired, retried: counters.
    """

    queued: int
    scheduled: int
    blocked: int
    parked: int
    running: int
    away: int
    dead_letters: int
    paused: bool
    resumes_in: float | None
    head_since: datetime | None
    enqueued: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    retried: int

    @property
    def backlog(self) -> int:
        """Jobs that a worker could run now, and those that run: what decides how many workers it takes."""
        return self.queued + self.running

    def scale(self) -> dict[str, int]:
        """What an autoscaler is told."""
        return {"backlog": self.backlog, "queued": self.queued, "running": self.running, "scheduled": self.scheduled}


class Change(msgspec.Struct, frozen=True):
    """Something that was changed by hand: when (aware, UTC), by whom (``user@host``), what, and what of it."""

    at: datetime
    who: str
    what: str
    about: str


class _Settings(Protocol):
    @property
    def limits(self) -> Sequence[Limit]: ...


class Limited(Protocol):
    """What is asked of a task: its name, and its limits as they are declared."""

    name: str

    @property
    def settings(self) -> _Settings:
        """Its options."""
        ...


class Queue:
    """One queue; making this costs no I/O.

    Every method raises ServerUnavailable where no server answers.

    Args:
        store: the server.
        settings: the application's.
        name: the queue's.
        tasks: those of the application, by all of their names.
    """

    def __init__(self, store: Store, settings: Settings, name: str, tasks: Mapping[str, Limited]) -> None:
        self.name: str = check_name("queue", name)
        self._store = store
        self._settings = settings
        self._tasks = tasks
        self._first = partition(settings.namespace, name)

    def pause(self, for_: Seconds | None = None) -> bool:
        """Hand out nothing any more; what runs goes on, and jobs are accepted.

        Args:
            for_: seconds after which it goes on by itself; None: until ``resume()``.

        Returns:
            False if it was paused already; the new time counts all the same.
        """
        lasts_ms = 0 if for_ is None else max(1, int(seconds("pause(for_=)", for_) * 1000))
        return self._everywhere(lambda home: pause(home, on=True, lasts_ms=lasts_ms, who=somebody()))

    def resume(self) -> bool:
        """Go on; False if it was not paused."""
        return self._everywhere(lambda home: pause(home, on=False, lasts_ms=0, who=somebody()))

    def purge(self, *, scheduled: bool = False) -> int:
        """Cancel what waits in line, some jobs at a time; how many.

        Args:
            scheduled: also what waits for its time, retries included.
        """
        return max((step.done for step in self.purging(scheduled=scheduled)), default=0)

    def purging(self, *, scheduled: bool = False) -> Iterator[Step]:
        """As ``purge``, and every few jobs how far it has come; nothing is done before the first step is taken."""
        who = somebody()

        def write(done: int) -> None:
            self._store.run(record(self._first, who=who, what="purge", about=f"{done} jobs"))

        return written_down(purged(self._store, self._settings, self._homes(), scheduled=scheduled), write)

    def stats(self) -> QueueStats:
        """How many jobs are where."""
        return stats_of(self._store, self._homes())[self.name]

    def set_limit(self, limit: Limit, *, task: str | None = None, only: str | None = None) -> None:
        """Give a limit of this queue other numbers than the code has, from now on and until ``reset_limit``.

        They hold for all that comes with that key, also where no job has had it yet.

        Args:
            limit: ``RateLimit(50, per=1, key="api:{host}")``: the key as it is declared, with the new numbers.
            task: the name of the task, for a limit that is declared without a key or with a function.
            only: for this key alone, such as ``"api:example.com"``.

        Raises:
            UnknownTask, ConfigurationError: no such task here, or it has no such limit.
        """
        self._change_limit(limit, task, only, on=True)

    def reset_limit(self, limit: Limit, *, task: str | None = None, only: str | None = None) -> None:
        """Back to the numbers of the code; arguments as of ``set_limit``."""
        self._change_limit(limit, task, only, on=False)

    def _change_limit(self, given: Limit, task: str | None, only: str | None, *, on: bool) -> None:
        if not isinstance(given, (RateLimit, Concurrency)):
            raise ConfigurationError(f"set_limit({given!r}): give RateLimit(...) or Concurrency(...).")
        for option, text in (("task", task), ("only", only)):
            if text is not None and not isinstance(text, str):
                raise ConfigurationError(f"set_limit({option}={text!r}): give a text.")
        if task is not None:
            check_name("task", task)
        if task is None and (not given.key or callable(given.key)):
            raise ConfigurationError(
                "set_limit: a limit without a key, or with a function as its key, belongs to one task: give task=."
            )
        owner = task if task is None or not self._tasks else self._owner(given, task)
        name = limit_name(given.kind, declared_as(owner or "", given.key), only or "")
        numbers = given.numbers() if on else ""
        name, who = (name if only is not None else name[17:]), somebody()
        after = b""
        while True:
            after = self._store.run(limit(self._first, name=name, numbers=numbers, who=who, after=after))
            if not after:
                return

    def _owner(self, given: Limit, name: str) -> str:
        """The name that a task has now, where it has such a limit."""
        task = self._tasks.get(name)
        if task is None:
            raise UnknownTask(f"no task {name!r} is registered here.{did_you_mean(name, self._tasks)}")
        same = [each for each in task.settings.limits if type(each) is type(given)]
        declared = {declared_as(task.name, each.key) for each in same}
        if declared_as(task.name, given.key) not in declared:
            others = ", ".join(f"key={each.key!r}" for each in same if isinstance(each.key, str) and each.key)
            hint = f" Those that it has are meant by their keys: {others}." if others else ""
            raise ConfigurationError(f"set_limit: task {name!r} has no {type(given).__name__} like that.{hint}")
        return task.name

    def set_capacity(self, *, jobs: int | None = None, size: int | None = None) -> None:
        """Refuse new jobs with QueueFull while the queue has so many, or so much, that waits or runs.

        Args:
            jobs: how many; None: as many as come.
            size: bytes of their messages, as the server counts them, give or take a tenth; None likewise. What a call
                brings counts before it is stored, so one that is larger than this is never taken.
        """
        for name, given in (("jobs", jobs), ("size", size)):
            if given is not None and (type(given) is not int or given < 1):
                raise ConfigurationError(f"set_capacity({name}={given!r}): give a whole number from 1, or None.")
        count = len(self._homes())
        # Each takes its part of that, rounded up; jobs are spread evenly.
        share = {"jobs": jobs and -(-jobs // count), "size": size and -(-size // count)}
        self._everywhere(lambda home: capacity(home, **share, who=somebody()))

    def block(self, rule: bytes, *, on: bool) -> bool:
        """Apply a rule of ``Quaff.block``, or lift it; False if it was so before."""
        words = str(blocking.decode(rule))
        return self._everywhere(lambda home: block(home, rule, on=on, who=somebody(), words=words))

    def blocked(self) -> list[str]:
        """What ``Quaff.block`` keeps from being started, such as ``"mails.send(user_id=7)"``."""
        return [blocking.words(rule) for rule in self._store.run(blocks(self._first))[1]]

    def changes(self, most: int = 100) -> list[Change]:
        """What was changed by hand, the newest first; a thousand are kept."""
        if type(most) is not int or most < 1:
            raise ConfigurationError(f"changes({most!r}): give a whole number from 1.")
        found = self._store.run(changes(self._first, most))
        return [Change(instant(ms), who, what, about) for ms, who, what, about in found]

    def _homes(self) -> list[Partition]:
        """All of its partitions, those included that it has in another program's settings, or had once."""
        count = max(self._store.run(partitions(self._first)), self._settings.partitions.of(self.name))
        return [partition(self._settings.namespace, self.name, number) for number in range(count)]

    def _everywhere(self, change: Callable[[Partition], Call[bool]]) -> bool:
        """Make a change in each partition; whether one was otherwise before."""
        changed: list[bool] = []
        # The first one before the others, and those that have come meanwhile (see ``backend.spread_out``).
        while new := self._homes()[len(changed) :]:
            changed += [self._store.run(change(home)) for home in new]
        return any(changed)

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"


def stats_of(store: Store, homes: Sequence[Partition]) -> dict[str, QueueStats]:
    """How many jobs of each queue are where, in one round trip.

    Args:
        homes: all partitions of these queues.

    Raises:
        ServerUnavailable
    """
    found: dict[str, list[Mapping[str, int]]] = {}
    answers = store.run_many([stats(home) for home in homes]) if homes else []
    for home, numbers in zip(homes, answers, strict=True):
        found.setdefault(home.queue, []).append(numbers)
    return {queue: together(several) for queue, several in found.items()}


def together(found: Sequence[Mapping[str, int]]) -> QueueStats:
    """What the script has counted in each partition of a queue, as one: paused where all are, and the oldest head."""
    numbers = {name: sum(each[name] for each in found) for name in found[0]}
    del numbers["paused"], numbers["head_ms"], numbers["processes"]
    paused = min(each["paused"] for each in found)
    head_ms = min((each["head_ms"] for each in found if each["head_ms"]), default=0)
    return QueueStats(
        **numbers,
        paused=paused >= 0,
        resumes_in=paused / 1000 if paused > 0 else None,
        head_since=instant(head_ms) if head_ms else None,
    )


_acting: ContextVar[str | None] = ContextVar("quaff_acting", default=None)


@contextmanager
def acting_as(name: str) -> Generator[None]:
    """Within it changes are somebody else's than this program's: of whoever has sent a request."""
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


def somebody() -> str:
    """Who this is, for the list of changes."""
    if (name := _acting.get()) is not None:
        return name
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
