"""Moves messages: each is looked at, sent under an id made of theirs, and only then removed from their line.

Whatever happens in between, the message is in one of the two places, or in both under one id: sent again, it is the
same job. What cannot be moved stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from quaff.app import Quaff
from quaff.errors import (
    ConfigurationError,
    DuplicateJob,
    EnqueueError,
    IdConflict,
    MessageTooLarge,
    QueueFull,
    ServerUnavailable,
    did_you_mean,
)
from quaff.importing.found import Found, Peer, Source
from quaff.importing.theirs import Theirs
from quaff.model.message import Submission
from quaff.model.placement import PRIORITIES
from quaff.task import submission

#: Rows of a report; what is different from all of these is counted in one more.
_ROWS = 500


class Row(msgspec.Struct, frozen=True):
    """Messages that are alike.

    Attributes:
        queue, name: theirs: of the queue and of the task.
        task, to: ours; None where they stay.
        why: they stay; empty for those that can be moved.
    """

    queue: str
    name: str
    task: str | None = None
    to: str | None = None
    why: str = ""


class Report(msgspec.Struct):
    """What was found, or done.

    Attributes:
        rows: how many messages of which kind.
        moved: how many are jobs now and no longer theirs.
        taken: how many of those somebody else had taken by then: a worker of theirs runs them, too.
    """

    rows: dict[Row, int] = {}
    moved: int = 0
    taken: int = 0

    def add(self, row: Row) -> None:
        """One more."""
        if row not in self.rows and len(self.rows) >= _ROWS:
            row = Row("…", "…", why="others")
        self.rows[row] = self.rows.get(row, 0) + 1

    @property
    def ready(self) -> int:
        """How many can be moved."""
        return sum(count for row, count in self.rows.items() if not row.why)

    @property
    def left(self) -> int:
        """How many stay."""
        return sum(count for row, count in self.rows.items() if row.why)


class Move:
    """Of one library's messages to the queues of an application.

    Args:
        quaff: whose tasks run them.
        server: theirs.
        label: the library's name, with which the keys of jobs begin.
        peer: how it writes them.
        names: their names of tasks that we call otherwise.
        queues: only these of theirs; None: all.

    Raises:
        ConfigurationError: a name is given to a task that is none, or a queue that they do not have.
        ServerUnavailable, StoreError
    """

    def __init__(
        self,
        quaff: Quaff,
        server: Theirs,
        label: str,
        peer: Peer,
        names: Mapping[str, str],
        queues: Sequence[str] | None = None,
    ) -> None:
        for ours in names.values():
            if ours not in quaff.tasks:
                raise ConfigurationError(f"--map: there is no task {ours!r} here.{did_you_mean(ours, quaff.tasks)}")
        self._quaff = quaff
        self._server = server
        self._label = label
        self._peer = peer
        self._names = names
        self._queues = frozenset(quaff.queue_names())
        sources = peer.sources(server)
        there = {source.queue for source in sources}
        for queue in queues or ():
            if queue not in there:
                raise ConfigurationError(f"-Q: {label} has no queue {queue!r} there.{did_you_mean(queue, there)}")
        self._sources = [source for source in sources if queues is None or source.queue in queues]

    def aside(self) -> dict[str, int]:
        """What does not wait and is left alone, by what it is."""
        return {what: count for what, count in self._peer.aside(self._server, self._sources).items() if count}

    def count(self) -> Report:
        """Look at all that waits, and change nothing."""
        report = Report()
        for source in self._sources:
            length, seen = self._server.length(source), 0
            while seen < length and (found := self._page(source, seen)):
                for each in found:
                    report.add(self._planned(source, each)[0])
                seen += len(found)
        return report

    def run(self) -> Iterator[Report]:
        """Move what can be moved, a page at a time; what comes meanwhile is left for another time.

        Yields:
            The same report after each page.

        Raises:
            ServerUnavailable, EnqueueUnknown, QueueFull, StoreError: what is not moved stays, and can be moved later.
        """
        report = Report()
        for source in self._sources:
            length, seen, stay = self._server.length(source), 0, 0
            while seen < length and (found := self._page(source, stay)):
                seen += len(found)
                gone = self._move(source, found, report)
                stay += len(found) - gone
                yield report

    def _page(self, source: Source, after: int) -> list[Found]:
        entries = self._server.page(source, after)
        return self._peer.read(self._server, source, entries) if entries else []

    def _move(self, source: Source, several: Sequence[Found], report: Report) -> int:
        """How many are no longer in their line."""
        planned = [(each, *self._planned(source, each)) for each in several]
        ready = [(each, row, sent) for each, row, sent in planned if sent is not None]
        refused = self._send([sent for _, _, sent in ready])
        for _, row, sent in planned:
            why = refused.get(sent.key) if sent is not None else None
            report.add(Row(row.queue, row.name, why=why) if why else row)
        stored = [each for each, _, sent in ready if sent.key not in refused]
        taken = self._server.take(source, stored)
        report.moved += len(stored)
        report.taken += len(stored) - taken
        return len(stored)

    def _send(self, several: Sequence[Submission]) -> dict[str | None, str]:
        """Store them; why some of them are not, by their keys."""
        try:
            self._quaff.send(several)
        except (IdConflict, DuplicateJob) as error:
            if len(several) == 1:
                return {several[0].key: _said(error)}
            # It was said of one of them, and those behind it may not have been sent.
            return {key: why for each in several for key, why in self._send([each]).items()}
        return {}

    def _planned(self, source: Source, found: Found) -> tuple[Row, Submission | None]:
        """What becomes of a message: how it is counted, and what is sent; None if it stays."""
        name = self._names.get(found.name, found.name)
        task = self._quaff.tasks.get(name)
        why = found.refused
        if not why and task is None:
            why = f"no task has this name: give it as name= or aliases=, or add --map {found.name}=OURS"
        if why or task is None:
            return Row(source.queue, found.name, why=why), None
        options: dict[str, Any] = {"key": f"{self._label}:{found.id}"}
        if source.queue in self._queues and source.queue != self._peer.default:
            options["queue"] = source.queue
        if found.due is not None:
            options["eta"] = datetime.fromtimestamp(found.due, UTC)
        if found.expires is not None:
            options["expires"] = datetime.fromtimestamp(found.expires, UTC)
        if found.priority:
            options["priority"] = min(max(found.priority, PRIORITIES.start), PRIORITIES.stop - 1)
        try:
            twin = task.options(**options)
            sent = submission(twin, tuple(found.args), dict(found.kwargs))
        except (QueueFull, ServerUnavailable):
            raise
        except (ConfigurationError, EnqueueError, MessageTooLarge, TypeError, ValueError, OverflowError) as error:
            return Row(source.queue, found.name, why=_said(error)), None
        except RecursionError:
            return Row(source.queue, found.name, why="its arguments are nested too deeply"), None
        return Row(source.queue, found.name, task.name, sent.id.queue), sent


def _said(error: Exception) -> str:
    return str(error.args[0] if error.args else error).partition("\n")[0][:200]
