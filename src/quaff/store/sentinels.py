"""Connections to a primary that is asked for each time: sentinels know who it is now."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import redis
import redis.asyncio

from quaff.store.urls import Address, Target


def primary_of(target: Target, tcp: Any, options: dict[str, Any]) -> Any:
    """A class of connections that find the primary themselves when they connect.

    What the sentinels say may be out of date, so the server is asked for its role, too. A connection to a primary that
    was demoted is closed by whoever reads its READONLY; the next one asks again.

    Args:
        tcp: the class of connections to a server whose address is known, one of redis-py.
        options: for connections to sentinels.
    """
    asynchronous = issubclass(tcp, redis.asyncio.Connection)

    class Primary(tcp):  # type: ignore[misc]
        def _connect(self) -> Any:
            self.host, self.port = _primary(target, options)
            return super()._connect()

        def on_connect_check_health(self, check_health: bool = True) -> None:
            super().on_connect_check_health(check_health)
            self.send_command("ROLE", check_health=False)
            _check(self.read_response(), self)

    class AsyncPrimary(tcp):  # type: ignore[misc]
        async def _connect(self) -> None:
            self.host, self.port = await asyncio.to_thread(_primary, target, options)
            await super()._connect()

        async def on_connect_check_health(self, check_health: bool = True) -> None:
            await super().on_connect_check_health(check_health)
            await self.send_command("ROLE", check_health=False)
            _check(await self.read_response(), self)

    return AsyncPrimary if asynchronous else Primary


def _check(role: Any, connection: Any) -> None:
    if role[0] != b"master":
        raise redis.ConnectionError(
            f"{connection.host}:{connection.port} is no primary (any more); the sentinels have not agreed on one yet"
        )


def _primary(target: Target, options: dict[str, Any]) -> Address:
    """Where the first sentinel that answers says the primary is.

    Raises:
        redis.ConnectionError: none of them answers, or knows one.
    """
    troubles: list[str] = []
    # Any of them first: one that was cut off from the others goes on saying what was.
    for sentinel in random.sample(target.hosts, len(target.hosts)):
        seconds = max(0.1, options["socket_connect_timeout"] / len(target.hosts))
        limits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        pool = redis.ConnectionPool.from_url(target.sentinel(sentinel), **options | limits)
        connection: Any = pool.make_connection()
        try:
            connection.connect()
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service)
            found = connection.read_response()
        except (redis.RedisError, OSError) as error:
            troubles.append(f"{sentinel[0]}:{sentinel[1]}: {error}")
            continue
        finally:
            connection.disconnect()
        if found:
            return found[0].decode(), int(found[1])
        troubles.append(f"{sentinel[0]}:{sentinel[1]} knows no service {target.service!r}")
    raise redis.ConnectionError(f"no sentinel has named the primary ({'; '.join(troubles)})")
