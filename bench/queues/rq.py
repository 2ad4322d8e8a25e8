"""RQ, without a fork for each job, which doubles its rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from rq import Queue, Retry

from bench.queues import RESULTS, URL, program
from bench.tasks import BODIES

TITLE = "RQ"
PACKAGES = ("rq",)
SETTINGS = "rq.SimpleWorker (the default, a fork for each job, is half as fast), worker-pool for two; Retry(max=3)"
GUARANTEE = "marked as failed when a worker looks; run again within seven minutes in none of our trials"
REDELIVERS = False
SLOTS = {"sync": 1}
IMPORT = "import rq"
GAP = 0.05

queue = Queue("bench", connection=redis.Redis.from_url(URL))
KEEP: dict[str, Any] = {"retry": Retry(max=3), "result_ttl": 500 if RESULTS else 0}


def worker(processes: int, kind: str) -> list[list[str]]:
    command = ["worker"] if processes == 1 else ["worker-pool", "-n", str(processes)]
    return [[program("rq"), *command, "-q", "-w", "rq.SimpleWorker", "-u", URL, "bench"]]


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return queue.enqueue_call(BODIES[kind][task], args=args, **KEEP)


def batch(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    with queue.connection.pipeline() as pipe:
        for args in calls:
            queue.enqueue_call(BODIES[kind][task], args=args, pipeline=pipe, **KEEP)
        pipe.execute()


def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    queue.enqueue_many([Queue.prepare_data(BODIES[kind][task], args=args, **KEEP) for args in calls])


def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return enqueue(kind, task, args).latest_result(timeout=10).return_value
