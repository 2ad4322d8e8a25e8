"""What a producer does: ``python -m bench.driver MODULE WHAT [ARGUMENTS]``, run by the queue's own interpreter.

Prints one line of JSON. Standard library only, less the queue itself. What a module has is said in queues/__init__.py.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.tasks import arguments

BULK = 500  # jobs in a batch block and in a bulk call
WARM = 50  # jobs that are sent before the clock starts: connections, scripts, what is imported late
ASKING = 3.0  # seconds at most for the calls whose results are waited for


async def _done(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def fill(queue: Any, kind: str, task: str, jobs: str) -> dict[str, float]:
    """So many jobs, as fast as the queue can."""
    began, count = time.perf_counter(), int(jobs)
    if hasattr(queue, "bulk"):
        for at in range(0, count, BULK):
            await _done(queue.bulk(kind, task, [arguments(task, each) for each in range(at, min(count, at + BULK))]))
    else:
        for each in range(count):
            await _done(queue.enqueue(kind, task, arguments(task, each)))
    return {"seconds": time.perf_counter() - began}


async def enqueue(queue: Any, kind: str, seconds: str) -> dict[str, float]:
    """Rates of the ways to send a no-op: ``one``, and where there are such ``batch`` and ``bulk``."""
    found: dict[str, float] = {}
    for name, attribute, step in (("one", "enqueue", 1), ("batch", "batch", BULK), ("bulk", "bulk", BULK)):
        if send := getattr(queue, attribute, None):
            rate, used = await _rate(send, kind, step, float(seconds))
            found |= {name: rate, f"{name}_us": used}
    return found


async def _rate(send: Callable[..., Any], kind: str, step: int, seconds: float) -> tuple[float, float]:
    """Jobs a second, and processor time in microseconds a job."""

    def given(number: int) -> Any:
        return (number,) if step == 1 else [(each,) for each in range(number, number + step)]

    for number in range(max(1, WARM // step)):
        await _done(send(kind, "noop", given(number)))
    # Whether it must be awaited is asked once, not for each job: a bare call is what others are compared with.
    waits, number = inspect.iscoroutinefunction(send), 0
    used, began = time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        if waits:
            await send(kind, "noop", given(number))
        else:
            send(kind, "noop", given(number))
        number += step
    return number / (time.perf_counter() - began), (time.process_time() - used) / number * 1e6


async def latency(queue: Any, kind: str, jobs: str, gap: str) -> dict[str, Any]:
    """No-ops at random times, ``gap`` seconds apart on average; when each call began, in nanoseconds since 1970.

    Nobody waits for an answer before the next one is sent, so one that hangs does not hide those behind it.
    """
    chance, sent, took, due = random.Random(7), [], [], time.perf_counter()
    for number in range(int(jobs)):
        due += chance.expovariate(1 / float(gap))
        await asyncio.sleep(max(0.001, due - time.perf_counter()))
        began = time.time_ns()
        await _done(queue.enqueue(kind, "noop", (number,)))
        took.append(time.time_ns() - began)
        sent.append(began)
    return {"sent": sent, "took": took}


async def ask(queue: Any, kind: str, jobs: str, gap: str) -> dict[str, Any]:
    """Milliseconds from before a call until its result is there, one after the other."""
    chance, took, until = random.Random(7), [], time.perf_counter() + ASKING
    for number in range(int(jobs)):
        await asyncio.sleep(chance.expovariate(1 / float(gap)))
        began = time.perf_counter()
        await _done(queue.ask(kind, "echo", arguments("echo", number)))
        took.append((time.perf_counter() - began) * 1000)
        if time.perf_counter() > until:
            break
    return {"took": took}


def describe(queue: Any, processes: str, kind: str) -> dict[str, Any]:
    """What is said of a queue, and how its worker is started."""
    found: dict[str, str] = {}
    for package in (*queue.PACKAGES, "redis", "hiredis"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass  # streaQ has another client
    return {
        "title": queue.TITLE,
        "settings": queue.SETTINGS,
        "guarantee": queue.GUARANTEE,
        "redelivers": queue.REDELIVERS,
        "slots": queue.SLOTS,
        "gap": getattr(queue, "GAP", 0.015),
        "floor_of": getattr(queue, "FLOOR_OF", None),
        "asks": hasattr(queue, "ask"),
        "imports": queue.IMPORT,
        "versions": found,
        "worker": queue.worker(int(processes), kind),
    }


async def _run(queue: Any, what: str, *given: str) -> dict[str, Any]:
    if hasattr(queue, "connect"):
        await _done(queue.connect())
    actions: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "fill": fill,
        "enqueue": enqueue,
        "latency": latency,
        "ask": ask,
    }
    return await actions[what](queue, *given)


def main(module: str, what: str, *given: str) -> None:
    """One action of one queue."""
    queue = importlib.import_module(f"bench.queues.{module}")
    found = describe(queue, *given) if what == "describe" else asyncio.run(_run(queue, what, *given))
    print(json.dumps(found), flush=True)
    os._exit(0)  # some clients hang in their own end, of which we measure nothing


if __name__ == "__main__":
    main(*sys.argv[1:])
