"""The tasks of the golden dumps. A dump holds their names and arguments: add to them, change none."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from typing import Any

from quaff import Concurrency, FairBy, Quaff, RateLimit, Unique, current_job

#: Seconds: as good as for ever, so that a dump is as good in years.
FOREVER = 50 * 365 * 24 * 3600
#: Set while a dump is made: what is to be dumped as running does not end.
MAKING = "GOLDEN_MAKING"

quaff = Quaff(result_ttl=FOREVER, failed_ttl=FOREVER, key_window=FOREVER)


@quaff.task(name="value", retries=0)
def value(given: Any) -> Any:
    """What it was given."""
    return given


@quaff.task(name="elsewhere", queue="elsewhere")
def elsewhere(given: Any) -> Any:
    """The same in a queue that nobody served when the dump was made."""
    return given


@quaff.task(name="total", retries=0)
def total(values: list[int]) -> int:
    """What comes of many."""
    return sum(values)


@quaff.task(name="fails", retries=0)
def fails(text: str) -> None:
    """Never does."""
    raise ValueError(text)


@quaff.task(name="dies", retries=0)
def dies() -> None:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)


@quaff.task(name="again", retries=3, backoff=20)
def again(given: str) -> str:
    """Does only the second time."""
    if current_job.attempt == 1:
        raise ConnectionError("not yet")
    return given


@quaff.task(name="hangs")
def hangs(given: str) -> str:
    """Does not end before its worker is killed; a later one ends at once, and remembers."""
    remembered = current_job.step("one", lambda: given)
    if MAKING in os.environ:
        current_job.progress(1, 2, "half of it")
        current_job.log("half of it")
        time.sleep(3600)
    return remembered


@quaff.task(name="waits")
def waits(given: str) -> str:
    """Waits for a signal."""
    current_job.step("before", lambda: given)
    return f"{given} {current_job.wait_for('approved', type=str)}"


@quaff.task(name="sleeps")
def sleeps(given: str) -> str:
    """Sleeps for a while, in the server."""
    current_job.sleep(20, name="nap")
    return given


@quaff.task(name="talks")
def talks(words: list[str]) -> Generator[str, None, int]:
    """Says words, one by one."""
    yield from words
    return len(words)


@quaff.task(name="alone", unique=Unique(by=("what",), on_conflict="replace"))
def alone(what: str, given: str) -> str:
    """One at a time; the newest one is next."""
    if given == "first" and MAKING in os.environ:
        time.sleep(3600)
    return given


@quaff.task(name="limited", concurrency=Concurrency(1, key="at:{host}"), rate=RateLimit(1, per=20, key="in:{host}"))
def limited(host: str, number: int) -> int:
    """One at a time, and one in twenty seconds."""
    return number


@quaff.task(name="fair", fair_by=FairBy("{tenant}"))
def fair(tenant: str, number: int) -> int:
    """In turns."""
    return number


@quaff.task(name="withheld")
def withheld(given: str) -> str:
    """Was blocked when the dump was made, so that its job was put aside."""
    return given


@quaff.task(name="once", unique=Unique(by=("what",), until="time", for_=3600))
def once(what: str) -> str:
    """One in an hour at most."""
    return what


@quaff.task(name="crashes", queue="alone")
def crashes(given: str, path: str) -> str:
    """Ends its process when a file appears, so that it waits to run alone."""
    while MAKING in os.environ:
        if os.path.exists(path):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    return given


@quaff.task(name="weighted", queue="crowded", fair_by=FairBy("{tenant}", weights={"big": 3}))
def weighted(tenant: str, given: str) -> str:
    """Three in one turn, of which the first is under way."""
    if given == "first" and MAKING in os.environ:
        time.sleep(3600)
    return given


@quaff.task(name="occupied", queue="narrow", concurrency=Concurrency(1, key="desk:{host}"))
def occupied(host: str, given: str) -> str:
    """One at a time, which is under way."""
    if given == "first" and MAKING in os.environ:
        time.sleep(3600)
    return given


@quaff.task(name="rationed", queue="narrow", rate=RateLimit(1, per=86_400, key="gate:{host}"))
def rationed(host: str, given: str) -> str:
    """One a day."""
    return given


@quaff.every(3600, name="hourly")
@quaff.task(name="tick", result_ttl=0)
def tick() -> None:
    """Is fired by a schedule."""
