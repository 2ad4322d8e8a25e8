"""Which jobs there are, with the arguments they were sent with; and what a test says of one that it looks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from quaff.app import Quaff
from quaff.model import message
from quaff.model.ids import JobId
from quaff.model.message import CorruptMessage, Message, NewerMessage, Where
from quaff.store.pages import hash_fields
from quaff.store.probe import Line
from quaff.task import Task
from quaff.testing.store import Seen


class Enqueued(NamedTuple):
    """A job that was enqueued: its id, its task's name, its arguments by the names of the parameters."""

    id: JobId
    task: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.task}({given}) in queue {self.id.queue}"


class Wanted:
    """What is looked for.

    Args:
        app: the application.
        task: a task, or its name; None: any.
        args, kwargs: those arguments that count, as in a call; others may be anything.
        queue: where it waits; None: anywhere.

    Raises:
        TypeError: no call of the task could have these; UnknownTask
    """

    def __init__(
        self,
        app: Quaff,
        task: Task[Any, Any, Any] | str | None,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        queue: str | None,
    ) -> None:
        self._task = app.find_task(task) if isinstance(task, str) else task
        self._queue = queue
        self._arguments: dict[str, Any] = {}
        if args or kwargs:
            if self._task is None:
                raise TypeError("args= and kwargs= are those of a task: say of which.")
            try:
                self._arguments = self._task.signature.some(tuple(args or ()), dict(kwargs or {}))
            except TypeError as error:
                raise TypeError(f"no call of {self._task.name} has these arguments: {error}.") from None

    def fits(self, job: Enqueued) -> bool:
        """Whether it is this one."""
        if (self._task and job.task != self._task.name) or self._queue not in (None, job.id.queue):
            return False
        return all(name in job.arguments and value == job.arguments[name] for name, value in self._arguments.items())

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        what = "any task" if self._task is None else f"{self._task.name}({given})"
        return what + (f" in queue {self._queue}" if self._queue else "")


def enqueued(app: Quaff, seen: Seen, started: Mapping[JobId, Message]) -> list[Enqueued]:
    """Every job that waits or has been started here, the oldest partition first.

    Args:
        seen: the partitions.
        started: what a worker has begun, whose messages the server may have dropped.
    """
    found: dict[JobId, Message] = dict(started)
    for home in seen.partitions:
        with closing(Line(app.backend.endpoint, home=home)) as line:
            messages = hash_fields(line, home.key("msg"), values=True)
        for raw, data in messages.items():
            id = JobId(home.queue, home.number, raw)
            if message.origin(data) is None and id not in found:
                try:
                    where = Where(home.namespace, id)
                    found[id] = message.decode(data, seals=app.settings.seals, where=where)
                except (CorruptMessage, NewerMessage):
                    continue  # whoever wrote that, it was no call of a task
    return [Enqueued(id, sent.task, _arguments(app, sent)) for id, sent in found.items()]


def _arguments(app: Quaff, sent: Message) -> dict[str, Any]:
    task = app.tasks.get(sent.task)
    if task is None:
        return {**{str(place): value for place, value in enumerate(sent.args)}, **sent.kwargs}
    try:
        args, kwargs = task.signature.unbind(sent.args, sent.kwargs)
        return task.signature.arguments(tuple(args), kwargs)
    except TypeError:
        return dict(sent.kwargs)  # another version of the code has sent it
