"""Workers behind sentinels and on clusters whose primaries are killed, with jobs flowing all the time.

Replication is asynchronous: what the replica that takes over has not got goes with the old primary. So the producer
asks after each job whether all replicas have it, by ``WAIT`` behind a write of its own; of these none may be lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from quaff import EnqueueError, EnqueueUnknown, JobNotFound, ServerUnavailable
from tests.certificates import certify
from tests.engines import Cluster, Sentinels, Server
from tests.helpers import Program, wait_until
from tests.store.wire import LATE
from tests.worker.site import QUEUES, Producer, Site, spread

FULL = bool(os.environ.get("FULL"))

Start = Callable[..., Program]


def judge(site: Site, producer: Producer, queue: str) -> None:
    """Each job that a replica had ends with its value; each other one does, or is gone with its primary."""
    lost = []
    for number, job in producer.jobs.items():
        try:
            assert job.result(timeout=20) == number
        except JobNotFound:
            lost.append(number)
    assert not set(lost) & producer.kept, "a job is lost that a replica had"
    assert {type(error) for error in producer.refused} <= {ServerUnavailable, EnqueueUnknown}, producer.refused
    assert producer.slowest < site.quaff.settings.deadline + LATE
    print(
        f"{len(producer.jobs)} sent, {len(producer.kept)} replicated, {len(lost)} lost, "
        f"{len(producer.refused)} refused; the slowest took {producer.slowest:.1f} s"
    )
    # What was in doubt and not among the jobs may have been stored all the same; it ends as well.
    wait_until(lambda: site.counts(queue)["queued"] + site.counts(queue)["running"] == 0, 20, "an empty queue")


def flowing(producer: Producer, count: int = 50) -> None:
    """So many more jobs are there, and replicated."""
    before = len(producer.kept)
    wait_until(lambda: len(producer.kept) >= before + count, 30, "jobs that flow")


@pytest.mark.timeout(240)
def test_a_worker_outlives_its_primaries(tmp_path: Path, start_worker: Start) -> None:
    """F20, F21, F37, F69: five, with jobs flowing; each comes back, and no job is lost."""
    sentinels = Sentinels()
    try:
        site = Site(sentinels.url, tmp_path / "ledger", start_worker)
        worker = site.worker(LEASE="5")
        producer = Producer(site, "a", sentinels.primary, replicas=2)
        try:
            for _ in range(5):
                flowing(producer)
                old = sentinels.primary()
                old.kill()
                wait_until(lambda old=old: sentinels.primary() is not old, 20, "another primary")
                old.start()
                wait_until(sentinels.settled, 30, "two replicas again")
            flowing(producer)
        finally:
            producer.stop()
        judge(site, producer, "a")
        probe = time.monotonic()
        assert site.send("add", 7, queue="a").result(timeout=10) == 7
        assert time.monotonic() - probe < 5
        assert worker.stop() == 0
        site.close()
    finally:
        sentinels.end()


@pytest.mark.early
@pytest.mark.timeout(120)
def test_a_node_of_a_cluster_that_dies_is_replaced_under_a_worker(tmp_path: Path, start_worker: Start) -> None:
    """F20, F40, F42, F69: its replica takes over; no replicated job is lost, and the other queues go on meanwhile."""
    cluster = Cluster(replicas=True)
    try:
        for node in cluster.nodes:
            node.redis.config_set("cluster-require-full-coverage", "no")
        site = Site(cluster.url, tmp_path / "ledger", start_worker, spread(cluster))
        worker = site.worker(LEASE="5")
        others = [queue for queue in QUEUES if queue != "a"]
        assert [site.send("add", 1, queue=queue).result(timeout=10) for queue in others] == [1, 1]
        producer = Producer(site, "a", lambda: _node(cluster, site.slot("a")))
        try:
            flowing(producer)
            old = cluster.owner(site.slot("a"))
            cluster.nodes[old].kill()
            for queue in others:
                began = time.monotonic()
                assert site.send("add", 2, queue=queue).result(timeout=10) == 2
                assert time.monotonic() - began < 3
            dead = cluster.nodes[old]
            wait_until(lambda: _node(cluster, site.slot("a")) not in (None, dead), 30, "the replica as a primary")
            sent = len(producer.jobs)
            # Not more: after each the producer waits for a replica that is not there.
            wait_until(lambda: len(producer.jobs) > sent + 10, 30, "jobs that flow")
            dead.start()
            flowing(producer)
        finally:
            producer.stop()
        judge(site, producer, "a")
        assert worker.stop() == 0
        site.close()
    finally:
        cluster.end()


def _node(cluster: Cluster, slot: int) -> Server | None:
    """Who serves a slot; None as long as nobody does."""
    try:
        found = cluster.owner_now(slot)
    except redis.RedisError:
        return None
    return None if found is None else cluster.nodes[found]


@pytest.mark.timeout(120)
def test_a_migration_that_is_held_refuses_in_time_and_heals_at_once(tmp_path: Path, start_worker: Start) -> None:
    """F40, F41, F69: a slot that stays half moved for 30 s (FULL=1, else 3): typed errors, nothing lost, a probe."""
    cluster = Cluster()
    try:
        site = Site(cluster.url, tmp_path / "ledger", start_worker, spread(cluster))
        worker = site.worker()
        slot = site.slot("a")
        source = cluster.owner(slot)
        target = (source + 1) % 3
        here, there = cluster.nodes[source].redis, cluster.nodes[target].redis
        producer = Producer(site, "a")
        try:
            flowing(producer)
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[source])
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[target])
            keys = here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
            _migrate(cluster, here, target, keys[: len(keys) // 2])
            until = time.monotonic() + (30 if FULL else 3)
            while time.monotonic() < until:
                refused = len(producer.refused)
                wait_until(lambda refused=refused: len(producer.refused) > refused, 5, "a refusal")
            while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                _migrate(cluster, here, target, keys)
            for client in (there, here):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[target])
            over = time.monotonic()
            assert _probe(site) == 8
            assert time.monotonic() - over < 5
            flowing(producer)
        finally:
            producer.stop()
        judge(site, producer, "a")
        assert worker.stop() == 0
        site.close()
    finally:
        cluster.end()


def _migrate(cluster: Cluster, here: redis.Redis, target: int, keys: list[bytes]) -> None:
    here.execute_command("MIGRATE", "127.0.0.1", cluster.nodes[target].port, "", 0, 5000, "KEYS", *keys)


def _probe(site: Site) -> int:
    found: int = wait_until(lambda: _sent(site), 5, "a probe that is taken")
    return found


def _sent(site: Site) -> int:
    try:
        result: int = site.send("add", 8, queue="a").result(timeout=5)
    except EnqueueError:
        return 0
    return result


@pytest.mark.parametrize("shape", [Sentinels, Cluster])
def test_all_of_it_goes_through_tls(shape: type[Sentinels | Cluster], tmp_path: Path, start_worker: Start) -> None:
    """S22: ``rediss+sentinel://`` and ``rediss+cluster://``: sentinels, nodes and servers, for producer and worker."""
    servers = shape(tls=certify(tmp_path))
    try:
        site = Site(servers.url, tmp_path / "ledger", start_worker)
        worker = site.worker()
        jobs = [site.send("add", number, queue=queue) for number in range(5) for queue in QUEUES]
        assert [job.result(timeout=15) for job in jobs] == [number for number in range(5) for _ in QUEUES]
        assert worker.stop() == 0
        site.close()
        stranger = Site(servers.url.replace("/ca.pem", "/stranger.pem"), tmp_path / "other", start_worker)
        with pytest.raises(ServerUnavailable, match="certificate verify failed"):
            stranger.send("add", 1, queue="a")
        stranger.close()
    finally:
        servers.end()
