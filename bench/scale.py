"""``python -m bench.scale``: up to a thousand workers on a cluster of six nodes, beside what the model says.

Workers are simulated: each makes the calls that a worker of Quaff makes (its waiting, claims, settles, heartbeats and
sweeps, at the same intervals, over connections of its own) and its jobs sleep. All of them live in this one process,
so the servers and not the workers are measured. Unit costs are measured first, on the same machine; the model of
docs/design/scaling.md multiplies them, and the last column says how far off it is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from bench.cluster import Cluster
from bench.measures.latency import percentiles
from bench.wire import Wire
from quaff.model import ids, message
from quaff.model.states import JobState
from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import Kept, Rules, claim, enqueue, heartbeat, settle, sweep
from quaff.worker.lookout import LISTENERS
from quaff.worker.maintenance import between_sweeps

#: Seconds, as a worker has them: waiting for a token (on the average), renewing leases.
WAITS, BEAT = 4.5, 10.0
#: What a worker makes of its time between two sweeps, on the average.
SPREAD = 0.85
LEASE_MS, WINDOW_MS, RESULT_MS = 30_000, 3_600_000, 500_000
RULES, KEPT = Rules(3, 604_800_000, WINDOW_MS), Kept(10_000, 64 * 1024 * 1024)
SLOTS = 8
NAP = 0.01  # seconds that a job sleeps
PAUSE = 0.003  # seconds between two calls whose cost is measured
SCRIPTS = ("enqueue", "claim", "settle", "heartbeat", "sweep")
_DATA = message.encode("tasks.nap", [NAP], {})


@dataclass
class Run:
    """What is seen of the jobs."""

    sent: dict[bytes, float] = field(default_factory=dict)
    waited: list[float] = field(default_factory=list)
    ended: set[bytes] = field(default_factory=set)
    twice: int = 0
    claims: int = 0


class Worker:
    """One simulated worker, which serves all partitions.

    Args:
        ports: of the node of each partition.
    """

    def __init__(self, partitions: list[Partition], ports: list[int], run: Run) -> None:
        self._partitions = partitions
        self._ports = ports
        self._run = run
        self._process = os.urandom(8)
        self._number = 0
        self._free = SLOTS
        self._crowd = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.wires: dict[int, Wire] = {}

    async def connect(self) -> None:
        """One connection a node to talk, and one a partition to be woken on."""
        for port in set(self._ports):
            self.wires[port] = await Wire.to(port)
        for partition, port in zip(self._partitions, self._ports, strict=True):
            wake, talk = await Wire.to(port), self.wires[port]
            await self.look(partition, talk)
            self._start(self._serve(partition, talk, wake))
            self._start(self._renew(partition, talk))
            self._start(self._sweep(partition, talk))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all that it does."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, partition: Partition, talk: Wire, wake: Wire) -> None:
        while True:
            pause, token = WAITS * random.uniform(0.9, 1.1), None
            if random.random() < LISTENERS / max(1, self._crowd):
                token = await wake.ask("BLPOP", partition.key("wake"), f"{pause:.3f}")
            else:
                await asyncio.sleep(pause)
            left = await self.look(partition, talk, token is not None)
            while left and self._free:
                left = await self.look(partition, talk)

    async def look(self, partition: Partition, talk: Wire, token: bool = False) -> int:
        """Claim for the free slots; how many jobs are left there."""
        if not (self._free or token):
            return 0
        self._number += 1
        wanted, self._free = self._free, 0
        self._run.claims += 1
        answer = await talk.run(
            claim(
                partition,
                process=self._process,
                number=self._number,
                claim_id=os.urandom(6).hex().encode(),
                count=wanted,
                free=wanted,
                idle=wanted == SLOTS,
                lease_ms=LEASE_MS,
            )
        )
        self._free += wanted - len(answer.leases)
        self._crowd = self._crowd if answer.leases else answer.processes
        for lease in answer.leases:
            self._run.waited.append((time.monotonic() - self._run.sent[lease.id]) * 1000)
            self._start(self._work(partition, talk, lease))
        left: int = answer.left
        return left

    async def _work(self, partition: Partition, talk: Wire, lease: Any) -> None:
        await asyncio.sleep(NAP)
        item = (lease.id, lease.token, JobState.SUCCEEDED, RESULT_MS, b"", b"\xc0")
        await talk.run(settle(partition, process=self._process, window_ms=WINDOW_MS, items=[item]))
        self._run.twice += lease.id in self._run.ended
        self._run.ended.add(lease.id)
        self._free += 1
        if self._free == 1:
            # It was full, and may have passed tokens on: what waits is looked for now.
            await self.look(partition, talk)

    async def _renew(self, partition: Partition, talk: Wire) -> None:
        await asyncio.sleep(random.uniform(0, BEAT))
        while True:
            await talk.run(heartbeat(partition, lease_ms=LEASE_MS, processes=[self._process]))
            await asyncio.sleep(BEAT)

    async def _sweep(self, partition: Partition, talk: Wire) -> None:
        processes = 1
        while True:
            pause = between_sweeps(LEASE_MS / 1000, processes)
            await asyncio.sleep(pause * random.uniform(2 * SPREAD - 1, 1))
            processes = (await talk.run(_sweep(partition))).processes


def _sweep(partition: Partition) -> Any:
    return sweep(partition, lease_ms=LEASE_MS, rules=RULES, keep=KEPT, poison=b"\xc0", unpark=False)


async def unit_costs(cluster: Cluster, calls: int = 400) -> dict[str, float]:
    """Microseconds of the servers' processors for one call of each kind, and in a second in which nothing is asked.

    The calls come with pauses, as to a server that is not busy: it falls asleep in between, and that is most of what
    they cost. ``storm`` is an empty claim among many that have come at once.
    """
    partition = Partition("units", "q")
    place = cluster.place(key_slot(partition.key("msg")))
    talk = await Wire.to(cluster.ports[place])
    process, costs = os.urandom(8), dict[str, float]()
    leases: list[Any] = []
    before = sum(cluster.cpu())
    await asyncio.sleep(3)
    costs["nothing"] = (sum(cluster.cpu()) - before) / 3 * 1e6

    async def timed(name: str, act: Callable[[int], Awaitable[Any]]) -> None:
        before, began = sum(cluster.cpu()), time.monotonic()
        for number in range(calls):
            await act(number)
            await asyncio.sleep(PAUSE)
        own = costs["nothing"] * (time.monotonic() - began)
        costs[name] = ((sum(cluster.cpu()) - before) * 1e6 - own) / calls

    def asking(number: int) -> Any:
        name = b"%d" % number
        return claim(
            partition, process=process, number=number, claim_id=name, count=1, free=1, idle=True, lease_ms=LEASE_MS
        )

    async def settled(number: int) -> None:
        lease = leases[number]
        item = (lease.id, lease.token, JobState.SUCCEEDED, RESULT_MS, b"", b"\xc0")
        await talk.run(settle(partition, process=process, window_ms=WINDOW_MS, items=[item]))

    async def took(number: int) -> None:
        leases.extend((await talk.run(asking(number + 1))).leases)

    await timed("enqueue", lambda _: talk.run(enqueue(partition, [(ids.new_raw(), _DATA)])))
    await timed("claim", took)
    await timed("settle", settled)
    await timed("empty claim", lambda number: talk.run(asking(calls + number + 1)))
    await timed("heartbeat", lambda _: talk.run(heartbeat(partition, lease_ms=LEASE_MS, processes=[process])))
    await timed("sweep", lambda _: talk.run(_sweep(partition)))
    key = partition.key("wake")
    await talk.ask("RPUSH", key, *[b"1"] * calls)
    await timed("token", lambda _: talk.ask("BLPOP", key, 1))
    many = 10 * calls
    before = sum(cluster.cpu())
    await asyncio.gather(*(talk.run(asking(2 * calls + number + 1)) for number in range(many)))
    costs["storm"] = (sum(cluster.cpu()) - before) / many * 1e6
    talk.close()
    return costs


def background(costs: dict[str, float], workers: int, partitions: int) -> float:
    """The model: microseconds a second, over all nodes, of workers that have nothing to do."""
    sweeps = costs["sweep"] / (SPREAD * between_sweeps(LEASE_MS / 1000, workers))
    listening = min(1, LISTENERS / workers)
    each = (listening * costs["token"] + costs["empty claim"]) / WAITS + costs["heartbeat"] / BEAT + sweeps
    return costs["nothing"] + workers * partitions * each


def per_job(costs: dict[str, float]) -> float:
    """The model: microseconds of a job that wakes an idle worker. The number of workers is not in it."""
    return costs["enqueue"] + costs["token"] + costs["claim"] + costs["settle"]


class Stage:
    """A cluster and the workers on it."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._cluster = cluster
        self.partitions = [Partition("scale", "q", number) for number in range(partitions)]
        places = [cluster.place(key_slot(each.key("msg"))) for each in self.partitions]
        self.ports = [cluster.ports[place] for place in places]
        self.run = Run()
        self.workers: list[Worker] = []

    async def grow(self, to: int) -> None:
        """Connect workers until there are so many."""
        while len(self.workers) < to:
            some = [Worker(self.partitions, self.ports, self.run) for _ in range(min(50, to - len(self.workers)))]
            await asyncio.gather(*(each.connect() for each in some))
            self.workers += some

    async def used(self, seconds: float, jobs_a_second: float = 0) -> float:
        """Microseconds of all primaries in each second of so many; jobs are sent evenly meanwhile."""
        wires = {port: await Wire.to(port) for port in set(self.ports)}
        before, began = sum(self._cluster.cpu()), time.monotonic()
        number = 0
        while (now := time.monotonic() - began) < seconds:
            while number < now * jobs_a_second:
                place = number % len(self.partitions)
                id = ids.new_raw()
                self.run.sent[id] = time.monotonic()
                await wires[self.ports[place]].run(enqueue(self.partitions[place], [(id, _DATA)]))
                number += 1
            await asyncio.sleep(0.002)
        spent = (sum(self._cluster.cpu()) - before) / (time.monotonic() - began) * 1e6
        for wire in wires.values():
            wire.close()
        return spent

    async def all_ended(self, seconds: float) -> None:
        """Wait for all jobs, at most so long."""
        until = time.monotonic() + seconds
        while len(self.run.ended) < len(self.run.sent) and time.monotonic() < until:  # noqa: ASYNC110  time ends it too
            await asyncio.sleep(0.01)

    async def storm(self) -> tuple[float, float]:
        """All workers ask every partition at the same moment: milliseconds until all have their answer, and of CPU."""
        before, began = sum(self._cluster.cpu()), time.monotonic()
        asked = [
            worker.look(partition, worker.wires[port])
            for worker in self.workers
            for partition, port in zip(self.partitions, self.ports, strict=True)
        ]
        await asyncio.gather(*asked)
        return (time.monotonic() - began) * 1000, (sum(self._cluster.cpu()) - before) * 1000


_HEAD = """\
| workers | connections | idle CPU / model | µs a job / model | its claims | waits p50, p99 | storm ms | CPU / model |
|---|---|---|---|---|---|---|---|"""


async def simulate(workers: list[int], partitions: int, rate: float, seconds: float) -> int:
    """The whole run; 1 if a job was lost or ended twice."""
    with tempfile.TemporaryDirectory(prefix="quaff-scale-") as name, Cluster(Path(name)) as cluster:
        for node in cluster.nodes:
            for script in SCRIPTS:
                node.script_load(load(script).source)
        costs = await unit_costs(cluster)
        print("server µs a call: " + ", ".join(f"{name} {cost:.1f}" for name, cost in costs.items()))
        print(f"{partitions} partitions on {len(cluster.nodes)} primaries; {rate:g} jobs a second of {NAP * 1000:g} ms")
        print(_HEAD)
        stage = Stage(cluster, partitions)
        for count in workers:
            await stage.grow(count)
            await asyncio.sleep(2 * WAITS)
            idle = await stage.used(seconds)
            stage.run.waited.clear()
            claims, before = stage.run.claims, len(stage.run.sent)
            busy = await stage.used(seconds, rate)
            jobs = len(stage.run.sent) - before
            await stage.all_ended(30)
            claims = stage.run.claims - claims
            waited = percentiles(stage.run.waited)
            took, spent = await stage.storm()
            cells = [
                f"{count:,}",
                f"{sum(int(node.info('clients')['connected_clients']) for node in cluster.nodes):,}",
                f"{idle / 1e6:.1%} / {background(costs, count, partitions) / 1e6:.1%}",
                f"{(busy - idle) * seconds / jobs:.0f} / {per_job(costs):.0f}",
                f"{(claims - count * partitions * seconds / WAITS) / jobs:.2f}",
                f"{waited['p50']:.2f}, {waited['p99']:.2f}",
                f"{took:.0f}",
                f"{spent:.0f} / {count * partitions * costs['storm'] / 1000:.0f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
        await asyncio.gather(*(each.stop() for each in stage.workers))
        lost = len(stage.run.sent) - len(stage.run.ended)
        print(f"{len(stage.run.sent)} jobs: {lost} lost, {stage.run.twice} ended twice")
        return int(lost > 0 or stage.run.twice > 0)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000], help="how many, in rising order")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--rate", type=float, default=200, help="jobs a second")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    given = parser.parse_args()
    return asyncio.run(simulate(sorted(given.workers), given.partitions, given.rate, given.seconds))


if __name__ == "__main__":
    sys.exit(main())
