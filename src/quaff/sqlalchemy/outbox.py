"""Outbox: jobs as rows of a table, which commit or roll back with the rows that they are about."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.orm import registry

from quaff.app import Quaff
from quaff.detour import Detour, Keeper, taking
from quaff.errors import ConfigurationError
from quaff.job import Job
from quaff.model import ids
from quaff.model.message import Submission
from quaff.model.placement import Placement
from quaff.sqlalchemy import commits


class Outbox:
    """A table of jobs that are to be sent, and what fills it; a ``Relay`` sends them.

    ``with outbox(session): send.delay(order.id)`` adds a row to the session, to commit or roll back with the others. It
    holds the job as it will be stored, with its id, so that sending it twice stores it once.

    Args:
        quaff: whose jobs.
        metadata: where the table is declared, such as ``Base.metadata`` or Flask-SQLAlchemy's ``db.metadata``, so that
            ``create_all`` and migrations see it.
        name: the table's.

    Attributes:
        table: the table.
    """

    def __init__(self, quaff: Quaff, metadata: MetaData, *, name: str = "quaff_outbox") -> None:
        self.quaff = quaff
        self.table: Table = Table(
            name,
            metadata,
            # SQLite counts by itself only what it knows as INTEGER.
            Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
            Column("job", String(180), nullable=False),
            Column("task", String(128), nullable=False),
            Column("key", Text),
            Column("message", LargeBinary, nullable=False),
            Column("route", LargeBinary),
            Column("terms", LargeBinary),
            Column("strict", Boolean, nullable=False),
            Column("written_ms", BigInteger, nullable=False),
            # Why it cannot be sent, for a row that is left for people to look at.
            Column("problem", Text),
            # A relay removes rows by their numbers: one that it has read must not be another one's by then.
            sqlite_autoincrement=True,
        )
        self.row: type[_Row] = type("OutboxRow", (_Row,), {})
        registry(metadata=metadata).map_imperatively(self.row, self.table)
        self._listeners: list[Callable[[], None]] = []

    def __call__(self, session: commits.AnySession) -> AbstractContextManager[None]:
        """What is sent in the block becomes rows, when the session is flushed, at the latest for its commit.

        ``delay``, ``map`` and ``batch`` give their handles at once; until a relay has sent it, a job is JobNotFound.
        With ``unique=`` the job that is kept may be another one than that of the handle.

        Raises:
            TypeError: it is no session of SQLAlchemy.
            ConfigurationError: in the block, a flow, or a job of another Quaff.
        """
        return taking(_Rows(self, commits.of(session)))

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call this whenever a transaction with jobs has committed in this process."""
        self._listeners.append(listener)

    def no_longer(self, listener: Callable[[], None]) -> None:
        """Call that no more."""
        self._listeners.remove(listener)

    def heard(self) -> None:
        """A transaction with jobs has committed."""
        for listener in list(self._listeners):
            listener()


class _Rows(Detour):
    def __init__(self, outbox: Outbox, waiting: commits.AfterCommit) -> None:
        super().__init__(waiting.add)
        self._outbox = outbox
        self._waiting = waiting

    def take(self, keeper: Keeper, submissions: Sequence[Submission]) -> list[Job[Any]]:
        if keeper is not self._outbox.quaff:
            raise ConfigurationError(
                f"{submissions[0].task}: this outbox is of another Quaff. Give each its own: Outbox(quaff, metadata)."
            )
        self._waiting.session.add_all(self._outbox.row(**values_of(each)) for each in submissions)
        self._waiting.add(self._outbox.heard)
        return [job for _, job in keeper.promise(submissions)]

    def plant(self, send: Callable[[], object]) -> None:
        raise ConfigurationError(
            "a flow cannot be put in an outbox: put in a task that sends it, or use enqueue_after_commit(session)."
        )


class _Row:
    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


def values_of(submission: Submission) -> dict[str, Any]:
    """A job as the columns of a row."""
    place = submission.placement
    return {
        "job": str(submission.id),
        "task": submission.task,
        "key": submission.key,
        "message": submission.message,
        "route": place.route if place else None,
        "terms": place.terms if place else None,
        "strict": place.strict if place else False,
        "written_ms": time.time_ns() // 1_000_000,
    }


def job_of(row: Any) -> Submission:
    """The job that a row holds. Raises ValueError for one that was changed by others."""
    id = ids.parse(row.job)
    if id is None:
        raise ValueError(f"{row.job!r} is no id of a job")
    place = None if row.terms is None else Placement(row.route, row.terms, row.strict)
    return Submission(id, row.message, row.task, row.key, place)
