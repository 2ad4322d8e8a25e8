"""What scripts write is the same wherever it is written once more: on a replica, and from the append-only file."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.engines import Server
from tests.helpers import wait_until
from tests.store.engine import Desk
from tests.store.test_power_cuts import lives

OPTIONS = (
    *("--appendonly", "yes", "--appendfsync", "always"),
    *("--repl-diskless-sync-delay", "0", "--enable-debug-command", "local"),
)


@pytest.fixture
def primary() -> Iterator[Server]:
    """One that tells a digest of all it has."""
    with Server(*OPTIONS) as server:
        yield server


@pytest.fixture
def replica(primary: Server) -> Iterator[Server]:
    """Its replica."""
    with Server(*OPTIONS, "--replicaof", "127.0.0.1", str(primary.port)) as server:
        wait_until(lambda: server.redis.role()[3] == b"connected", 20, "a replica")
        yield server


def digest(server: Server) -> bytes:
    """Of all that a server has: the same for the same, in whatever order it came."""
    found: bytes = server.redis.execute_command("DEBUG", "DIGEST")
    return found


def test_a_replica_and_the_file_have_what_the_primary_has(primary: Server, replica: Server, namespace: str) -> None:
    """I21: jobs of every kind come, run and end in every way; then the three are compared."""
    desk = Desk(primary.url, namespace)
    steps = lives(desk, random.Random(3))
    nothing = digest(primary)
    for _ in range(60):
        next(steps)
    found = digest(primary)
    assert found != nothing
    wait_until(lambda: digest(replica) == found, 10, "the same on the replica")
    primary.redis.execute_command("DEBUG", "LOADAOF")
    assert digest(primary) == found, "the file, read by the server that wrote it"
    desk.close()
    primary.redis.connection_pool.disconnect()
    primary.kill()
    primary.start()
    assert digest(primary) == found, "the file, read by a server that knows nothing else"


def test_one_bit_that_is_another_one_is_another_digest(primary: Server, replica: Server, namespace: str) -> None:
    """Planted: I21. On the replica, in the message of one job."""
    desk = Desk(primary.url, namespace)
    first, _ = desk.put(b"first", b"second")
    wait_until(lambda: digest(replica) == digest(primary), 10, "the same on both")
    replica.redis.config_set("replica-read-only", "no")
    replica.redis.hset(desk.key("msg"), first, b"firsu")
    assert digest(replica) != digest(primary)
    replica.redis.hset(desk.key("msg"), first, b"first")
    assert digest(replica) == digest(primary)
    desk.close()
