"""A leased job on its way through a process: claimed, understood or not, finished."""

from __future__ import annotations

from typing import Any

import msgspec

from quaff.context import Attempt
from quaff.model import ids, message
from quaff.model.ids import JobId
from quaff.model.masking import Mask, mask_of
from quaff.model.message import Message, Where
from quaff.model.outcome import Failure, Settled
from quaff.store.keys import Partition
from quaff.store.transitions import Lease
from quaff.task import Task


class Claim(msgspec.Struct, frozen=True):
    """A leased job in this process: ``place`` is its partition's place in the worker's list."""

    place: int
    partition: Partition
    lease: Lease

    @property
    def id(self) -> str:
        """The job's id in text form."""
        return str(self.where.job)

    @property
    def where(self) -> Where:
        """The namespace, and the job at home."""
        here = JobId(self.partition.queue, self.partition.number, self.lease.id)
        return Where(self.partition.namespace, message.origin(self.lease.message) or here)


class Ready(msgspec.Struct, frozen=True):
    """A claim whose message was understood; ``limit``: seconds it may run, 0 for as long as it likes.

    ``fellows`` are the other jobs of its batch. ``lacks``: it, or one of them, is given results that are in the store
    of results, and has not got them yet.
    """

    claim: Claim
    task: Task[Any, Any, Any]
    message: Message
    limit: float
    fellows: tuple[Ready, ...] = ()
    lacks: bool = False

    @property
    def mask(self) -> Mask:
        """What takes the values of its sensitive arguments, and those of its fellows, out of a text."""
        if not self.task.settings.sensitive:
            return str
        return mask_of([value for job in self.all for value in job._hidden()], len(self.all))

    def _hidden(self) -> list[Any]:
        sent = self.message
        try:
            given = self.task.signature.arguments(tuple(sent.args), sent.kwargs)
        except TypeError:  # they do not fit the function as it is now: who can tell which is which
            return [sent.args, sent.kwargs]
        return [given[name] for name in self.task.settings.sensitive]

    @property
    def all(self) -> tuple[Ready, ...]:
        """It and its fellows."""
        return (self, *self.fellows)


class Parked(msgspec.Struct, frozen=True):
    """A claim that nobody here can run: give it back, for a worker that can.

    ``why`` is for the log; ``created_ms`` is 0 where nothing tells.
    """

    claim: Claim
    why: str
    created_ms: int = 0


class Finished(msgspec.Struct, frozen=True):
    """An attempt that ended; ``seconds`` it ran. ``fellows``: those of the other jobs of its batch.

    ``speaker`` has said something of which the server must know before this is settled: then nobody hears it any more.
    For what is counted: ``task``, empty where the message cannot be read; ``waited``, seconds from when the job was
    due, below 0 where that is not known or this is not its first attempt; ``failure`` and ``frame``, where it is from;
    ``memory``, by how many bytes its process had grown, below 0 where nobody looked.
    """

    claim: Claim
    settled: Settled
    seconds: float
    fellows: tuple[Finished, ...] = ()
    speaker: Attempt | None = None
    task: str = ""
    waited: float = -1.0
    failure: Failure | None = None
    frame: str = ""
    memory: int = -1


def together(finished: list[Finished]) -> Finished:
    """What a batch came to, as one: the first with the others in it."""
    first, *others = finished
    return msgspec.structs.replace(first, fellows=tuple(others)) if others else first


def ran(
    job: Ready, settled: Settled, began: float, ended: float, failure: Failure | None = None, frame: str = ""
) -> Finished:
    """What an attempt came to that ran between these Unix times."""
    before = waited(job.claim.lease, job.message, began)
    return Finished(job.claim, settled, ended - began, task=job.task.name, waited=before, failure=failure, frame=frame)


def waited(lease: Lease, sent: Message, began: float) -> float:
    """Seconds that a job waited, from when it was due, for its first attempt; below 0: unknown, or another one."""
    if not lease.first:
        return -1.0
    since = sent.created_ms or ids.created_ms(lease.id)
    if sent.terms:
        if message.FLOW in sent.terms:
            return -1.0  # it was stored long before it was put in line
        since = max(since, sent.terms.get(message.DUE, 0), sent.terms.get(message.SCHEDULED, 0))
    return max(0.0, began - since / 1000) if since else -1.0
