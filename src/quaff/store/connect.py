"""A URL becomes connections. Nothing here decides when to try again."""

from __future__ import annotations

import asyncio
import re
import time
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
from quaff.store.slots import Slots
from quaff.store.urls import Address

#: Connections of an event loop, which may have any number of callers: each takes one for a round trip. Threads have at
#: most one each, so their pool need not wait.
_MOST = 16

#: How Python tells of an option in a URL that a connection does not have.
_UNKNOWN = re.compile(r"unexpected keyword argument ('\w+')")


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
        self.where: str = f"{urls.mask(url)} (from {source})"
        #: Who serves what, if that is for a cluster to say.
        self.slots: Slots | None = Slots(self._target.hosts) if self._target.kind == "cluster" else None
        # By event loop (None for threads) and node (None for the one server). Without a lock, which would be held while
        # a server starts: a process that is forked at that moment would never get it. Two threads may make a pool each;
        # setdefault lets one of them win.
        self._pools: dict[tuple[asyncio.AbstractEventLoop | None, Address | None], Any] = {}

    @property
    def kind(self) -> str:
        """``embedded``, ``server``, ``sentinel`` or ``cluster``."""
        return self._target.kind

    @property
    def doubtful(self) -> bool:
        """Whether it has to be asked who serves what."""
        return self.slots is not None and self.slots.doubtful

    def revive(self, seconds: float) -> str | None:
        """See to it that an embedded server runs, and give its socket; ask a cluster again who serves what.

        Does nothing for any other server.

        Raises:
            ServerUnavailable: it does not start, or not in that time.
            redis.ConnectionError: no node of the cluster answers.
            ConfigurationError: the server is no cluster.
        """
        if self.slots is not None and self.slots.doubtful:
            self._look_around(self.slots, seconds)
        return self._socket(seconds)

    def _look_around(self, slots: Slots, seconds: float) -> None:
        nodes = slots.nodes()
        until, why = time.monotonic() + seconds, "no time"
        for nth, node in enumerate(nodes):
            # Those that are gone without a word may take no more than their share of the time.
            connection = self.connection(max(0.05, (until - time.monotonic()) / (len(nodes) - nth)), node)
            try:
                connection.connect()
                connection.send_command("CLUSTER", "SLOTS")
                slots.learn(connection.read_response(), node)
                self._forget_all_but(slots.nodes())
                return
            except redis.ResponseError as error:
                if "cluster support disabled" in str(error):
                    raise ConfigurationError(f"{self.where} is not a cluster: use redis:// or rediss://") from None
                why = str(error)
            except (redis.RedisError, OSError) as error:
                why = str(error)
            finally:
                connection.disconnect()
        raise redis.ConnectionError(f"none of {len(nodes)} nodes says who serves what: {why}")

    def _forget_all_but(self, nodes: list[Address]) -> None:
        """Close what is open to nodes that have left the cluster; an event loop's is closed with the loop."""
        for key in [key for key in list(self._pools) if key[0] is None and key[1] not in nodes]:
            pool = self._pools.pop(key, None)
            if pool is not None:
                pool.disconnect(inuse_connections=False)

    def pool(self, node: Address | None = None) -> Pool:
        """This process's pool; of a cluster that for a node, or for any of them."""
        node = self._some(node)
        pool: Pool | None = self._pools.get((None, node))
        return pool or self._keep(None, node, Pool, self._socket(self._timeout))

    def abandon_pool(self) -> None:
        """Close what is open; the next call has a new pool. Also right for one that was interrupted in any state."""
        for key in [key for key in list(self._pools) if key[0] is None]:
            pool: Any = self._pools.pop(key, None)
            if pool is not None:
                pool.disconnect(inuse_connections=False)  # those in use are closed when the threads they serve let go

    async def async_pool(self, seconds: float, node: Address | None = None) -> Any:
        """The running event loop's pool: a connection belongs to the loop that opened it.

        Args:
            seconds: for an embedded server to start, at the loop's first call; other coroutines go on meanwhile.
            node: of a cluster.
        """
        loop = asyncio.get_running_loop()
        self.tidy()
        node = self._some(node)
        if (loop, node) not in self._pools and self._directory is not None:
            path = await asyncio.to_thread(self._socket, seconds)
            return self._keep(loop, node, redis.asyncio.BlockingConnectionPool, path)
        return self._pools.get((loop, node)) or self._keep(loop, node, redis.asyncio.BlockingConnectionPool, None)

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the next call opens others."""
        loop = asyncio.get_running_loop()
        for key in [key for key in list(self._pools) if key[0] is loop]:
            pool = self._pools.pop(key, None)
            if pool is not None:
                await pool.disconnect()

    def _socket(self, seconds: float) -> str | None:
        return None if self._directory is None else embedded.ensure(self._directory, timeout=seconds)

    def _some(self, node: Address | None) -> Address | None:
        return self.slots.nodes()[0] if node is None and self.slots is not None else node

    def _keep(self, loop: asyncio.AbstractEventLoop | None, node: Address | None, kind: Any, path: str | None) -> Any:
        return self._pools.setdefault((loop, node), self._make(kind, node, path))

    def tidy(self) -> None:
        """Close the connections of event loops that are closed: a pool holds its loop, so nothing else would."""
        for key in [key for key in list(self._pools) if key[0] is not None and key[0].is_closed()]:
            pool = self._pools.pop(key, None)
            for connection in () if pool is None else (*pool._available_connections, *pool._in_use_connections):
                _abandon(connection)

    def close(self) -> None:
        """Close all that is open, and of an event loop that goes on as soon as it turns; for a test that is over."""
        self.abandon_pool()
        self.tidy()
        for loop, node in list(self._pools):
            pool = self._pools.pop((loop, node), None)
            for connection in () if pool is None else (*pool._available_connections, *pool._in_use_connections):
                writer, connection._reader, connection._writer = connection._writer, None, None
                if writer is not None and loop is not None and loop is not _here() and loop.is_running():
                    loop.call_soon_threadsafe(writer.transport.abort)
                elif writer is not None:
                    writer.transport.abort()

    def connection(self, seconds: float | None = None, node: Address | None = None) -> Any:
        """A connection of one's own, outside the pool, not yet connected; ``seconds`` instead of the endpoint's."""
        pool = self.pool(node)
        limits: dict[str, Any] = (
            {} if seconds is None else {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        )
        return pool.connection_class(**pool.connection_kwargs | limits)

    def _make(self, kind: Any, node: Address | None, path: str | None) -> Any:
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
        else:
            options["max_connections"] = (
                2**31
            )  # redis-py 8 has 100: another thread's call would be put off and tried anew
        if path is not None:
            unix = redis.asyncio.UnixDomainSocketConnection if asynchronous else redis.UnixDomainSocketConnection
            return kind(connection_class=unix, path=path, **options)
        target = self._target
        url = target.at(node or target.hosts[0]) if target.hosts else target.url
        try:
            pool = kind.from_url(url, **options)
            pool.connection_kwargs["decode_responses"] = False  # whatever the URL says
            pool.connection_class(**pool.connection_kwargs)  # it looks at what the query asks for only then
            if target.kind == "sentinel":
                sentinels = {name: options[name] for name in ("protocol", "socket_connect_timeout", "driver_info")}
                sentinels["retry"] = Retry(NoBackoff(), 0)
                redis.ConnectionPool.from_url(target.sentinel(target.hosts[0]), **sentinels).make_connection()
                pool.connection_class = primary_of(target, pool.connection_class, sentinels)
        except ValueError as error:
            # What it could not read may be a part of the password.
            shown = target.hosts or self.where.startswith(target.url)
            why = str(error) if shown else "escape / as %2F, ? as %3F, # as %23 and @ as %40"
            raise ConfigurationError(f"{self.where} is not a URL of a server: {why}") from None
        except (TypeError, redis.RedisError) as error:
            unknown = _UNKNOWN.search(str(error))
            why = f"there is no option {unknown[1]} (or none without TLS)" if unknown else str(error)
            raise ConfigurationError(f"{self.where} is not a URL of a server: {why}") from None
        return pool


def _here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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
