"""What the tests of steps, signals and iterations have their workers run. The ledger is outside the server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from quaff import Batch, Quaff, Retry, SignalTimeout, Snooze, current_job
from tests.chaos import ledger

quaff = Quaff()


@dataclass
class Receipt:
    """What a step may give."""

    order: int
    paid: float


def noted(tag: str) -> int:
    """A step that leaves a line; the attempt's number."""
    with ledger.run(tag):
        return current_job.attempt


def pay(order: int, *, amount: float) -> Receipt:
    """Gives an instance of a class."""
    noted(f"pay {order}")
    return Receipt(order, amount)


async def apay(order: int, *, amount: float) -> Receipt:
    """The same as a coroutine."""
    return pay(order, amount=amount)


def opened(gate: str) -> None:
    """Until there is such a file."""
    while not Path(gate).exists():
        time.sleep(0.01)


def die(folder: str, moment: str) -> None:
    """End this process by SIGKILL, once for each name."""
    try:
        Path(folder, moment).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), 9)


@quaff.task(name="thirty")
def thirty(folder: str) -> list[int]:
    """Thirty steps; the process dies before, in the middle of, or after each."""

    def one(number: int) -> int:
        if number % 3 == 1:
            die(folder, f"in {number}")
        return noted(f"step {number}") * 0 + number

    values = []
    for number in range(30):
        if number % 3 == 0:
            die(folder, f"before {number}")
        values.append(current_job.step(f"step {number}", one, number))
        if number % 3 == 2:
            die(folder, f"after {number}")
    return values


@quaff.task(name="athirty")
async def athirty(folder: str) -> list[int]:
    """The same as a coroutine, ten at a time."""

    async def one(number: int) -> int:
        await asyncio.sleep(0)
        return noted(f"step {number}") * 0 + number

    values: list[int] = []
    for ten in range(3):
        calls = [current_job.astep(f"step {n}", one, n) for n in range(10 * ten, 10 * ten + 10)]
        values += await asyncio.gather(*calls)
        die(folder, f"after {ten}")
    return values


@quaff.task(name="typed", retries=1, backoff=0)
def typed() -> list[str]:
    """What a step gives, the first time and the second."""
    receipt = current_job.step("pay", pay, 7, amount=1.5)
    assert receipt == Receipt(7, 1.5)
    if current_job.attempt == 1:
        raise Retry(in_=0.01)
    return [type(receipt).__name__, repr(current_job.step("none", lambda: None))]


@quaff.task(name="atyped", retries=1, backoff=0)
async def atyped() -> list[str]:
    """The same as a coroutine, of a coroutine function and of a plain one."""
    receipt = await current_job.astep("pay", apay, 7, amount=1.5)
    again = await current_job.astep("pay again", pay, 8, amount=2.5)
    if current_job.attempt == 1:
        raise Retry(in_=0.01)
    return [type(receipt).__name__, type(again).__name__]


@quaff.task(name="checkout")
async def checkout(order: int, *, amount: float) -> Receipt:
    """A task that is called as a function."""
    return Receipt(order, amount)


@quaff.task(name="calls", retries=1, backoff=0)
async def calls() -> list[str]:
    """Steps that are a task, a method, a partial and a lambda."""
    values = [
        await current_job.astep("task", checkout, 7, amount=1.5),
        await current_job.astep("method", "{}-{}".format, 1, 2),
        await current_job.astep("partial", partial(pay, 8, amount=1.0)),
        await current_job.astep("lambda", lambda: (1, 2)),
    ]
    if current_job.attempt == 1:
        raise Retry(in_=0.01)
    return [repr(value) for value in values]


@quaff.task(name="wrong")
def wrong(how: str) -> Any:
    """Uses steps as they are not meant."""

    async def coroutine() -> int:
        return 1

    match how:
        case "twice":
            current_job.step("charge", noted, "a")
            current_job.step("charge", noted, "b")
        case "unencodable":
            current_job.step("charge", object)
        case "large":
            current_job.step("charge", bytes, 2_000_000)
        case "together":
            for number in range(5):
                current_job.step(f"part {number}", bytes, 300_000)
        case "many":
            for number in range(1001):
                current_job.step(f"step {number}", int)
        case "name":
            current_job.step("", int)
        case "coroutine":
            current_job.step("charge", coroutine)
        case "inside":
            for _ in current_job.iterate([1, 2]):
                current_job.sleep(0.01)
        case "cursor":
            for _ in current_job.iterate(range(3), key=lambda item: "x" * 5000):
                pass
        case "kind":
            if current_job.attempt == 1:
                current_job.step("charge", int)
                raise Retry(in_=0.01)
            current_job.sleep(0.01, name="charge")
        case "called":
            current_job.step("charge", 0)  # type: ignore[arg-type]
        case "set":
            for _ in current_job.iterate({"a", "b"}):
                pass
        case "no time":
            current_job.sleep(-1)


@quaff.task(name="awrong")
async def awrong() -> None:
    """Would hold up the loop."""
    current_job.step("charge", int)


@quaff.task(name="together", queue="together", batch=Batch(5, within=0.05))
def together(calls: list[tuple[int]]) -> None:
    """There is no one job whose step it would be."""
    current_job.step("charge", int)


@quaff.task(name="resumes")
def resumes(gate: str) -> int:
    """Three steps; the third needs a file."""

    def third() -> int:
        if not Path(gate).exists():
            raise ValueError("no gate")
        return noted("third")

    current_job.step("first", noted, "first")
    current_job.step("second", noted, "second")
    return current_job.step("third", third)


@quaff.task(name="gated")
def gated(gate: str) -> int:
    """Waits for a file between two steps."""
    current_job.step("first", noted, "first")
    noted("begun")
    opened(gate)
    current_job.step("second", noted, "second")
    return noted("end")


@quaff.task(name="agated")
async def agated(gate: str) -> int:
    """The same as a coroutine."""
    await current_job.astep("first", noted, "first")
    noted("begun")
    await asyncio.to_thread(opened, gate)
    await current_job.astep("second", noted, "second")
    return noted("end")


@quaff.task(name="sleeps")
def sleeps(seconds: float, times: int = 1) -> list[int]:
    """Sleeps, with steps between."""
    attempts = []
    for number in range(times):
        attempts.append(current_job.step(f"step {number}", noted, f"before {number}"))
        current_job.sleep(seconds)
    noted("after")
    return attempts


@quaff.task(name="asleeps")
async def asleeps(seconds: float) -> int:
    """The same as a coroutine."""
    await current_job.astep("before", noted, "before")
    await current_job.asleep(seconds, name="cool down")
    return noted("after")


@quaff.task(name="waits")
def waits(*signals: str, timeout: float | None = None) -> list[Any]:
    """Waits for signals, one after the other."""
    noted("run")
    return [current_job.wait_for(signal, timeout) for signal in signals]


@quaff.task(name="awaits")
async def awaits(*signals: str, timeout: float | None = None) -> list[Any]:
    """The same as a coroutine."""
    noted("run")
    return [await current_job.await_for(signal, timeout) for signal in signals]


@quaff.task(name="moves")
def moves() -> str:
    """Goes to another queue, and waits there."""
    if current_job.queue == "default":
        raise Retry(in_=0.01, queue="looks")
    return current_job.wait_for("approved", type=str) + f" in {current_job.queue}"


@quaff.task(name="late", retries=1, backoff=0)
def late(timeout: float) -> str:
    """Gets no signal, in both attempts."""
    try:
        current_job.wait_for("approved", timeout)
    except SignalTimeout as error:
        if current_job.attempt == 1:
            raise Retry(in_=0.01) from error
        return str(error)
    return "approved"


@quaff.task(name="receipts")
def receipts() -> list[str]:
    """Wants a type."""
    receipt = current_job.wait_for("paid", type=Receipt)
    return [type(receipt).__name__, str(receipt.order)]


@quaff.task(name="looks", queue="looks")
def looks(gate: str) -> Any:
    """Is busy until there is a file, and then wants a signal."""
    noted("busy")
    opened(gate)
    return current_job.wait_for("approved")


@quaff.task(name="swallows")
def swallows(how: str) -> str:
    """Catches more than it should."""
    noted("run")
    try:
        current_job.sleep(0.05)
    except Exception:  # noqa: BLE001
        return "caught by Exception"
    except BaseException:  # noqa: BLE001
        if how == "raise":
            raise ValueError(how) from None
        if how == "step":
            current_job.step("later", noted, "later")
    return "slept"


class Numbers:
    """An iterable that is no sequence, and an async one; it has a length."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    async def __aiter__(self) -> AsyncIterator[int]:
        for item in range(self._count):
            yield item


class Handled:
    """Each item a line, with its time, in a file of this job and process; comes back once, at item 7, where told."""

    def __init__(self, how: str) -> None:
        folder = Path(os.environ[ledger.FOLDER])
        self._mark = None if how == "position" else folder / f"back.{current_job.id}"
        path = folder / f"items.{current_job.id}.{os.getpid()}"
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        self.count = 0

    def __call__(self, item: int) -> None:
        self._file.write(b"%d %.3f\n" % (item, time.monotonic()))
        self.count += 1
        if item == 7 and self._mark and not self._mark.exists():
            self._mark.touch()
            raise Snooze(0.01)


@quaff.task(name="loops", queue="loops")
def loops(count: int, pause: float = 0.0, how: str = "position", every: int = 1) -> int:
    """Handles items, and pauses after so many; how many it was given."""
    sources: dict[str, Any] = {
        "position": (range(count), None),
        "list": (list(range(count)) if how == "list" else [], lambda item: item),
        "iterable": (Numbers(count), None),
        "keyed": (Numbers(count), lambda item: item),
        "generator": ((item for item in range(count)), None),
        "after": (lambda last: range(0 if last is None else last + 1, count), lambda item: item),
        "offset": (lambda done: range(done, count), None),
    }
    source, key = sources[how]
    handled = Handled(how)
    for item in current_job.iterate(source, key=key):
        handled(item)
        if pause and item % every == 0:
            time.sleep(pause)
    return handled.count


@quaff.task(name="aloops", queue="loops")
async def aloops(count: int, pause: float = 0.0, how: str = "position") -> int:
    """The same as a coroutine."""

    async def behind(last: int | None) -> AsyncIterator[int]:
        for item in range(0 if last is None else last + 1, count):
            yield item

    sources: dict[str, Any] = {
        "position": (range(count), None),
        "async": (Numbers(count), None),
        "keyed": (Numbers(count), lambda item: item),
        "after": (behind, lambda item: item),
    }
    source, key = sources[how]
    handled = Handled(how)
    async for item in current_job.aiterate(source, key=key):
        handled(item)
        await asyncio.sleep(pause)
    return handled.count


@quaff.task(name="once", retries=1, backoff=0)
def once() -> list[int]:
    """An iteration that has ended is skipped by a later attempt."""
    seen = list(current_job.iterate([1, 2, 3]))
    if current_job.attempt == 1:
        raise Retry(in_=0.01)
    return seen
