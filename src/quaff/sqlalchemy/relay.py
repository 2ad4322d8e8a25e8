"""Relay: sends what is in an outbox, and removes it when it is stored."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from quaff.errors import EnqueueError, EnqueueUnknown, QueueFull, ServerUnavailable, StoreError
from quaff.sqlalchemy.outbox import Outbox, job_of

log: logging.Logger = logging.getLogger("quaff.outbox")

#: Rows that are locked, sent and removed at a time.
_SOME = 200
#: What may be otherwise the next time.
_LATER = (ServerUnavailable, EnqueueUnknown, QueueFull, StoreError)


class Relay:
    """Sends what transactions have left in an outbox. Any number may run at a time; one is enough.

    A row is removed when the server has its job. If a relay dies in between, its rows are sent once more, by their ids:
    the server knows those while the job lives and KEY_WINDOW (an hour) after its end.

    Args:
        outbox: whose rows.
        engine: of the database (not an async one).
        every: seconds after which ``run`` looks again, when nothing in this process has told it to; also the pause
            after an error.
    """

    def __init__(self, outbox: Outbox, engine: Engine, *, every: float = 1.0) -> None:
        self._outbox = outbox
        self._engine = engine
        self._every = every
        self._bell = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self) -> int:
        """Send all that is there now.

        Returns:
            How many rows are settled by it; those that another relay has at hand are not.

        Raises:
            ServerUnavailable, EnqueueUnknown, QueueFull: what is not sent stays.
            sqlalchemy.exc.SQLAlchemyError: the database's.
        """
        settled = 0
        while count := self._send_some():
            settled += count
        return settled

    def run(self) -> None:
        """Send what comes until ``stop``; what goes wrong is logged and tried again."""
        self._outbox.on_commit(self._bell.set)
        try:
            while True:
                self._bell.clear()
                if self._stopped.is_set():  # in this order: `stop` may ring just before
                    return
                try:
                    self.send()
                    self._bell.wait(self._every)
                except (EnqueueError, StoreError, SQLAlchemyError) as error:
                    log.warning("the outbox waits: %s: %s", type(error).__name__, str(error).partition("\n")[0])
                    self._stopped.wait(self._every)
        finally:
            self._outbox.no_longer(self._bell.set)

    def start(self) -> Relay:
        """``run`` in a thread of its own, which ends with the process; in each process of a web server, if you like."""
        self._thread = threading.Thread(target=self.run, name="quaff-outbox", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End ``run`` when what it has at hand is sent, and wait for the thread of ``start``."""
        self._stopped.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join()

    def _send_some(self) -> int:
        table = self._outbox.table
        some = (
            select(table)
            .where(table.c.problem.is_(None))
            .order_by(table.c.id)
            .limit(_SOME)
            .with_for_update(skip_locked=True)  # which SQLite has no word for: there a row may be sent twice, by its id
        )
        with self._engine.begin() as connection:
            rows = connection.execute(some).all()
            if rows:
                self._settle(connection, rows)
        return len(rows)

    def _settle(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Send them together; if something is wrong with one of them, one by one, so that it keeps back no other."""
        table, sent, problems = self._outbox.table, list[int](), dict[int, str]()
        try:
            self._deliver(rows)
            sent = [row.id for row in rows]
        except _LATER:
            raise
        except (EnqueueError, ValueError):
            for row in rows:
                try:
                    self._deliver([row])
                    sent.append(row.id)
                except _LATER:
                    break  # what was sent is removed; the next look meets the error again
                except (EnqueueError, ValueError) as error:
                    problems[row.id] = f"{type(error).__name__}: {error}"
                    log.error("job %s of %s cannot be sent, and stays in %s: %s", row.job, row.task, table.name, error)
        connection.execute(delete(table).where(table.c.id.in_(sent)))
        for id, problem in problems.items():
            connection.execute(update(table).where(table.c.id == id).values(problem=problem))

    def _deliver(self, rows: Sequence[Any]) -> None:
        """Raises IdConflict, DuplicateJob, ValueError: for one of them, which never gets in; _LATER."""
        self._outbox.quaff.keep(self._outbox.quaff.promise([job_of(row) for row in rows]))
