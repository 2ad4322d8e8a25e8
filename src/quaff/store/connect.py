"""A URL becomes connections. Nothing here decides when to try again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from quaff.errors import ConfigurationError
from quaff.store import embedded, urls
from quaff.store.pool import Pool
from quaff.store.sentinels import primary_of

#: Connections of an event loop, which may have any number of callers: each takes one for a round trip. Threads have at
#: most one each, so their pool need not wait.
_MOST = 16


class Endpoint:
    """The server of an application.

    Args:
        url: see ``urls.read``.
        source: where the URL comes from, for error texts.
        timeout: seconds for connecting and for each reply.

    Raises:
        ConfigurationError: a URL of another form.
    """

    def __init__(self, url: str, source: str, timeout: float) -> None:
        self._target = urls.read(url, source)
        self._timeout = timeout
        self._directory = embedded.directory(url) if self._target.kind == "embedded" else None
        self.where = f"{urls.mask(url)} (from {source})"
        # By event loop, None for threads. Without a lock, which would be held while a server starts: a process that is
        # forked at that moment would never get it. Two threads may make a pool each; setdefault lets one of them win.
        self._pools: dict[asyncio.AbstractEventLoop | None, Any] = {}

    def revive(self, seconds: float) -> str | None:
        """See to it that an embedded server runs, and give its socket; None, at no cost, for any other.

        Raises:
            ServerUnavailable: it does not start, or not in that time.
        """
        return None if self._directory is None else embedded.ensure(self._directory, timeout=seconds)

    def pool(self) -> Pool:
        """This process's pool."""
        pool: Pool | None = self._pools.get(None)
        return pool or self._keep(None, Pool, self.revive(self._timeout))

    def abandon_pool(self) -> None:
        """Close what is open; the next call has a new pool. Also right for one that was interrupted in any state."""
        pool: Any = self._pools.pop(None, None)
        if pool is not None:
            pool.disconnect(inuse_connections=False)  # those in use are closed when the threads they serve let go

    async def async_pool(self, seconds: float) -> Any:
        """The running event loop's pool: a connection belongs to the loop that opened it.

        Args:
            seconds: for an embedded server to start, at the loop's first call; other coroutines go on meanwhile.
        """
        loop = asyncio.get_running_loop()
        self.tidy()
        if loop not in self._pools and self._directory is not None:
            path = await asyncio.to_thread(self.revive, seconds)
            return self._keep(loop, redis.asyncio.BlockingConnectionPool, path)
        return self._pools.get(loop) or self._keep(loop, redis.asyncio.BlockingConnectionPool, None)

    def _keep(self, loop: asyncio.AbstractEventLoop | None, kind: Any, path: str | None) -> Any:
        return self._pools.setdefault(loop, self._make(kind, path))

    def tidy(self) -> None:
        """Close the connections of event loops that are closed: a pool holds its loop, so nothing else would."""
        for loop in [loop for loop in list(self._pools) if loop is not None and loop.is_closed()]:
            pool = self._pools.pop(loop, None)
            for connection in () if pool is None else (*pool._available_connections, *pool._in_use_connections):
                _abandon(connection)

    def connection(self, seconds: float | None = None) -> Any:
        """A connection of one's own, outside the pool, not yet connected; ``seconds`` instead of the endpoint's."""
        pool = self.pool()
        limits: dict[str, Any] = (
            {} if seconds is None else {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        )
        return pool.connection_class(**pool.connection_kwargs | limits)

    def _make(self, kind: Any, path: str | None) -> Any:
        # redis-py would send a script again up to ten times by itself; only the senders here know which may be.
        asynchronous = kind is redis.asyncio.BlockingConnectionPool
        options: dict[str, Any] = {
            "protocol": 2,
            "retry": AsyncRetry(NoBackoff(), 0) if asynchronous else Retry(NoBackoff(), 0),
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "driver_info": None,
        }
        if asynchronous:
            options |= {"max_connections": _MOST, "timeout": self._timeout}
        if path is not None:
            unix = redis.asyncio.UnixDomainSocketConnection if asynchronous else redis.UnixDomainSocketConnection
            return kind(connection_class=unix, path=path, **options)
        target = self._target
        if target.kind == "sentinel":
            pool = kind.from_url(target.at(target.hosts[0]), **options)
            sentinels = {name: options[name] for name in ("protocol", "socket_connect_timeout", "driver_info")}
            sentinels["retry"] = Retry(NoBackoff(), 0)
            pool.connection_class = primary_of(target, pool.connection_class, sentinels)
            return pool
        try:
            return kind.from_url(target.url, **options)
        except ValueError as error:
            # What it could not read may be a part of the password.
            why = error if self.where.startswith(target.url) else "escape / as %2F, ? as %3F, # as %23 and @ as %40"
            raise ConfigurationError(f"{self.where} is not a URL of a server: {why}") from None


def _abandon(connection: Any) -> None:
    """Close a connection whose event loop is closed, where nothing can be awaited and no callback will ever run."""
    writer, connection._reader, connection._writer = connection._writer, None, None
    if writer is None:
        return
    transport = writer.transport
    with suppress(RuntimeError):  # "Event loop is closed", said to the transport when it wants its socket closed later
        transport.abort()
    transport = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
    close = getattr(transport, "_call_connection_lost", None)  # what it wanted called; uvloop has closed the socket
    if close is not None and getattr(transport, "_sock", None) is not None:
        with suppress(RuntimeError):
            close(None)
