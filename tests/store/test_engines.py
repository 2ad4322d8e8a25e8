"""Senders and servers in production's shapes: TLS that is checked, users with few rights, sentinels and a failover."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quaff.errors import ConfigurationError, ServerUnavailable, StoreError
from quaff.model import ids
from quaff.store import transitions as t
from quaff.store.client import Store
from quaff.store.keys import partition
from quaff.store.queries import lookup
from quaff.store.rights import rules
from tests.certificates import certify
from tests.engines import Sentinels, Server
from tests.helpers import wait_until
from tests.store.wire import Send, both, close, store_at


def enqueue(namespace: str) -> t.Call[list[Any]]:
    """Store one job."""
    return t.enqueue(partition(namespace, "q"), [(ids.new_raw(), b"m")])


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, and a certificate by the first."""
    return certify(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(certificates: Path) -> Iterator[Server]:
    """A server that takes TLS only."""
    with Server(tls=certificates) as server:
        yield server


@both
def test_tls_is_spoken_and_the_certificate_checked(
    send: Send, secure: Server, certificates: Path, namespace: str
) -> None:
    """Redis 7: with the right authority a job is stored."""
    store = store_at(f"rediss://127.0.0.1:{secure.port}?ssl_ca_certs={certificates}/ca.pem")
    assert send(store, [enqueue(namespace)]) == [[0]]
    close(store)


@both
@pytest.mark.parametrize("query", ["", "?ssl_ca_certs={}/stranger.pem"])
def test_a_certificate_by_somebody_unknown_is_refused(
    send: Send, query: str, secure: Server, certificates: Path, namespace: str
) -> None:
    """S22: nothing is sent there, and the error says which option names the authority."""
    store = store_at(f"rediss://127.0.0.1:{secure.port}{query.format(certificates)}", 0.5)
    with pytest.raises(ServerUnavailable, match=r"certificate verify failed.*ssl_ca_certs"):
        send(store, [enqueue(namespace)])
    store.endpoint.abandon_pool()
    store.endpoint.tidy()


@both
def test_a_certificate_of_another_host_is_refused(
    send: Send, secure: Server, certificates: Path, namespace: str
) -> None:
    """S22: the name is checked, too."""
    store = store_at(f"rediss://localhost:{secure.port}?ssl_ca_certs={certificates}/ca.pem", 0.5)
    with pytest.raises(ServerUnavailable, match="certificate verify failed: Hostname mismatch"):
        send(store, [enqueue(namespace)])
    store.endpoint.abandon_pool()
    store.endpoint.tidy()


@both
def test_a_certificate_whose_time_is_over_is_refused(send: Send, tmp_path: Path, namespace: str) -> None:
    """S22: by the right authority, of the right host, until yesterday; nothing is stored there."""
    with Server(tls=certify(tmp_path, ended=True)) as server:
        store = store_at(server.url, 0.5)
        with pytest.raises(ServerUnavailable, match="certificate verify failed: certificate has expired"):
            send(store, [enqueue(namespace)])
        assert server.redis.dbsize() == 0
        store.endpoint.abandon_pool()
        store.endpoint.tidy()


@both
def test_a_server_without_tls_is_not_spoken_to_in_clear(send: Send, namespace: str) -> None:
    """S22: a URL that says ``rediss`` is never tried as ``redis``, whatever is at the other end."""
    with Server() as server:
        store = store_at(server.url.replace("redis://", "rediss://"), 0.5)
        with pytest.raises(ServerUnavailable, match="no Valkey or Redis answers at rediss://"):
            send(store, [enqueue(namespace)])
        assert server.redis.dbsize() == 0
        assert not any("eval" in name or "script" in name for name in server.redis.info("commandstats"))
        store.endpoint.abandon_pool()
        store.endpoint.tidy()


class Old(threading.Thread):
    """Speaks TLS as it was in 2006, and nothing newer.

    Attributes:
        port: where, on the loopback.
        tried: how many have come.
        heard: what they have sent.
    """

    def __init__(self, certificates: Path) -> None:
        super().__init__(daemon=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            self._context.maximum_version = ssl.TLSVersion.TLSv1_1
        self._context.set_ciphers("DEFAULT:@SECLEVEL=0")
        self._context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard = b""
        self.tried = 0
        self.start()

    def run(self) -> None:
        """Until it is closed."""
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            self.tried += 1
            with suppress(OSError), line, self._context.wrap_socket(line, server_side=True) as inner:
                self.heard += inner.recv(1000)

    def close(self) -> None:
        """No more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join(10)


@both
def test_tls_that_is_talked_down_is_refused(send: Send, certificates: Path, namespace: str) -> None:
    """S22: to a version with known holes, by a server whose certificate is right; others do speak to it."""
    old = Old(certificates)
    careless = ssl.create_default_context(cafile=certificates / "ca.pem")
    careless.set_ciphers("DEFAULT:@SECLEVEL=0")
    careless.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with (
        socket.create_connection(("127.0.0.1", old.port)) as line,
        careless.wrap_socket(line, server_hostname="127.0.0.1") as inner,
    ):
        inner.sendall(b"hello")
    wait_until(lambda: old.heard == b"hello", 10, "what was said to it")
    store = store_at(f"rediss://127.0.0.1:{old.port}?ssl_ca_certs={certificates}/ca.pem", 0.5)
    with pytest.raises(ServerUnavailable, match=r"(?i)SSL.*(version|protocol)"):
        send(store, [enqueue(namespace)])
    store.endpoint.abandon_pool()
    store.endpoint.tidy()
    old.close()
    assert old.tried > 1
    assert old.heard == b"hello"


# Users


@both
def test_a_producer_needs_few_rights(send: Send, namespace: str) -> None:
    """F46: EVALSHA, SCRIPT LOAD, what the script itself calls, and the keys of its namespace; no other namespace's."""
    with Server() as server:
        rights = ["+evalsha", "+script|load", "+select", "+time", "+hget", "+hset", "+hmget", "+hincrby", "+hsetnx"]
        rights += ["+exists", "+llen", "+lpush", "+rpush", "+ltrim", "+hlen", "+hmset", "+zadd", "+zcard", "+hexists"]
        user = ("ACL", "SETUSER", "shop", "on", ">s3cret", "resetkeys", f"~quaff:{{{namespace}/*", *rights)
        server.client().execute_command(*user)
        store = store_at(f"redis://shop:s3cret@127.0.0.1:{server.port}/0", 1)
        assert send(store, [enqueue(namespace)]) == [[0]]
        with pytest.raises(StoreError, match="refused"):
            send(store, [enqueue("other")])
        close(store)


# Sentinel


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    """One primary, two replicas, three sentinels."""
    sentinels = Sentinels()
    yield sentinels
    sentinels.end()


@both
def test_the_primary_is_asked_of_the_sentinels(send: Send, sentinels: Sentinels, namespace: str) -> None:
    """One of those in the URL may be away."""
    store = store_at(sentinels.url.replace("://", "://127.0.0.1:1,"), 5)
    assert send(store, [enqueue(namespace)]) == [[0]]
    close(store)


@both
def test_the_rights_of_a_role_are_enough_behind_sentinels(send: Send, sentinels: Sentinels, namespace: str) -> None:
    """S9: also to ask a server for its role."""
    for server in sentinels.servers:
        server.client().execute_command("ACL", "SETUSER", "shop", *rules("producer", namespace), ">s3cret")
    store = store_at(sentinels.url.replace("://", "://shop:s3cret@"), 5)
    assert send(store, [enqueue(namespace)]) == [[0]]
    close(store)


def test_a_service_that_no_sentinel_knows_is_named(sentinels: Sentinels, namespace: str) -> None:
    """With what each of them said."""
    store = store_at(sentinels.url.replace("/shop", "/shpo"), 0.5)
    with pytest.raises(ServerUnavailable, match="knows no service 'shpo'"):
        store.run(enqueue(namespace))
    store.endpoint.abandon_pool()


def test_a_failover_heals_and_meanwhile_errors_are_typed(sentinels: Sentinels, namespace: str) -> None:
    """F21: the primary is killed; what was acknowledged and replicated is there, and the old one is not asked."""
    store = store_at(sentinels.url, 1)
    kept = enqueue(namespace)
    assert store.run(kept) == [0]
    primary = sentinels.primary()
    with primary.client().client() as asking:
        asking.set(namespace, "after it")  # WAIT is about what this connection has written
        assert asking.wait(2, 10_000) == 2
    primary.kill()

    def stored() -> bool:
        try:
            return store.run(enqueue(namespace)) == [0]
        except (ServerUnavailable, StoreError):
            return False

    wait_until(stored, 20, "a new primary")
    assert store.run(lookup(partition(namespace, "q"), kept.args[0])).state == "queued"
    primary.start()
    wait_until(lambda: primary.client().role()[0] == b"slave", 20, "the old primary as a replica")
    assert store.run(enqueue(namespace)) == [0]
    close(store)


def test_a_primary_that_was_demoted_is_left(sentinels: Sentinels, namespace: str) -> None:
    """F21, F37: an orderly failover under open connections: the next call finds the new one within its deadline."""
    store = store_at(sentinels.url, 10)

    async def before_and_after() -> list[list[Any]]:
        first = await store.aio.run(enqueue(namespace))
        await asyncio.to_thread(_fail_over, sentinels)
        return [first, await store.aio.run(enqueue(namespace))]

    assert store.run(enqueue(namespace)) == [0]
    assert asyncio.run(before_and_after()) == [[0], [0]]
    assert store.run(enqueue(namespace)) == [0]
    close(store)


def _fail_over(sentinels: Sentinels) -> None:
    wait_until(sentinels.settled, 20, "replicas to choose from")
    before = sentinels.primary()
    sentinels.fail_over()
    wait_until(lambda: sentinels.primary() is not before, 20, "another primary")


def test_a_server_alone_is_no_cluster(namespace: str) -> None:
    """It would get half of the jobs of a URL that names two; refused at once."""
    with Server() as server:
        store: Store = store_at(f"redis+cluster://127.0.0.1:{server.port}", 5)
        with pytest.raises(ConfigurationError, match="is not a cluster"):
            store.run(enqueue(namespace))
