"""What is done to a job's memory from outside: a signal, and sending it back without some of its steps."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from quaff.errors import EncodeError, JobEnded, JobNotFound, StepError, TooManySignals
from quaff.model import codec
from quaff.model.ids import JobId
from quaff.model.states import BY_LETTER
from quaff.model.steps import MOST_SIGNAL_BYTES, MOST_SIGNALS, checked_name
from quaff.store import steps
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.transitions import Call, requeue


class Remembering:
    """What a job's handle inherits: ``requeue``, ``rerun``, ``signal``, ``asignal``."""

    _store: Store
    _home: Partition
    _id: JobId

    @property
    def id(self) -> str:
        """The job's id."""
        raise NotImplementedError

    def requeue(self) -> bool:
        """Send a job that failed back to its queue; its attempts are counted anew, those before are remembered.

        Returns:
            True if it is on its way (again); False if it has ended otherwise, was discarded, or another job holds its
            unique key now.

        Raises:
            JobNotFound, ServerUnavailable
        """
        (answer,) = self._store.run(requeue(self._home, [self._id.raw]))
        if not answer:
            raise _unknown(self.id)
        return answer in (b"q", b"n")

    def rerun(self, from_step: str = "") -> bool:
        """As ``requeue``, but the job forgets a step and all that came after it, or all of them.

        Returns:
            As ``requeue``; False also for a job that has not ended.

        Raises:
            StepError: it remembers no such step; JobNotFound, ServerUnavailable
        """
        return _reran(self.id, from_step, self._store.run(_rerun(self._home, self._id.raw, from_step)))

    def signal(self, name: str, value: Any = None, *, key: str | None = None) -> None:
        """Send the job what ``current_job.wait_for(name)`` gives, now or when it comes there.

        Args:
            value: plain data, as arguments are.
            key: the same key is delivered once, such as the id of a webhook's delivery; None: each call is another one.

        Raises:
            JobEnded, JobNotFound, TooManySignals, EncodeError, ServerUnavailable
        """
        call = _signal(self._home, self._id.raw, name, value, key)
        _sent(self.id, name, self._store.run(call))

    async def asignal(self, name: str, value: Any = None, *, key: str | None = None) -> None:
        """As ``signal``, in a coroutine."""
        call = _signal(self._home, self._id.raw, name, value, key)
        _sent(self.id, name, await self._store.aio.run(call))


def _signal(home: Partition, id: bytes, name: str, value: Any, key: str | None) -> Call[bytes]:
    """Send a job a signal; made once, and sent again as it is. Raises StepError, EncodeError."""
    named = checked_name("job.signal()", name).encode()
    try:
        data = codec.encode(value)
    except EncodeError as error:
        raise EncodeError(
            f"job.signal({name!r}): {error.args[0]}. Send plain data (numbers, text, bytes, dates, lists, dicts) or "
            "an id."
        ) from None
    signal_id = os.urandom(16) if key is None else hashlib.blake2b(f"{name}\0{key}".encode(), digest_size=16).digest()
    return steps.signal(home, id, signal_id=signal_id, name=named, value=data)


def _sent(id: str, name: str, answer: bytes) -> None:
    """The answer to ``signal``. Raises what it says."""
    if answer == b"d":
        return
    if not answer:
        raise _unknown(id)
    if answer in (b"n", b"b"):
        what = f"{MOST_SIGNALS} signals" if answer == b"n" else f"{MOST_SIGNAL_BYTES:,} bytes of signals"
        raise TooManySignals(
            f"signal {name!r}: job {id} has room for {what} that it has not taken. Send an id instead of large values, "
            "or wait until it has taken some.",
            id,
        )
    raise JobEnded(f"signal {name!r}: job {id} has ended ({BY_LETTER[answer]}), so nobody would take it.", id)


def _rerun(home: Partition, id: bytes, from_step: str) -> Call[bytes]:
    """Send a job back without its steps from one on. Raises StepError for what is no name."""
    name = checked_name("job.rerun()", from_step) if from_step else ""
    return steps.rerun(home, id, call_id=os.urandom(12).hex().encode(), from_step=name.encode())


def _reran(id: str, from_step: str, answer: bytes) -> bool:
    """The answer to ``rerun``. Raises what it says."""
    if not answer:
        raise _unknown(id)
    if answer == b"x":
        raise StepError(f"job {id} remembers no step {from_step!r}: job.info().steps has those that it does.")
    return answer == b"q"


def _unknown(id: str) -> JobNotFound:
    return JobNotFound(f"job {id} is not known: it never was, or its record and tombstone are gone.", id)
