"""What Python itself gives: calls are fetched beforehand and run by as many threads or coroutines as Quaff has.

The ideal for jobs that sleep and jobs that compute, on this machine and in this round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis
import uvloop

from bench.queues import URL
from bench.slots import mine
from bench.tasks import BODIES

TITLE = "Python alone"
PACKAGES = ()
SETTINGS = "everything fetched beforehand, then 8 threads or 100 coroutines"
GUARANTEE = "none"
REDELIVERS = False
SLOTS = {"sync": 8, "async": 100}
IMPORT = "import threading, asyncio"
FLOOR_OF = ("sleep", "spin")

client: Any = redis.Redis.from_url(URL)


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[sys.executable, "-m", "bench.queues.bare_python", str(processes), kind]] * processes


def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    client.rpush("calls", *(json.dumps([task, call]) for call in calls))


def fetch(processes: int) -> deque[tuple[str, list[Any]]]:
    """This process's share."""
    share = -(-(mine().places + 1) // processes)  # the drain sends one more than it counts
    return deque(tuple(json.loads(each)) for each in client.lpop("calls", share) or ())


def in_threads(calls: deque[tuple[str, list[Any]]]) -> None:
    """All of them."""

    def run() -> None:
        while True:
            try:
                task, args = calls.popleft()
            except IndexError:
                return
            BODIES["sync"][task](*args)

    for _ in range(SLOTS["sync"]):
        threading.Thread(target=run).start()


async def in_coroutines(calls: deque[tuple[str, list[Any]]]) -> None:
    """All of them."""

    async def run() -> None:
        while calls:
            task, args = calls.popleft()
            await BODIES["async"][task](*args)

    await asyncio.gather(*(run() for _ in range(SLOTS["async"])))


if __name__ == "__main__":
    found = fetch(int(sys.argv[1]))
    in_threads(found) if sys.argv[2] == "sync" else uvloop.run(in_coroutines(found))
    threading.Event().wait()  # until killed: what this process used is read after its last call
