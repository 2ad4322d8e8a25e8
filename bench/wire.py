"""Many connections in one event loop, at the least cost for each: commands out, replies in, in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

from hiredis import HiredisError, Reader, pack_command

from quaff.store.transitions import Call


class Wire(asyncio.Protocol):
    """One connection. Replies that are errors are raised where they were asked for."""

    def __init__(self) -> None:
        self._reader = Reader(replyError=RuntimeError)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def to(cls, port: int) -> Wire:
        """Connect to a server on loopback."""
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return wire

    def ask(self, *words: Any) -> asyncio.Future[Any]:
        """Send a command; its reply."""
        assert self._transport is not None
        self._transport.write(pack_command(words))
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(reply)
        return reply

    async def run(self, call: Call[Any]) -> Any:
        """Send a script's call; its answer."""
        return call.decode(await self.ask(*call.command))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of the protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of the protocol."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            future = self._waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, (RuntimeError, HiredisError)):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of the protocol."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(ConnectionError("the server has hung up"))
