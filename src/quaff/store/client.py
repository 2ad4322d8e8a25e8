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
        """Send calls in one round trip; errors as ``run``."""
        patience = Patience(self.endpoint.where, self.deadline, all(call.harmless for call in calls))
        again = sent = False
        while True:
            try:
                if again:
                    self.endpoint.revive(patience.left)
                    # A connection of the pool may take the whole deadline to connect; one of its own what is left.
                    connection: Any = self.endpoint.connection(patience.left)
                    try:
                        connection.connect()
                        sent = True
                        return decoded(calls, exchange(connection, calls, patience.left))
                    finally:
                        connection.disconnect()
                pool = self.endpoint.pool()
                connection = pool.get_connection()
                try:
                    sent = True
                    replies = exchange(connection, calls, patience.left)
                except BaseException:
                    connection.disconnect()  # nobody else may read the rest of its replies
                    raise
                finally:
                    pool.release(connection)
                return decoded(calls, replies)
            except (*LOST, ResponseError) as error:
                pause = patience.after(error, sent=sent and isinstance(error, LOST))
            except BaseException:
                # A signal handler's exception, or one set in this thread, between any two lines of redis-py as well.
                self.endpoint.abandon_pool()
                raise
            again, sent = True, False
            time.sleep(pause)


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
        """Send calls in one round trip; errors as ``Store.run``."""
        patience = Patience(self.endpoint.where, self.deadline, all(call.harmless for call in calls))
        again = sent = False
        while True:
            try:
                if again:
                    await asyncio.to_thread(self.endpoint.revive, patience.left)
                # redis-py's own timeout of a reply would be answered with None.
                async with asyncio.timeout(patience.left):
                    pool = await self.endpoint.async_pool(patience.left)
                    connection = await pool.get_connection()
                    try:
                        sent = True
                        return await self._exchange(connection, calls)
                    finally:
                        await pool.release(connection)
            except (*LOST, ResponseError) as error:
                pause = patience.after(error, sent=sent and isinstance(error, LOST))
            again, sent = True, False
            await asyncio.sleep(pause)

    async def _exchange(self, connection: Any, calls: Sequence[Call[Any]]) -> list[Any]:
        try:
            await connection.send_packed_command(connection.pack_commands([call.command for call in calls]))
            replies: list[Any] = []
            for _ in calls:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    replies.append(error)
            for index in unknown_scripts(replies):
                await connection.send_command("SCRIPT", "LOAD", calls[index].script.source)
                await connection.read_response()
                await connection.send_packed_command(connection.pack_command(*calls[index].command))
                replies[index] = await connection.read_response()
            return decoded(calls, replies)
        except (ResponseError, *LOST):
            raise
        except BaseException:
            # A cancelled coroutine leaves its reply on the wire; nobody may read it as the answer to another call.
            await connection.disconnect(nowait=True)
            raise


def exchange(connection: Any, calls: Sequence[Call[Any]], timeout: float) -> list[Any]:
    """Send calls on one connection and read their replies; as ``send`` and ``receive``."""
    until = time.monotonic() + timeout
    send(connection, calls)
    return receive(connection, calls, until)


def send(connection: Any, calls: Sequence[Call[Any]]) -> None:
    """Send calls on one connection, whose replies ``receive`` has to read.

    Raises:
        ConnectionError, TimeoutError: of redis-py; the connection is closed then.
    """
    connection.send_packed_command(_packed(connection, [call.command for call in calls]))


def receive(connection: Any, calls: Sequence[Call[Any]], until: float) -> list[Any]:
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

    replies: list[Any] = []
    for _ in calls:
        try:
            replies.append(read())
        except ResponseError as error:
            replies.append(error)
    for index in unknown_scripts(replies):
        connection.send_command("SCRIPT", "LOAD", calls[index].script.source)
        read()
        connection.send_packed_command(connection.pack_command(*calls[index].command))
        try:
            replies[index] = read()
        except ResponseError as error:
            replies[index] = error
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


def decoded(calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    """Each answer as its call reads it. Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return [call.decode(reply) for call, reply in zip(calls, replies, strict=True)]
