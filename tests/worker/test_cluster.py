"""A worker and its producers on a cluster: queues on different nodes, slots that move, nodes that fall away."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from quaff import EnqueueError, EnqueueUnknown, Quaff, ServerUnavailable, StoreError, chain, chord
from quaff.cli import program
from quaff.store import pages
from quaff.store.keys import partition
from quaff.store.probe import Line
from quaff.store.rights import rules
from quaff.task import Task
from tests.chaos import ledger
from tests.engines import Cluster
from tests.helpers import Program, wait_until
from tests.plain import PlainCluster
from tests.worker import engineapp
from tests.worker.site import QUEUES, Producer, Site, spread

ATOMIC = pytest.mark.only("valkey", why="Redis moves slots key by key alone")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three primaries that the tests of this module share; whoever moves a slot keeps to its own."""
    cluster = Cluster()
    yield cluster
    cluster.end()


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path, start_worker: Callable[..., Program]) -> Iterator[Site]:
    """A namespace of the shared cluster."""
    site = Site(cluster.url, tmp_path / "ledger", start_worker, spread(cluster))
    yield site
    site.close()


def test_queues_on_all_nodes_are_served_by_one_worker(site: Site) -> None:
    """F40, F43: jobs, results, flows over queues and schedules; sent by threads and by coroutines."""
    site.worker()
    jobs = [site.send("add", number, queue=queue) for number in range(10) for queue in QUEUES]
    assert [job.result(timeout=15) for job in jobs] == [number for number in range(10) for _ in QUEUES]

    async def by_coroutines() -> list[Any]:
        add = site.quaff.tasks["add"]
        sent = await asyncio.gather(*(add.options(queue=queue).adelay(7) for queue in QUEUES))
        return [await job.aresult(timeout=10) for job in sent]

    assert asyncio.run(by_coroutines()) == [7, 7, 7]
    add, total, over = (site.quaff.tasks[name] for name in ("add", "total", "over"))
    flow = chain(chord([add.s(1), add.options(queue="c").s(2), over.s(3)], total.s()), over.s()).delay()
    assert flow.result(timeout=15) == 8
    wait_until(lambda: len(list(ledger.runs(site.folder))) > 33 and site.recorded("b") >= 2, 15, "the schedule")
    wait_until(lambda: any(run.tag == "beat" for run in ledger.runs(site.folder)), 10, "an occurrence")


def test_one_queue_is_spread_over_the_nodes(cluster: Cluster, site: Site) -> None:
    """F40: its partitions lie on all of them; the worker, which was told nothing, finds out and serves them all."""
    site.worker("-Q", "hot")
    spread = Quaff(site.url, namespace=site.namespace, partitions={"hot": 12})
    owners = {cluster.owner(partition(site.namespace, "hot", number).slot) for number in range(12)}
    assert len(owners) == 3
    add = Task(spread, "add", engineapp.quaff.tasks["add"].fn, site.quaff.tasks["add"].options(queue="hot").settings)
    jobs = add.map([(number,) for number in range(300)])
    assert spread.wait_all(jobs, 40) == [*range(300)]
    assert spread.queue("hot").stats().succeeded == 300
    spread.store.endpoint.abandon_pool()
    spread.store.endpoint.tidy()


def test_an_idle_worker_is_woken_from_each_node(site: Site) -> None:
    """A job starts when it comes, not when somebody looks: well under the half second of a worker that is deaf."""
    site.worker()
    site.send("over", 1).result(timeout=10)
    for queue in QUEUES:
        site.send("add", 1, queue=queue).result(timeout=10)  # the scripts are loaded, the connections open
    took = []
    for number in range(9):
        began = time.monotonic()
        site.send("add", number, queue=QUEUES[number % 3]).result(timeout=10)
        took.append(time.monotonic() - began)
    assert sorted(took)[4] < 0.25


@ATOMIC
def test_who_looks_after_a_cluster_asks_each_of_its_nodes(site: Site, cluster: Cluster) -> None:
    """F40: each queue is found, audited and mended at the node that has it, also when it has moved meanwhile."""
    raw, env = PlainCluster(site.quaff.store.endpoint.slots.nodes()), {"QUAFF_URL": cluster.url}
    env["QUAFF_NAMESPACE"] = site.namespace
    jobs = {queue: site.send("add", 1, queue=queue) for queue in QUEUES}

    def ask(*words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(CliRunner().invoke(program(), [*words, "--json"], env=env).stdout)
        return found

    assert ask("audit") == {"queues": 4, "findings": [], "unchecked": []}
    for queue in QUEUES:
        raw.delete(partition(site.namespace, queue).key("ready"))
    found = ask("audit", "--repair")
    lost = {row["queue"]: row["subject"] for row in found["findings"] if row["name"] == "no place" and row["repaired"]}
    assert lost == {f"{queue}#0": job.id for queue, job in jobs.items()}, found
    line = Line(site.quaff.store.endpoint, home=partition(site.namespace, "a"))
    assert line.ask([("LLEN", partition(site.namespace, "a").key("ready"))]) == [1]
    home = cluster.owner(site.slot("a"))
    cluster.move(site.slot("a"), (home + 1) % 3)
    assert pages.atomically(line, [("LLEN", partition(site.namespace, "a").key("ready"))]) == [1]
    line.close()
    cluster.nodes[2].redis.config_set("maxmemory-policy", "allkeys-lru")
    checks = {each["check"]: each["level"] for each in ask("doctor")["findings"]}
    assert checks[f"eviction at 127.0.0.1:{cluster.nodes[2].port}"] == "warn"
    assert [name for name in checks if name.startswith("eviction")] == [
        f"eviction at 127.0.0.1:{cluster.nodes[2].port}"
    ]
    assert {name for name in checks if name.startswith("queue")} == {f"queue {queue}" for queue in (*QUEUES, "default")}
    cluster.nodes[2].redis.config_set("maxmemory-policy", "noeviction")
    cluster.move(site.slot("a"), home)


@ATOMIC
def test_a_slot_that_moves_in_one_step_loses_nothing(site: Site, cluster: Cluster) -> None:
    """F40: an atomic migration to another node and back, under a producer and a worker; each job recorded once."""
    slot = site.slot("a")
    site.worker()
    home = cluster.owner(slot)
    producer = Producer(site, "a")
    try:
        for target in ((home + 1) % 3, home):
            before = len(producer.jobs)
            wait_until(lambda before=before: len(producer.jobs) > before + 50, 10, "jobs before the migration")
            cluster.move(slot, target)
            before = len(producer.jobs)
            wait_until(lambda before=before: len(producer.jobs) > before + 50, 10, "jobs after the migration")
    finally:
        producer.stop()
    assert not producer.refused
    assert [job.result(timeout=15) for job in producer.jobs.values()] == list(producer.jobs)
    assert site.recorded("a") == len(producer.jobs)


def test_a_slot_that_moves_key_by_key_loses_nothing(site: Site, cluster: Cluster) -> None:
    """F40, F41: meanwhile jobs are refused in their time with what was said, other queues go on, and it heals."""
    slot = site.slot("c")
    site.worker()
    source = cluster.owner(slot)
    target = (source + 1) % 3
    here, there = cluster.nodes[source].client(), cluster.nodes[target].client()
    sent = [site.send("add", number, queue="c") for number in range(20)]
    there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[source])
    here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[target])
    with pytest.raises(ServerUnavailable, match="answers, but refused"):
        site.send("add", 20, queue="c")
    began = time.monotonic()
    assert site.send("add", 1, queue="a").result(timeout=5) == 1
    assert time.monotonic() - began < 2.5
    while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
        here.execute_command("MIGRATE", "127.0.0.1", cluster.nodes[target].port, "", 0, 5000, "KEYS", *keys)
    for client in (there, here):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[target])
    assert site.send("add", 21, queue="c").result(timeout=5) == 21
    assert [job.result(timeout=10) for job in sent] == list(range(20))
    assert site.recorded("c") == 21


def test_the_rights_of_a_role_are_enough_on_a_cluster(site: Site, cluster: Cluster) -> None:
    """S9: to ask who serves what, and to follow a slot that is on its way, which is refused only as long as that."""
    slot = site.slot("b")
    source = cluster.owner(slot)
    target = (source + 1) % 3
    here, there = cluster.nodes[source].client(), cluster.nodes[target].client()
    for node in cluster.nodes:
        node.client().execute_command("ACL", "SETUSER", "shop", *rules("producer", site.namespace), ">s3cret")
    quaff = Quaff(cluster.url.replace("://", "://shop:s3cret@"), namespace=site.namespace)
    add = Task(quaff, "add", engineapp.add.fn, engineapp.add.settings).options(queue="b")
    try:
        there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[source])
        here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[target])
        with pytest.raises(ServerUnavailable, match="answers, but refused"):
            add.delay(1)
        for node in cluster.nodes:
            node.client().execute_command("ACL", "SETUSER", "shop", "-asking")
        with pytest.raises(StoreError, match="asking"):
            add.delay(1)
        asyncio.run(_refused_without_a_rest(quaff, add))
        quaff.store.endpoint.tidy()
    finally:
        for client in (there, here):
            client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")
    assert add.delay(1).state == "queued"
    quaff.store.endpoint.abandon_pool()


async def _refused_without_a_rest(quaff: Quaff, add: Any) -> None:
    """A coroutine's call is refused, too, and no reply stays on a connection for the next one."""
    with pytest.raises(StoreError, match="asking"):
        await add.adelay(1)
    for node in quaff.store.endpoint.slots.nodes():
        pool = await quaff.store.endpoint.async_pool(1, node)
        for connection in pool._available_connections:
            assert not (connection.is_connected and await connection.can_read())


@pytest.mark.early
def test_a_node_that_stands_still_holds_up_its_own_queues_only(
    tmp_path: Path, start_worker: Callable[..., Program]
) -> None:
    """F42: the jobs of the others run within seconds; those of its own when it is back, each recorded once."""
    cluster = Cluster()
    try:
        site = Site(cluster.url, tmp_path / "ledger", start_worker, spread(cluster))
        for number in range(3):
            cluster.nodes[number].client().execute_command("CONFIG SET", "cluster-require-full-coverage", "no")
        site.worker()
        assert site.send("add", 1, queue="a").result(timeout=10) == 1
        assert site.send("add", 1, queue="b").result(timeout=10) == 1
        node = cluster.nodes[cluster.owner(site.slot("a"))]
        node.process.send_signal(signal.SIGSTOP)
        with pytest.raises((EnqueueUnknown, ServerUnavailable)):
            site.send("add", 2, queue="a")
        jobs = [site.send("add", number, queue="b") for number in range(5)]
        assert [job.result(timeout=10) for job in jobs] == list(range(5))
        node.process.send_signal(signal.SIGCONT)
        wait_until(lambda: _sent(site), 15, "the node again")
        assert site.send("add", 4, queue="a").result(timeout=10) == 4
        wait_until(lambda: site.recorded("a") >= 3, 10, "what was sent meanwhile")
        site.quaff.store.endpoint.abandon_pool()
    finally:
        cluster.end()


def _sent(site: Site) -> bool:
    try:
        site.send("add", 3, queue="a")
    except EnqueueError:
        return False
    return True
