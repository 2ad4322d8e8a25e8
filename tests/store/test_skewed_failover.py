"""F50: the server that takes over has another clock; nobody who lives loses a job by it, and none is held for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from quaff.model.states import JobState
from quaff.store.transitions import Verdict
from tests.chaos.servers import FAKETIME
from tests.engines import Server
from tests.helpers import wait_until
from tests.lacking import lacks
from tests.store.engine import HOUR, Desk, process_id
from tests.store.test_growth import later

#: Milliseconds; half of it is longer than any pause of ``wait_until``.
LEASE = 1000
#: Without FAKETIME, which would count for more than the file.
SKEWED = {
    "LD_PRELOAD": f"{FAKETIME}",
    "FAKETIME_TIMESTAMP_FILE": "clock",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_CACHE_DURATION": "1",
}
AT_ONCE = ("--repl-diskless-sync-delay", "0")


@pytest.fixture
def primary() -> Iterator[Server]:
    """One whose clock is right."""
    with Server(*AT_ONCE) as server:
        yield server


@pytest.fixture
def replica(primary: Server) -> Iterator[Server]:
    """Its replica, whose clock can be put wrong."""
    if FAKETIME is None:
        lacks("needs libfaketime (package faketime), and a server that is built without jemalloc")
    with Server(*AT_ONCE, "--replicaof", "127.0.0.1", str(primary.port), environment=SKEWED) as server:
        yield server


def skew(server: Server, seconds: int) -> None:
    """From now on its clock is wrong by so much."""
    told = server.home / "clock.new"
    told.write_text(f"{seconds:+d}")
    os.replace(told, server.home / "clock")
    wait_until(lambda: abs(server.redis.time()[0] - time.time() - seconds) < 5, 10, "another clock")


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_failover_to_another_clock_takes_a_job_from_the_dead_and_none_from_the_living(
    primary: Server, replica: Server, namespace: str, seconds: int
) -> None:
    """F50, F48, F49: ten minutes ahead, or behind; what waits for its time is due by the clock that counts now."""
    before, after = (Desk(server.url, namespace, LEASE) for server in (primary, replica))
    before.put(b"kept", b"left")
    soon, far = before.place((b"soon", later(HOUR // 12)), (b"far", later(HOUR)))
    alive, dead = process_id(), process_id()
    (kept,), (left,) = before.take(alive), before.take(dead)
    before.sweep()
    skew(replica, seconds)
    # Which may have taken it for an hour of silence, and connected anew.
    wait_until(lambda: replica.redis.role()[3] == b"connected" and after.dump() == before.dump(), 20, "all of it")
    primary.kill()
    replica.redis.execute_command("REPLICAOF", "NO", "ONE")

    began = time.monotonic()
    assert after.sweep().taken == 0
    assert after.heartbeat(alive) == [1]

    def taken() -> int:
        after.heartbeat(alive)
        return after.sweep().taken

    # Both have a lease to come back, and no more: not the ten minutes for which their leases seem to be over, or last.
    assert wait_until(taken, 5, "the end of the lease of the dead") == 1
    assert 0.9 * LEASE <= (time.monotonic() - began) * 1000 < 3 * LEASE
    assert after.settle(dead, left) == [Verdict.FENCED]
    assert after.settle(alive, kept) == [Verdict.OK]
    states = [after.look(id).state for id in (soon, far)]
    assert states == [JobState.QUEUED if seconds > 0 else JobState.SCHEDULED, JobState.SCHEDULED]
    after.dump()
    before.close()
    after.close()
