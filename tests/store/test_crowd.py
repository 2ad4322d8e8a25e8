"""F34: a thousand clients that lose their server at one moment, and find it again at one moment."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator

import pytest

from quaff import Job, Quaff
from tests.engines import Server

CLIENTS = 1000
#: Seconds that each call may take. The server is away for one of them.
DEADLINE, AWAY = 20.0, 1.0
#: Connections that a client may open to the server that came back; one that is closed there again is made anew.
OPENED = 2


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    """The usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CLIENTS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(120)
def test_a_thousand_clients_come_back_at_once() -> None:
    """F34, F38: each call is stored once, each script sent once a client at most, and nobody knocks in a circle."""
    with Server("--appendonly", "yes", "--maxclients", "4000") as server:
        clients = [Quaff(server.url, namespace="crowd", deadline=DEADLINE) for _ in range(CLIENTS)]
        for quaff in clients:
            quaff.task(name="work")(lambda number: number)

        async def all_at_once(number: int) -> list[Job[int]]:
            return await asyncio.gather(*(quaff.tasks["work"].adelay(number) for quaff in clients))

        async def meet() -> tuple[list[Job[int]], float]:
            first = await all_at_once(1)
            server.kill()
            second = asyncio.create_task(all_at_once(2))
            await asyncio.sleep(AWAY)
            await asyncio.to_thread(server.start)
            back = time.monotonic()
            jobs = first + await second
            took = time.monotonic() - back
            for quaff in clients:
                await (await quaff.store.endpoint.async_pool(5)).disconnect()
            return jobs, took

        jobs, took = asyncio.run(meet())
        said, calls = server.redis.info("stats"), server.redis.info("commandstats")
        print(f"{took:.1f} s; connections {said['total_connections_received']}")
        assert took < DEADLINE / 2
        assert len({job.id for job in jobs}) == 2 * CLIENTS
        assert clients[0].queue("default").stats().queued == 2 * CLIENTS
        assert said["total_connections_received"] < OPENED * CLIENTS
        assert calls["cmdstat_script|load"]["calls"] <= CLIENTS
        assert not {"cmdstat_keys", "cmdstat_scan", "cmdstat_script|flush"} & calls.keys()
        clients[0].store.endpoint.pool().disconnect()
