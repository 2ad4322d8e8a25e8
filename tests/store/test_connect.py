"""From a URL to connections: one pool for each event loop that lives, and no password in any text."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from quaff.errors import ConfigurationError
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.store.queries import lookup
from quaff.store.urls import mask
from tests.store.wire import Own

FDS = Path("/proc/self/fd")

# Event loops


def by_run(main: Callable[[], Any]) -> None:
    """A loop for one coroutine, as most programs make it."""
    asyncio.run(main())


def by_hand(main: Callable[[], Any]) -> None:
    """A loop that is only closed, as older programs do: nothing that it could have told anybody is said."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def sockets() -> int:
    """How many sockets this process has open."""
    return sum(os.readlink(each).startswith("socket:") for each in FDS.iterdir() if each.is_symlink())


@pytest.mark.skipif(not FDS.exists(), reason="counts sockets as Linux shows them")
@pytest.mark.parametrize("run", [by_run, by_hand])
def test_a_closed_event_loop_leaves_no_connection_behind(
    run: Callable[[Callable[[], Any]], None], server_url: str, namespace: str
) -> None:
    """However many loops a program opens, one after another: one connection, and no ResourceWarning (an error here)."""
    store = Store(Endpoint(server_url, "a test", 5), 5)
    call = lookup(partition(namespace, "q"), b"0" * 16)

    async def both() -> None:
        await asyncio.gather(store.aio.run(call), store.aio.run(call))

    async def one() -> None:
        await store.aio.run(call)

    run(both)
    before = sockets()
    for _ in range(20):
        run(one)
    assert sockets() <= before
    store.endpoint.tidy()
    assert sockets() < before
    gc.collect()


def test_however_many_threads_and_coroutines_call_a_producer_has_few_connections(own: Own, namespace: str) -> None:
    """At most one for each thread and 16 for an event loop; who finds none free waits for one, and gets its answer."""
    store = Store(Endpoint(own.url, "a test", 20), 20)
    call = lookup(partition(namespace, "q"), b"0" * 16)
    watcher = redis.Redis(unix_socket_path=own.path)
    before = len(watcher.client_list())
    most, over = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = max(most, len(watcher.client_list()))

    async def many() -> list[Any]:
        await store.aio.run(call)  # the first call sees to the server, too
        return await asyncio.gather(*(store.aio.run(call) for _ in range(1000)))

    store.run(call)
    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(15) as threads:
        found = list(threads.map(lambda _: store.run(call), range(2000)))
    found += asyncio.run(many())
    over.set()
    watching.join()
    watcher.close()
    store.endpoint.tidy()
    store.endpoint.pool().disconnect()
    assert [each.state for each in found] == [None] * 3000
    assert 2 < most - before <= 15 + 16


@pytest.mark.only("valkey", "redis7", "sentinel", "tls", why="a cluster has a pool for each node")
def test_an_event_loop_that_lives_keeps_its_connection(server_url: str, namespace: str) -> None:
    """The end of another loop, in another thread, is not its end."""
    store = Store(Endpoint(server_url, "a test", 5), 5)
    call = lookup(partition(namespace, "q"), b"0" * 16)

    async def main() -> None:
        await store.aio.run(call)
        pool = await store.endpoint.async_pool(5)
        await asyncio.to_thread(asyncio.run, store.aio.run(call))
        await store.aio.run(call)
        assert await store.endpoint.async_pool(5) is pool
        await pool.disconnect()

    asyncio.run(main())


def test_as_many_threads_as_there_are_have_a_connection_each(server_url: str) -> None:
    """None of them is put off because there are others."""
    pool = Endpoint(server_url, "a test", 5).pool()
    taken = [pool.get_connection() for _ in range(130)]
    assert len(set(taken)) == 130
    for connection in taken:
        pool.release(connection)
    pool.disconnect()


# Passwords


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://u:secret@host", "redis://u:***@host"),
        ("redis://:se/ret@host", "redis://:***@host"),
        ("redis://u:se#ret@host", "redis://u:***@host"),
        ("redis://u:se?ret@host", "redis://u:***@host"),
        ("redis://u:se@ret@host", "redis://u:***@host"),
        ("redis://u:se:ret@[::1]:6379", "redis://u:***@[::1]:6379"),
        ("rediss://h/0?password=secret", "rediss://h/0?password=***"),
        ("redis://h/0?db=1&password=se#ret&username=u", "redis://h/0?db=1&password=***&username=u"),
        ("redis://u:secret@h/0?password=secret", "redis://u:***@h/0?password=***"),
        ("redis://h:6379/0?password=secr@et", "redis://h:***@***"),
        ("redis://u:se?password=secr@h", "redis://u:***@***"),
        ("unix://u:secret@/run/valkey.sock", "unix://u:***@/run/valkey.sock"),
        ("unix:///run/valkey.sock?password=secret", "unix:///run/valkey.sock?password=***"),
        ("reddis://u:secret@host", "reddis://u:***@host"),
        ("redis://[secret", "redis://[secret"),
    ],
)
def test_a_password_is_masked_however_it_is_written(url: str, shown: str) -> None:
    """Also where somebody forgot to escape what it consists of."""
    assert mask(url) == shown


@pytest.mark.parametrize(
    "url",
    ["redis://host:6379/0", "redis://user@host:6379", "redis://[::1]:6379", "unix:///run/a:b@c", "embedded:///a:b@c"],
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    """Ports and paths are no secrets."""
    assert mask(url) == url


@pytest.mark.parametrize("url", ["redis://[bad", "redis://host:port", "redis://:pa/ss@host", "redis://u:pa#ss@host"])
def test_a_url_that_cannot_be_read_is_a_configuration_error(url: str) -> None:
    """It names the place it comes from, and no part of a password."""
    with pytest.raises(ConfigurationError, match="QUAFF_URL in the environment") as caught:
        Endpoint(url, "QUAFF_URL in the environment", 1).pool()
    assert "'pa'" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://:word@host?colour=1", "'colour'"),
        ("redis://host?ssl_ca_certs=/x", "without TLS"),
        ("redis://host?protocol=9", "protocol"),
        ("redis+cluster://:word@host?colour=1", "'colour'"),
        ("redis+sentinel://:word@host/shop?sentinel_pasword=1", "'pasword'"),
        ("redis+sentinel://:word@host/shop?db=first", "'db'"),
    ],
)
def test_an_option_that_a_url_cannot_have_is_a_configuration_error(url: str, named: str) -> None:
    """For threads and event loops, before anything is sent; it names the option."""
    endpoint = Endpoint(url, "QUAFF_URL in the environment", 1)
    with pytest.raises(ConfigurationError, match=f"QUAFF_URL in the environment.*{named}") as caught:
        endpoint.pool()
    assert "word@" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=named):
        asyncio.run(endpoint.async_pool(1))
