"""Dead letters, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from quaff.inspector.homes import Homes
from quaff.inspector.listing import read_message
from quaff.model import outcome
from quaff.model.ids import JobId
from quaff.model.times import instant
from quaff.store.keys import Partition
from quaff.store.queries import lookup
from quaff.store.tallies import Seen, jobs

#: Read at once.
_PAGE = 100


class DeadLetter(msgspec.Struct, frozen=True):
    """A job that was given up.

    Attributes:
        id, queue: ``quaff.job(id)`` has the rest.
        task: its name; None where the message cannot be read.
        failed_at: an aware UTC datetime.
        reason: one of ``error timeout poison corrupt undeliverable``; empty where FAILED_TTL keeps no outcome.
        error: the exception's class name; for poison the signal's name, or ``exit``.
        message: the exception's text.
    """

    id: str
    queue: str
    task: str | None
    failed_at: datetime
    reason: str
    error: str
    message: str


class Letters:
    """The dead letters of some queues; see ``Inspector``."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes

    def failed(self, queue: str | None, task: str | None, error: str | None) -> Iterator[DeadLetter]:
        """Those that match."""
        for home in self._homes.of(queue):
            for seen in self._dead(home):
                if _is(letter := self._read(home, seen), task, error):
                    yield letter

    def _dead(self, home: Partition) -> Iterator[Seen]:
        start = b""
        while True:
            page = self._homes.store.run(jobs(home, ("dead",), start, _PAGE))
            yield from page.seen
            if page.place is None:
                return
            start = page.on

    def _read(self, home: Partition, seen: Seen) -> DeadLetter:
        id, data, record = JobId(home.queue, home.number, seen.id), seen.message, seen.record
        if not record:
            # It is kept no longer, or too large for a page.
            found = self._homes.store.run(lookup(home, seen.id, all=True))
            data, record = found.message, found.record
        kept = outcome.read(record) if record else None
        failure = kept.attempt.error if kept else None
        # A worker that was killed could not tell which task it was.
        sent = None if kept and kept.task else read_message(self._homes, id, data)
        return DeadLetter(
            id=str(id),
            queue=home.queue,
            task=(kept.task if kept else "") or (sent.task if sent else None),
            failed_at=instant(float(seen.detail)),
            reason=failure.reason if failure else "",
            error=failure.type if failure else "",
            message=failure.message if failure else "",
        )


def _is(letter: DeadLetter, task: str | None, error: str | None) -> bool:
    return task in (None, letter.task) and error in (None, letter.reason, letter.error)
