"""arq."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from arq import create_pool, func
from arq.connections import RedisSettings

from bench.queues import URL, program
from bench.tasks import BODIES

TITLE = "arq"
PACKAGES = ("arq",)
SETTINGS = "max_jobs=100, poll_delay=0.5 (default); many: 50 at once; results asked for every 10 ms"
GUARANTEE = "again, when its timeout and ten seconds are over (310 s)"
REDELIVERS = True
SLOTS = {"async": 100}
IMPORT = "import arq"

pool: Any = None


def without_context(body: Any) -> Any:
    async def run(context: Any, *args: Any) -> Any:
        return await body(*args)

    return run


class WorkerSettings:
    functions = [func(without_context(body), name=name) for name, body in BODIES["async"].items()]  # noqa: RUF012
    redis_settings = RedisSettings.from_dsn(URL)
    max_jobs = 100
    log_results = False


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[program("arq"), "bench.queues.arq.WorkerSettings"]] * processes


async def connect() -> None:
    global pool  # noqa: PLW0603
    pool = await create_pool(RedisSettings.from_dsn(URL))


async def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await pool.enqueue_job(task, *args)


async def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    for at in range(0, len(calls), 50):
        await asyncio.gather(*(enqueue(kind, task, args) for args in calls[at : at + 50]))


async def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await (await enqueue(kind, task, args)).result(timeout=10, poll_delay=0.01)
