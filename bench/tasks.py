"""What the jobs do; the same functions under every queue. Standard library only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bench.slots import mine

SLEEP = 0.010  # seconds
SPIN = 0.001  # seconds of processor time, so that a busy machine does not make the work less
PAYLOAD = "x" * 1024


def noop(number: int) -> None:
    """All that is left is the queue."""
    mine().began(number)


def echo(number: int, payload: str) -> str:
    """A KiB there and back."""
    mine().began(number)
    return payload


def sleep(number: int) -> None:
    """As a job that waits for somebody else."""
    mine().began(number)
    time.sleep(SLEEP)
    mine().ended(number)


def spin(number: int) -> None:
    """As a job that computes."""
    mine().began(number)
    until = time.thread_time() + SPIN
    while time.thread_time() < until:
        pass
    mine().ended(number)


async def anoop(number: int) -> None:
    """As ``noop``, in a coroutine."""
    mine().began(number)


async def aecho(number: int, payload: str) -> str:
    """As ``echo``, in a coroutine."""
    mine().began(number)
    return payload


async def asleep(number: int) -> None:
    """As ``sleep``, in a coroutine."""
    mine().began(number)
    await asyncio.sleep(SLEEP)
    mine().ended(number)


async def aspin(number: int) -> None:
    """As ``spin``, in a coroutine."""
    spin(number)


#: By the kind of a task and its name: what each queue registers, by these names and in the kinds that it has.
BODIES: dict[str, dict[str, Callable[..., Any]]] = {
    "sync": {"noop": noop, "echo": echo, "sleep": sleep, "spin": spin},
    "async": {"noop": anoop, "echo": aecho, "sleep": asleep, "spin": aspin},
}


def arguments(task: str, number: int) -> tuple[Any, ...]:
    """What one job is called with."""
    return (number, PAYLOAD) if task == "echo" else (number,)


def name_of(kind: str, task: str) -> str:
    """What a queue that has both kinds calls a task."""
    return task if kind == "sync" else f"a{task}"
