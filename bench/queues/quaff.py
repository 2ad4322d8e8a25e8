"""Quaff itself, with its default settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.queues import URL, program
from bench.tasks import BODIES, name_of
from quaff import Concurrency, Quaff, RateLimit, Unique

TITLE = "Quaff"
PACKAGES = ("quaff", "msgspec")
SETTINGS = "quaff worker -p N -c 8, all defaults"
GUARANTEE = "again, as soon as the supervisor sees the death, or when the lease of 30 s has lapsed"
REDELIVERS = True
SLOTS = {"sync": 8, "async": 100}
IMPORT = "import quaff"

app = Quaff(url=URL)
TASKS: dict[str, Any] = {
    name_of(kind, name): app.task(body, name=name_of(kind, name))
    for kind, bodies in BODIES.items()
    for name, body in bodies.items()
}
#: No-ops that wish for more than the end of the one line.
FEATURES: dict[str, Any] = {
    "priority": {"priority": 5},
    "unique": {"unique": Unique()},
    "fair_10": {"fair_by": lambda number: number % 10},
    "fair_10000": {"fair_by": lambda number: number % 10_000},
    "concurrency": {"concurrency": Concurrency(1_000_000)},
    "rate": {"rate": RateLimit(1_000_000, per=0.001, burst=1_000_000)},
}
TASKS |= {name: app.task(BODIES["sync"]["noop"], name=name, **wish) for name, wish in FEATURES.items()}


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[program("quaff"), "worker", "-A", "bench.queues.quaff:app", "-p", str(processes), "-c", "8"]]


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> None:
    TASKS[name_of(kind, task)].delay(*args)


def batch(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    send = TASKS[name_of(kind, task)].delay
    with app.batch():
        for call in calls:
            send(*call)


def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    TASKS[name_of(kind, task)].map(calls)


def ask(kind: str, task: str, args: tuple[Any, ...]) -> Any:
    return TASKS[name_of(kind, task)].delay(*args).result(timeout=10)
