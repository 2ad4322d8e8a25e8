"""A URL becomes connections: server, socket or embedded. Nothing here decides when to try again."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from quaff.errors import ConfigurationError
from quaff.store import embedded

_SCHEMES = ("redis", "rediss", "unix")


class Endpoint:
    """The server of an application.

    Args:
        url: ``embedded:…``, ``redis://``, ``rediss://`` or ``unix://``.
        source: where the URL comes from, for error texts.
        timeout: seconds for connecting and for each reply.

    Raises:
        ConfigurationError: a URL of another form.
    """

    def __init__(self, url: str, source: str, timeout: float) -> None:
        scheme = url.partition(":")[0]
        if scheme != "embedded" and scheme not in _SCHEMES:
            raise ConfigurationError(
                f"{mask(url)!r} (from {source}) is not a URL of a server. "
                "Use embedded:, redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket."
            )
        self._url = url
        self._timeout = timeout
        self._directory = embedded.directory(url) if scheme == "embedded" else None
        self.where = f"{mask(url)} (from {source})"
        self._lock = threading.Lock()
        self._pool: redis.ConnectionPool | None = None
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.ConnectionPool]
        self._pools = weakref.WeakKeyDictionary()

    def revive(self, seconds: float) -> None:
        """See to it that an embedded server runs; costs nothing for any other.

        Raises:
            ServerUnavailable: it does not start, or not in that time.
        """
        if self._directory is not None:
            embedded.ensure(self._directory, timeout=seconds)

    def pool(self) -> redis.ConnectionPool:
        """This process's pool."""
        with self._lock:
            pool = self._pool = self._pool or self._make(redis.ConnectionPool)
            return pool

    def async_pool(self) -> Any:
        """The running event loop's pool: a connection belongs to the loop that opened it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            pool = self._pools.get(loop)
            if pool is None:
                pool = self._pools[loop] = self._make(redis.asyncio.ConnectionPool)
            return pool

    def connection(self) -> Any:
        """A connection of one's own, outside the pool, not yet connected."""
        return self.pool().make_connection()

    def _make(self, kind: Any) -> Any:
        # redis-py would send a script again up to ten times by itself; only the senders here know which may be.
        asynchronous = kind is redis.asyncio.ConnectionPool
        options: dict[str, Any] = {
            "protocol": 2,
            "retry": AsyncRetry(NoBackoff(), 0) if asynchronous else Retry(NoBackoff(), 0),
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "driver_info": None,
        }
        if self._directory is not None:
            unix = redis.asyncio.UnixDomainSocketConnection if asynchronous else redis.UnixDomainSocketConnection
            return kind(connection_class=unix, path=embedded.ensure(self._directory, timeout=self._timeout), **options)
        try:
            return kind.from_url(self._url, **options)
        except ValueError as error:
            raise ConfigurationError(f"{self.where} is not a URL of a server: {error}") from None


def mask(url: str) -> str:
    """The URL without its password, fit for logs and errors."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))
