"""The two senders. A ``Call`` is a value; sending it, and sending it again, is all that happens here.

Every script may be sent twice without harm (same id, same claim, same token), so a lost reply is answered by sending
the same bytes again until the deadline.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import ResponseError

from quaff.errors import ConfigurationError, QuaffError
from quaff.store.connect import Endpoint
from quaff.store.errands import Errand, Errands
from quaff.store.faults import LOST, Patience
from quaff.store.listener import Listener
from quaff.store.transitions import Call
from quaff.store.wire import amake_sure, exchange, make_sure, receive, send

T = TypeVar("T")

#: Calls of which each may follow from the answer to the one before.
Steps: TypeAlias = "Generator[Call[Any], Any, T]"


class Store:
    """Sends calls from any thread; ``aio`` does the same from a coroutine.

    Args:
        endpoint: where to.
        deadline: seconds for one ``run`` or ``run_many``, all tries together.
    """

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self.aio: AsyncStore = AsyncStore(endpoint, deadline)
        self._listeners: dict[int, Listener] = {}

    @property
    def listener(self) -> Listener:
        """What hears, in this process, that jobs have ended."""
        # By process: the threads of a parent are not in its child. setdefault lets one of several threads win.
        pid = os.getpid()
        return self._listeners.get(pid) or self._listeners.setdefault(pid, Listener(self.endpoint))

    def run(self, call: Call[T]) -> T:
        """Send one call. Raises ServerUnavailable, NoAnswer, QueueFull or StoreError."""
        result: T = self.run_many((call,))[0]
        return result

    def go(self, steps: Steps[T]) -> T:
        """Take steps of which each may follow from the answer to the one before.

        Each has the whole deadline: what gets on, however slowly, comes to its end. Errors as ``run``, raised in the
        step that was taken, and those of the steps.
        """
        go_on: Callable[[Any], Call[Any]] = steps.send
        answer: Any = None
        while True:
            try:
                call = go_on(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                go_on, answer = steps.send, self.run(call)
            except QuaffError as error:
                go_on, answer = steps.throw, error

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip to each node; errors as ``run``."""
        patience = Patience(self.endpoint.where, self.deadline)
        errands = Errands(calls, self.endpoint.slots)
        again = False
        while True:
            try:
                self._try(errands, patience, again)
            except BaseException:
                # A signal handler's exception, or one set in this thread, between any two lines of redis-py as well.
                self.endpoint.abandon_pool()
                raise
            if not errands.troubles:
                return errands.all_answers()
            time.sleep(patience.after(errands.troubles, harmless=errands.harmless))
            again = True

    def _try(self, errands: Errands, patience: Patience, again: bool) -> None:
        """Send what is not answered to all nodes, then read what each has to say."""
        open_: list[tuple[Errand, Any, Any]] = []
        try:
            if again or self.endpoint.doubtful:
                self.endpoint.revive(patience.left)
            for errand in errands.next_try():
                sent = False
                try:
                    # A connection of the pool may take the whole deadline to connect; one of its own what is left.
                    pool = None if again else self.endpoint.pool(errand.node)
                    connection = pool.get_connection() if pool else self.endpoint.connection(patience.left, errand.node)
                    open_.append((errand, connection, pool))
                    if pool is None:
                        connection.connect()
                    make_sure(connection, errand, self.endpoint.where, patience)
                    sent = True
                    send(connection, errand, patience.left)
                except (*LOST, ResponseError, ConfigurationError) as error:
                    errands.fail(errand, error, sent=sent)
            for errand, connection, _ in open_:
                if connection._sock is None:
                    continue  # it could not be sent
                try:
                    if not errands.take(errand, receive(connection, errand, patience.until)):
                        connection.disconnect()
                except (*LOST, ResponseError) as error:
                    connection.disconnect()
                    errands.fail(errand, error, sent=True)
        except LOST as error:
            errands.fail_all(error)
        except BaseException:
            for _, connection, _ in open_:
                connection.disconnect()  # nobody else may read the rest of its replies
            raise
        finally:
            for _, connection, pool in open_:
                if pool is None:
                    connection.disconnect()
                else:
                    pool.release(connection)


class AsyncStore:
    """As ``Store``, for coroutines."""

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self.endpoint = endpoint
        self.deadline = deadline

    async def run(self, call: Call[T]) -> T:
        """Send one call; errors as ``Store.run``."""
        result: T = (await self.run_many((call,)))[0]
        return result

    async def go(self, steps: Steps[T]) -> T:
        """As ``Store.go``."""
        go_on: Callable[[Any], Call[Any]] = steps.send
        answer: Any = None
        while True:
            try:
                call = go_on(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                go_on, answer = steps.send, await self.run(call)
            except QuaffError as error:
                go_on, answer = steps.throw, error

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip to each node; errors as ``Store.run``."""
        patience = Patience(self.endpoint.where, self.deadline)
        errands = Errands(calls, self.endpoint.slots)
        again = False
        while True:
            try:
                if again or self.endpoint.doubtful:
                    await asyncio.to_thread(self.endpoint.revive, patience.left)
                several = errands.next_try()
                if len(several) == 1:
                    await self._try(several[0], errands, patience)
                else:
                    await asyncio.gather(*(self._try(errand, errands, patience) for errand in several))
            except LOST as error:
                errands.fail_all(error)
            if not errands.troubles:
                return errands.all_answers()
            await asyncio.sleep(patience.after(errands.troubles, harmless=errands.harmless))
            again = True

    async def _try(self, errand: Errand, errands: Errands, patience: Patience) -> None:
        sent = False
        try:
            # redis-py's own timeout of a reply would be answered with None.
            async with asyncio.timeout(patience.left):
                pool = await self.endpoint.async_pool(patience.left, errand.node)
                connection = await pool.get_connection()
                try:
                    await amake_sure(connection, errand, self.endpoint.where)
                    sent = True
                    if not errands.take(errand, await exchange(connection, errand, patience)):
                        await connection.disconnect()
                finally:
                    await pool.release(connection)
        except (*LOST, ResponseError, ConfigurationError) as error:
            errands.fail(errand, error, sent=sent)
