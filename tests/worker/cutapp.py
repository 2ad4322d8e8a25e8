"""What the tests of cancels and time limits have their workers run: results and log lines that keep one waiting."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from quaff import FileResults, Quaff, SoftTimeout


def wait_for(gate: str) -> None:
    """Say that somebody waits for this file, and wait for it."""
    Path(f"{gate}.awaited").touch()
    while not Path(gate).exists():
        time.sleep(0.005)


class Waiting(FileResults):
    """Gives nothing before there is a file."""

    def get(self, name: str) -> bytes | None:
        """What is there, in its time."""
        wait_for(os.environ["GATE"])
        return super().get(name)


class Locking(logging.Handler):
    """As handlers do, it has its lock while it writes, which takes until there is a file."""

    def emit(self, record: logging.LogRecord) -> None:
        """The message is the path of that file."""
        wait_for(record.getMessage())


class Framework(Quaff):
    """What surrounds a coroutine takes a while to be entered."""

    def async_attempt_scope(self) -> AbstractAsyncContextManager[Any]:
        """As those of Django and Quart, which await."""
        return _slowly()


@asynccontextmanager
async def _slowly() -> AsyncGenerator[None]:
    await asyncio.sleep(0.3)
    yield


folder = os.environ.get("RESULTS")
quaff = Framework(results=Waiting(folder) if folder else None, max_result=1000)
slow = logging.getLogger("slow")
slow.propagate = False
slow.addHandler(Locking())


@quaff.task(name="large")
def large() -> str:
    """A result for the store."""
    return "x" * 5000


@quaff.task(name="stay")
def stay(text: str) -> None:
    """Run for ever, with a result that was large."""
    while text:
        time.sleep(0.005)


@quaff.task(name="astay")
async def astay(text: str) -> None:
    """The same in a coroutine."""
    if text:
        await asyncio.sleep(600)


@quaff.task(name="soft", soft_timeout=0.5)
def soft(text: str) -> str:
    """Run until the soft limit, and clean up."""
    try:
        stay.fn(text)
    except SoftTimeout:
        return "cleaned up"
    return "never"


@quaff.task(name="asoft", soft_timeout=0.5)
async def asoft(text: str) -> str:
    """The same in a coroutine."""
    try:
        await asyncio.sleep(60)
    except SoftTimeout:
        return "cleaned up"
    return "never"


@quaff.task(name="log")
def log(gate: str) -> str:
    """One line that takes until there is a file, and one more."""
    slow.warning(gate)
    slow.warning(gate)
    return "logged"


@quaff.task(name="log_beside", soft_timeout=0.5)
def log_beside(began: str, gate: str) -> str:
    """Log until the soft limit and beyond, and clean up."""
    try:
        Path(began).touch()
        slow.warning(gate)
        stay.fn("for ever")
    except SoftTimeout:
        return "cleaned up"
    return "never"


@quaff.task(name="fails")
def fails() -> None:
    """What has ended by itself."""
    raise ValueError("by itself")


@quaff.task(name="returns")
def returns() -> str:
    """The same, well."""
    return "by itself"
