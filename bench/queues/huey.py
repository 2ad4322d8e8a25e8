"""Huey with threads and blocking reads."""

from __future__ import annotations

from typing import Any

from huey import RedisHuey

from bench.queues import URL, program
from bench.tasks import BODIES

TITLE = "Huey"
PACKAGES = ("huey",)
SETTINGS = "-k thread -w 8, blocking; two consumers for two"
GUARANTEE = "lost, if it was running"
REDELIVERS = False
SLOTS = {"sync": 8}
IMPORT = "import huey"

huey = RedisHuey("bench", url=URL)
TASKS = {name: huey.task(name=name)(body) for name, body in BODIES["sync"].items()}


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[program("huey_consumer"), "bench.queues.huey.huey", "-q", "-k", "thread", "-w", "8"]] * processes


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return TASKS[task](*args)


def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return enqueue(kind, task, args).get(blocking=True, timeout=10)
