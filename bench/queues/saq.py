"""SAQ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from saq import Queue

from bench.queues import URL, program
from bench.tasks import BODIES

TITLE = "SAQ"
PACKAGES = ("saq",)
SETTINGS = "concurrency=100, --workers N, retries=3; many: 50 at once; results asked for every 10 ms"
GUARANTEE = "again, when somebody sweeps (60 s) and its timeout is over (10 s)"
REDELIVERS = True
SLOTS = {"async": 100}
IMPORT = "import saq"

queue = Queue.from_url(URL, name="bench")


def with_arguments(name: str, body: Any) -> tuple[str, Any]:
    async def run(context: Any, *, args: Any) -> Any:
        return await body(*args)

    return name, run


settings = {
    "queue": queue,
    "functions": [with_arguments(name, body) for name, body in BODIES["async"].items()],
    "concurrency": 100,
}


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[program("saq"), "-q", "bench.queues.saq.settings", "--workers", str(processes)]]


async def connect() -> None:
    await queue.connect()


async def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> None:
    await queue.enqueue(task, args=args, retries=3)


async def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    for at in range(0, len(calls), 50):
        await asyncio.gather(*(enqueue(kind, task, args) for args in calls[at : at + 50]))


async def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await queue.apply(task, timeout=10, poll_interval=0.01, args=args, retries=3)
