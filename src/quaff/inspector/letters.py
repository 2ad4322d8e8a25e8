"""Dead letters: found, sent back and deleted, one or all that match."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from quaff.inspector.homes import Homes
from quaff.model import message, outcome
from quaff.model.ids import JobId
from quaff.model.message import Where
from quaff.store.keys import Partition
from quaff.store.queries import Letter, letters, lookup
from quaff.store.transitions import STEP, discard, requeue


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
            for page in self._pages(home):
                yield from (found for _, found in page if _is(found, task, error))

    def requeue(self, queue: str | None, task: str | None, error: str | None) -> int:
        """Send them back; how many."""
        return sum(
            answers.count(b"q")
            for home, ids in self._matching(queue, task, error)
            for answers in [self._homes.store.run(requeue(home, ids))]
        )

    def discard(self, queue: str | None, task: str | None, error: str | None) -> int:
        """Delete them; how many."""
        return sum(
            answers.count(1)
            for home, ids in self._matching(queue, task, error)
            for answers in [self._homes.store.run(discard(home, ids))]
        )

    def _matching(
        self, queue: str | None, task: str | None, error: str | None
    ) -> Iterator[tuple[Partition, list[bytes]]]:
        """Ids by the page. All are read before the first is touched: what fails again meanwhile is not met twice."""
        for home in self._homes.of(queue):
            found = [letter.id for page in self._pages(home) for letter, each in page if _is(each, task, error)]
            for at in range(0, len(found), STEP):
                yield home, found[at : at + STEP]

    def _pages(self, home: Partition) -> Iterator[list[tuple[Letter, DeadLetter]]]:
        since: int | None = None
        seen: set[bytes] = set()
        while True:
            # Those of the last page's last moment come again at first.
            page = self._homes.store.run(letters(home, since_ms=since, skip=len(seen), count=STEP))
            if not page:
                return
            yield [(letter, self._read(home, letter)) for letter in page]
            last = page[-1].given_up_ms
            seen = (seen if last == since else set()) | {letter.id for letter in page if letter.given_up_ms == last}
            since = last

    def _read(self, home: Partition, letter: Letter) -> DeadLetter:
        kept = outcome.read(letter.outcome) if letter.outcome else None
        failure = kept.attempt.error if kept else None
        return DeadLetter(
            id=str(JobId(home.queue, home.number, letter.id)),
            queue=home.queue,
            task=(kept.task if kept else "") or self._task_of(home, letter.id),
            failed_at=datetime.fromtimestamp(letter.given_up_ms / 1000, UTC),
            reason=failure.reason if failure else "",
            error=failure.type if failure else "",
            message=failure.message if failure else "",
        )

    def _task_of(self, home: Partition, id: bytes) -> str | None:
        """From the message, for a job whose worker could not tell: it was killed."""
        try:
            data, settings = self._homes.store.run(lookup(home, id, all=True)).message, self._homes.settings
            where = Where(settings.namespace, JobId(home.queue, home.number, id))
            return message.decode(data, seals=settings.seals, where=where).task
        except (message.CorruptMessage, message.NewerMessage):
            return None


def _is(letter: DeadLetter, task: str | None, error: str | None) -> bool:
    return task in (None, letter.task) and error in (None, letter.reason, letter.error)
