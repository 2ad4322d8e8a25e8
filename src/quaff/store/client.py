"""The two senders. A ``Call`` is a value; sending it, and sending it again, is all that happens here.

Every script may be sent twice without harm (same id, same claim, same token), so a lost reply is answered by sending
the same bytes again until the deadline.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from quaff.store.connect import Endpoint
from quaff.store.errands import Errand, Errands
from quaff.store.faults import LOST, Patience
from quaff.store.listener import Listener
from quaff.store.transitions import Call

_pack: Callable[[Any], bytes] | None = None
with suppress(ImportError):  # the extra `speed`
    from hiredis import pack_command as _pack

T = TypeVar("T")


class Store:
    """Sends calls from any thread; ``aio`` does the same from a coroutine.

    Args:
        endpoint: where to.
        deadline: seconds for one ``run`` or ``run_many``, all tries together.
    """

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self.aio = AsyncStore(endpoint, deadline)
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

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip to each node; errors as ``run``."""
        patience = Patience(self.endpoint.where, self.deadline, all(call.harmless for call in calls))
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
                return errands.answers()
            time.sleep(patience.after(errands.troubles))
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
                    sent = True
                    send(connection, errand)
                except (*LOST, ResponseError) as error:
                    errands.fail(errand, error, sent=sent)
            until = time.monotonic() + patience.left
            for errand, connection, _ in open_:
                if connection._sock is None:
                    continue  # it could not be sent
                try:
                    if not errands.take(errand, receive(connection, errand, until)):
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

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip to each node; errors as ``Store.run``."""
        patience = Patience(self.endpoint.where, self.deadline, all(call.harmless for call in calls))
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
                return errands.answers()
            await asyncio.sleep(patience.after(errands.troubles))
            again = True

    async def _try(self, errand: Errand, errands: Errands, patience: Patience) -> None:
        sent = False
        try:
            # redis-py's own timeout of a reply would be answered with None.
            async with asyncio.timeout(patience.left):
                pool = await self.endpoint.async_pool(patience.left, errand.node)
                connection = await pool.get_connection()
                try:
                    sent = True
                    if not errands.take(errand, await self._exchange(connection, errand)):
                        await connection.disconnect()
                finally:
                    await pool.release(connection)
        except (*LOST, ResponseError) as error:
            errands.fail(errand, error, sent=sent)

    async def _exchange(self, connection: Any, errand: Errand) -> list[Any]:
        async def read() -> Any:
            try:
                return await connection.read_response()
            except ResponseError as error:
                return error

        async def answer() -> Any:
            # Also where asking is refused, the reply to the call itself comes after it.
            asked = await read() if errand.asking else None
            reply = await read()
            return asked if isinstance(asked, ResponseError) else reply

        try:
            await connection.send_packed_command(connection.pack_commands(commands(errand)))
            replies = [await answer() for _ in errand.calls]
            for index in unknown_scripts(replies):
                await connection.send_command("SCRIPT", "LOAD", errand.calls[index].script.source)
                await connection.read_response()
                one = errand._replace(calls=[errand.calls[index]])
                await connection.send_packed_command(connection.pack_commands(commands(one)))
                replies[index] = await answer()
            return replies
        except (ResponseError, *LOST):
            raise
        except BaseException:
            # A cancelled coroutine leaves its reply on the wire; nobody may read it as the answer to another call.
            await connection.disconnect(nowait=True)
            raise


def commands(errand: Errand) -> list[tuple[Any, ...]]:
    """What an errand sends: a command for each call, and one before it where its slot is on its way."""
    if errand.asking:
        return [command for call in errand.calls for command in ((b"ASKING",), call.command)]
    return [call.command for call in errand.calls]


def send(connection: Any, errand: Errand) -> None:
    """Send calls on one connection, whose replies ``receive`` has to read.

    Raises:
        ConnectionError, TimeoutError: of redis-py; the connection is closed then.
    """
    connection.send_packed_command(_packed(connection, commands(errand)))


def receive(connection: Any, errand: Errand, until: float) -> list[Any]:
    """Read the replies of these calls, loading a script that the server has forgotten.

    Args:
        until: monotonic seconds; by then all of them have to be there.

    Returns:
        A reply for each call as the server gave it; in the place of an error reply stands its ResponseError.

    Raises:
        ConnectionError, TimeoutError: of redis-py; the connection is closed then.
        ResponseError: the script could not be loaded.
    """

    usual = connection.socket_timeout

    def read() -> Any:
        left = until - time.monotonic()
        # Its own limit costs nothing, another one two system calls.
        return connection.read_response(**{} if left > usual * 0.99 else {"timeout": max(0.001, left)})

    def answer() -> Any:
        if errand.asking:
            read()
        try:
            return read()
        except ResponseError as error:
            return error

    replies = [answer() for _ in errand.calls]
    for index in unknown_scripts(replies):
        connection.send_command("SCRIPT", "LOAD", errand.calls[index].script.source)
        read()
        send(connection, errand._replace(calls=[errand.calls[index]]))
        replies[index] = answer()
    return replies


def _packed(connection: Any, commands: Sequence[tuple[Any, ...]]) -> Sequence[bytes]:
    """In pieces to send. redis-py looks at each argument once more: a twentieth of what a tiny job costs."""
    if _pack is None:
        pieces: Sequence[bytes] = connection.pack_commands(commands)
        return pieces
    return (b"".join(map(_pack, commands)),)


def unknown_scripts(replies: Sequence[Any]) -> list[int]:
    """Which calls the server answered with NOSCRIPT (restart, failover and SCRIPT FLUSH all make it forget)."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
