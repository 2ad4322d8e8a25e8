"""BullMQ for Python, which has no way to wait for a result."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from bullmq import Queue, Worker

from bench.queues import URL
from bench.tasks import BODIES

TITLE = "BullMQ (Python)"
PACKAGES = ("bullmq",)
SETTINGS = "concurrency=100, all defaults; two programs for two; no way to wait for a result"
GUARANTEE = "again, when its lock has lapsed (30 s)"
REDELIVERS = True
SLOTS = {"async": 100}
IMPORT = "import bullmq"

queue: Any = None


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[sys.executable, "-m", "bench.queues.bullmq"]] * processes


async def connect() -> None:
    global queue  # noqa: PLW0603
    queue = Queue("bench", {"connection": URL})


async def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> None:
    await queue.add(task, args)


async def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    await queue.addBulk([{"name": task, "data": args} for args in calls])


async def run(job: Any, token: str) -> Any:
    return await BODIES["async"][job.name](*job.data)


async def serve() -> None:
    await Worker("bench", run, {"connection": URL, "concurrency": 100, "autorun": False}).run()


if __name__ == "__main__":
    asyncio.run(serve())
