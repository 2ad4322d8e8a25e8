"""taskiq on streams."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.queues import RESULTS, URL, program
from bench.tasks import BODIES

TITLE = "taskiq (stream)"
PACKAGES = ("taskiq", "taskiq-redis", "uvloop")
SETTINGS = (
    "RedisStreamBroker, --workers N --max-async-tasks 100, uvloop; results only where they are asked for, every 10 ms; "
    "many: 50 at once"
)
GUARANTEE = "again, after 600 s and once another message arrives"
REDELIVERS = True
SLOTS = {"async": 100}
IMPORT = "import taskiq, taskiq_redis"

# From the first message: by default a new group passes over what was sent before it.
broker: Any = RedisStreamBroker(URL, consumer_id="0")
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL))
TASKS = {name: broker.task(task_name=name)(body) for name, body in BODIES["async"].items()}


def worker(processes: int, kind: str) -> list[list[str]]:
    size = ["--workers", str(processes), "--max-async-tasks", "100", "--log-level", "WARNING"]
    return [[program("taskiq"), "worker", "bench.queues.taskiq:broker", *size]]


async def connect() -> None:
    await broker.startup()


async def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await TASKS[task].kiq(*args)


async def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    for at in range(0, len(calls), 50):
        await asyncio.gather(*(enqueue(kind, task, args) for args in calls[at : at + 50]))


async def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await (await enqueue(kind, task, args)).wait_result(check_interval=0.01, timeout=10)
