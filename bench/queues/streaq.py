"""streaQ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streaq import Worker

from bench.queues import URL, program
from bench.tasks import BODIES

TITLE = "streaQ"
PACKAGES = ("streaq", "coredis")
SETTINGS = "concurrency=100, -w N"
GUARANTEE = "again, when its worker was silent for 60 s"
REDELIVERS = True
SLOTS = {"async": 100}
IMPORT = "import streaq"

app = Worker(redis_url=URL, concurrency=100)
TASKS: dict[str, Any] = {name: app.task(name=name)(body) for name, body in BODIES["async"].items()}


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[program("streaq"), "run", "bench.queues.streaq:app", "-w", str(processes)]]


async def connect() -> None:
    await app.__aenter__()


async def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await TASKS[task].enqueue(*args)


async def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    await app.enqueue_many([TASKS[task].enqueue(*args) for args in calls])


async def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await (await enqueue(kind, task, args)).result(timeout=10)
