"""What the tests of streams have their workers run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from quaff import Quaff, SoftTimeout, current_job

quaff = Quaff()


@dataclass(frozen=True)
class Point:
    """What comes back only by a hint."""

    x: int
    y: int


def wait_for(gate: str) -> None:
    """Until there is such a file."""
    while not Path(gate).exists():
        time.sleep(0.005)


@quaff.task(name="numbers")
def numbers(count: int, gate: str = "", at: int = -1) -> Generator[int, None, str]:
    """Numbers; before one of them it waits for a file."""
    for number in range(count):
        if number == at:
            wait_for(gate)
        yield number
    return f"{count} numbers"


@quaff.task(name="anumbers")
async def anumbers(count: int, gate: str = "", at: int = -1) -> AsyncIterator[int]:
    """The same as a coroutine."""
    for number in range(count):
        if number == at:
            await asyncio.to_thread(wait_for, gate)
        yield number


@quaff.task(name="points")
def points() -> Generator[Point, None, list[Point]]:
    """Instances of a class, and some as the result."""
    yield Point(1, 2)
    yield Point(3, 4)
    return [Point(5, 6)]


@quaff.task(name="apoints")
async def apoints() -> AsyncGenerator[Point, None]:
    """The same as a coroutine."""
    yield Point(1, 2)
    yield Point(3, 4)


@quaff.task(name="large")
def large(count: int, size: int) -> Iterator[bytes]:
    """Values of some size."""
    for number in range(count):
        yield number.to_bytes(4, "big") * (size // 4)


@quaff.task(name="fails")
def fails(count: int) -> Iterator[int]:
    """Half-way."""
    yield from range(count)
    raise ValueError("half-way")


@quaff.task(name="twice", retries=1, backoff=0.05)
def twice(count: int, gate: str) -> Iterator[tuple[int, int]]:
    """Fails after some values, when there is a file, then gives fewer."""
    attempt = current_job.attempt
    for number in range(count if attempt == 1 else count - 1):
        yield attempt, number
    if attempt == 1:
        wait_for(gate)
        raise ValueError("once")


@quaff.task(name="crashing")
def crashing(gate: str) -> Iterator[int]:
    """Waits after the first value."""
    yield current_job.attempt
    wait_for(gate)
    yield -1


@quaff.task(name="bad")
def bad(how: str) -> Iterator[object]:
    """Yields what cannot be sent."""
    yield "fine"
    yield object() if how == "object" else b"x" * 2_000_000


@quaff.task(name="unkept", result_ttl=0)
def unkept() -> Iterator[int]:
    """Nothing of it is kept."""
    yield 1


@quaff.task(name="endless", timeout=20)
def endless(mark: str) -> Iterator[int]:
    """Until it is stopped, which it notes."""
    number = 0
    try:
        while True:
            yield number
            number += 1
            time.sleep(0.005)
    finally:
        Path(mark).touch()


@quaff.task(name="aendless", timeout=20)
async def aendless(mark: str) -> AsyncIterator[int]:
    """As a coroutine; it cleans up with an await."""
    number = 0
    try:
        while True:
            yield number
            number += 1
            await asyncio.sleep(0.005)
    finally:
        await asyncio.to_thread(Path(mark).touch)


@quaff.task(name="soft", soft_timeout=0.3, timeout=20)
def soft() -> Iterator[int | str]:
    """Is told that time is up, and has a last word."""
    try:
        while True:
            yield 1
            time.sleep(0.001)
    except SoftTimeout:
        yield "time is up"


@quaff.task(name="asoft", soft_timeout=0.3, timeout=20)
async def asoft() -> AsyncIterator[int | str]:
    """As a coroutine that never waits by itself."""
    try:
        while True:
            yield 1
    except SoftTimeout:
        yield "time is up"


def _lazy() -> Iterator[int]:
    yield 1


@quaff.task(name="plain")
def plain() -> Iterator[int]:
    """No generator, but a function that gives one back."""
    return _lazy()
