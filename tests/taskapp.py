"""The application of test_task.py and test_job.py: tasks that behave, and give back what they got."""

from __future__ import annotations

import datetime as dt
import enum
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec

from quaff import Quaff
from tests import helpers
from tests.helpers import Program
from tests.matrix import WORKER, known_as, plain

ROOT = Path(__file__).parent.parent
quaff = Quaff()


class Colour(enum.Enum):
    """An Enum."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    """A dataclass with parts that MessagePack has no form for."""

    x: int
    at: dt.datetime
    price: Decimal


class Order(msgspec.Struct, frozen=True):
    """A Struct that holds instances of other classes."""

    id: UUID
    colours: tuple[Colour, ...]
    where: Point


class Mishap(Exception):
    """An exception of the user's own, which does something when it is made."""

    made = 0

    def __init__(self, message: str) -> None:
        super().__init__(message)
        Mishap.made += 1


@quaff.task
def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


@quaff.task
async def aadd(a: int, b: int = 0) -> int:
    """Add, in the event loop."""
    return a + b


@quaff.task
def echo(value):  # type: ignore[no-untyped-def]  # a task without any hints
    """Give back what came, with the name of its type as the task saw it."""
    return [type(value).__qualname__, value]


@quaff.task
def give(value: Any = None) -> Any:
    """Give back what came."""
    return value


@quaff.task
def ship(order: Order, colour: Colour, *more: Point, urgent: bool = False, **colours: Colour) -> tuple[str, Order]:
    """Give back an order, and what the task saw of all that came with it."""
    return repr((order, colour, more, urgent, colours)), order


@quaff.task
def fail(message: str) -> None:
    """Raise."""
    raise Mishap(message)


@quaff.task
async def afail(message: str) -> None:
    """Raise, in the event loop."""
    raise Mishap(message)


@quaff.task(result_ttl=0)
def forgotten() -> int:
    """Give a result that is not kept."""
    return 1


@quaff.task(result_ttl=dt.timedelta(milliseconds=300))
def brief() -> int:
    """Give a result that is kept for a moment."""
    return 1


@quaff.task
def hold(path: str) -> str:
    """Wait until there is a file."""
    while not Path(path).exists():
        time.sleep(0.005)
    return "held"


@contextmanager
def served(url: str) -> Iterator[Program]:
    """A worker of this application on that server, in a namespace of its own; so does this process."""
    namespace = f"t{uuid4().hex[:12]}"
    quaff.override(url=url, namespace=namespace)
    env = {"QUAFF_URL": known_as(WORKER, url), "QUAFF_NAMESPACE": namespace}
    worker = helpers.start_worker("tests.taskapp:quaff", "-p", "1", "-c", "4", cwd=ROOT, env=env)
    yield worker
    worker.end()
    quaff.store.endpoint.pool().disconnect()


@contextmanager
def twin(url: str, namespace: str) -> Iterator[Quaff]:
    """Another application with the same tasks, which no worker serves."""
    other = Quaff(url, namespace=namespace)
    for task in quaff.tasks.values():
        other.task(task.fn, name=task.name)
    yield other
    other.store.endpoint.pool().disconnect()


def own(app: Quaff, name: str) -> Any:
    """A task of an application by the name of its function."""
    return app.tasks[f"tests.taskapp.{name}"]


def stored(app: Quaff) -> list[bytes]:
    """The jobs that the server has of an application, in any queue; AssertionError if it has anything else alone."""
    settings = app.settings
    raw = plain(settings.url)
    keys = list(raw.scan_iter(f"quaff:{{{settings.namespace}/*", count=10_000))
    jobs: list[bytes] = [job for key in keys if key.endswith(b":msg") for job in raw.hkeys(key)]
    assert bool(keys) == bool(jobs), keys
    return jobs
