"""docket."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from docket import Docket

from bench.queues import URL, program
from bench.tasks import BODIES

TITLE = "docket"
PACKAGES = ("pydocket",)
SETTINGS = "--concurrency 50 (with 100 its pool of connections runs out and jobs hang)"
GUARANTEE = "again, after 300 s"
REDELIVERS = True
SLOTS = {"async": 50}
IMPORT = "import docket"

app = Docket("bench", url=URL)
tasks = list(BODIES["async"].values())


def worker(processes: int, kind: str) -> list[list[str]]:
    command = [program("docket"), "worker", "--docket", "bench", "--url", URL, "--tasks", "bench.queues.docket:tasks"]
    return [
        [*command, "--logging-level", "WARNING", "--concurrency", "50", "--name", f"w{number}"]
        for number in range(processes)
    ]


async def connect() -> None:
    await app.__aenter__()
    for body in tasks:
        app.register(body)


async def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await app.add(BODIES[kind][task])(*args)


async def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    await app.add_many([app.call(BODIES[kind][task])(*args) for args in calls])


async def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return await (await enqueue(kind, task, args)).get_result(timeout=datetime.timedelta(seconds=10))
