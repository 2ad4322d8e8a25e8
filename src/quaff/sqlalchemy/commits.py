"""What is done when a session has committed, and not when it has rolled back, be it to a savepoint."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from quaff.detour import Detour, taking

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

AnySession: TypeAlias = "Session | scoped_session[Any] | AsyncSession | async_scoped_session[Any]"

#: Where a session has what waits for its commit.
_INFO = "quaff.after_commit"


def enqueue_after_commit(session: AnySession) -> AbstractContextManager[None]:
    """What is sent in the block waits for the commit: ``with enqueue_after_commit(session): send.delay(order.id)``.

    ``delay``, ``map``, ``batch`` and flows, of any Quaff, give their handles at once. The session's transaction that is
    there in the block decides: its commit sends them, in the order of the calls; its rollback, or that of a savepoint
    that was open, drops them, and so does a session that is closed. A process that dies between the commit and the
    sending loses them; an ``Outbox`` does not.

    ``session.commit()`` raises what sending raises (ServerUnavailable, QueueFull); the commit stands.

    Args:
        session: of SQLAlchemy or Flask-SQLAlchemy, or an AsyncSession, whose event loop goes on meanwhile.

    Raises:
        TypeError: it is none.
    """
    waiting = of(session)
    return taking(Detour(waiting.add))


def of(session: AnySession) -> AfterCommit:
    """What waits for the commit of a session. Raises TypeError."""
    found: Any = session
    # It cannot be imported where greenlet is not installed; whoever has such a session has imported it.
    others: Any = sys.modules.get("sqlalchemy.ext.asyncio")
    if isinstance(found, scoped_session) or (others and isinstance(found, others.async_scoped_session)):
        found = found()
    asynchronous = bool(others) and isinstance(found, others.AsyncSession)
    if asynchronous:
        found = found.sync_session
    if not isinstance(found, Session):
        raise TypeError(f"{session!r} is no session of SQLAlchemy")
    waiting = found.info.get(_INFO)
    if waiting is None:
        waiting = found.info[_INFO] = AfterCommit(found, asynchronous=asynchronous)
    assert isinstance(waiting, AfterCommit)
    return waiting


class AfterCommit:
    """What waits for the commit of one session.

    Args:
        session: whose.
        asynchronous: it is that of an AsyncSession, in whose event loop nothing may block.
    """

    def __init__(self, session: Session, *, asynchronous: bool) -> None:
        self.session = session
        self._asynchronous = asynchronous
        self._actions: list[tuple[SessionTransaction, Callable[[], object]]] = []
        self._committed = False
        event.listen(session, "after_commit", self._note)
        event.listen(session, "after_soft_rollback", self._drop)
        event.listen(session, "after_transaction_end", self._end)

    def add(self, action: Callable[[], object]) -> None:
        """One thing to do, if the transaction that is there now commits; one is begun if none is."""
        inner = self.session.get_nested_transaction() or self.session.get_transaction() or self.session.begin()
        self._actions.append((inner, action))

    def _note(self, session: Session) -> None:
        # It is also told of a savepoint that is released, which has committed nothing yet.
        self._committed = session.get_nested_transaction() is None

    def _drop(self, session: Session, previous: SessionTransaction) -> None:
        self._actions = [each for each in self._actions if not _within(each[0], previous)]

    def _end(self, session: Session, transaction: SessionTransaction) -> None:
        # Only now: an error in after_commit would leave the session half closed.
        if transaction.parent is not None:
            return
        actions, committed = self._actions, self._committed
        self._actions, self._committed = [], False
        if not committed:
            return
        for _, action in actions:
            if self._asynchronous:
                from sqlalchemy.util import await_only

                await_only(asyncio.to_thread(action))
            else:
                action()


def _within(transaction: SessionTransaction | None, other: SessionTransaction) -> bool:
    while transaction is not None and transaction is not other:
        transaction = transaction.parent
    return transaction is not None
