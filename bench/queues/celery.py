"""Celery, a process for each core, messages acknowledged when their task has ended."""

from __future__ import annotations

from typing import Any

from celery import Celery

from bench.queues import RESULTS, URL, program
from bench.tasks import BODIES

TITLE = "Celery"
PACKAGES = ("celery", "kombu")
SETTINGS = "-P prefork -c N, acks_late, reject_on_worker_lost, prefetch-multiplier 64, no gossip or mingle"
GUARANTEE = "again, after the visibility timeout (1 h)"
REDELIVERS = True
SLOTS = {"sync": 1}
IMPORT = "import celery; celery.Celery"

app = Celery("bench", broker=URL, backend=URL if RESULTS else None)
app.conf.update(
    worker_prefetch_multiplier=64,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(body, name=name) for name, body in BODIES["sync"].items()}


def worker(processes: int, kind: str) -> list[list[str]]:
    quiet = ["-l", "WARNING", "--without-gossip", "--without-mingle"]
    return [[program("celery"), "-A", "bench.queues.celery", "worker", *quiet, "-P", "prefork", "-c", str(processes)]]


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return TASKS[task].apply_async(args)


def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return enqueue(kind, task, args).get(timeout=10)
