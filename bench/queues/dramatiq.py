"""Dramatiq with its default middleware."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.queues import RESULTS, URL, program
from bench.tasks import BODIES

TITLE = "Dramatiq"
PACKAGES = ("dramatiq",)
SETTINGS = "-p N -t 8, default middleware; results only where they are asked for"
GUARANTEE = "again, when the heartbeat of its worker has lapsed (60 s)"
REDELIVERS = True
SLOTS = {"sync": 8}
IMPORT = "import dramatiq; from dramatiq.brokers.redis import RedisBroker"

broker = RedisBroker(url=URL)
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)
TASKS = {
    name: dramatiq.actor(body, **({"store_results": True} if RESULTS else {})) for name, body in BODIES["sync"].items()
}


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[program("dramatiq"), "bench.queues.dramatiq", "-p", str(processes), "-t", "8", "--skip-logging"]]


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return TASKS[task].send(*args)


def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return enqueue(kind, task, args).get_result(block=True, timeout=10_000)
