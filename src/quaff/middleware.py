"""Middleware: what sees jobs being sent and attempts being made, such as a tracer. ``quaff.use(...)``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar

import msgspec

from quaff.model.masking import Mask

S = TypeVar("S")


class Sending(msgspec.Struct):
    """Jobs of one task on their way to the server.

    Attributes:
        task, queue: theirs.
        ids: of the jobs, once they are known: at the end, and not before all have been encoded.
    """

    task: str
    queue: str
    ids: Sequence[str] = ()


class Ended(msgspec.Struct, frozen=True):
    """How an attempt ended.

    Attributes:
        state: of its job now: ``succeeded``, ``failed`` (it is given up), ``retrying``, ``scheduled``, ``cancelled``.
        error: what it raised, if it failed; with whatever its text says.
    """

    state: str
    error: BaseException | None = None


class Attempted(msgspec.Struct):
    """One attempt, of one job or of a batch of them.

    Attributes:
        id: of its job, the first one of a batch; jobs: how many.
        task, queue, number, worker: the task's name, the queue, the attempt's number from 1, the worker's name.
        flow: the id of the flow that its job is of; empty for other jobs.
        waited: seconds that the job waited before its first attempt; below 0: not known, or this is another one.
        late: it was delayed by more than a minute, is of a schedule, or was tried before: what sent it is over.
        size: bytes of the message.
        headers: what ``Middleware.headers`` gave when each of its jobs was sent; of others whoever sent them.
        mask: takes the values of its ``sensitive=`` arguments out of a text that goes elsewhere; ``str`` without any.
        ended: None until it has.
    """

    id: str
    task: str
    queue: str
    number: int
    worker: str
    flow: str
    waited: float
    late: bool
    size: int
    headers: Sequence[Mapping[str, str]]
    mask: Mask = str
    ended: Ended | None = None

    @property
    def jobs(self) -> int:
        return len(self.headers)


class Middleware:
    """A subclass has of these what it needs. What it raises around an attempt is logged, and changes nothing."""

    def sending(self, sending: Sending) -> AbstractContextManager[Any]:
        """Surrounds the encoding and sending of jobs, in the thread or coroutine that sends them."""
        return nullcontext()

    def headers(self) -> Mapping[str, str]:
        """Goes along with each job that is sent; some hundred bytes at most, and nothing secret."""
        return {}

    def attempt(self, attempted: Attempted) -> AbstractContextManager[Any]:
        """Surrounds an attempt, in its thread or coroutine; it has ended (``attempted.ended``) on the way out."""
        return nullcontext()


@contextmanager
def around(
    several: Iterable[Middleware], sending: Sending, id_of: Callable[[S], str]
) -> Generator[Callable[[list[S]], list[S]]]:
    """Has them see what is sent; gives what is to be called with it, and gives that back."""

    def note(sent: list[S]) -> list[S]:
        sending.ids = [id_of(each) for each in sent]
        return sent

    with ExitStack() as stack:
        for each in several:
            stack.enter_context(each.sending(sending))
        yield note


def headers_of(several: Iterable[Middleware]) -> dict[str, str]:
    """What goes along with a job; what two of them give by one name, such as ``baggage``, as a list with commas."""
    found: dict[str, str] = {}
    for each in several:
        for name, value in each.headers().items():
            found[name] = f"{found[name]},{value}" if name in found else value
    return found
