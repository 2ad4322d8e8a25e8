"""What the tests of batch tasks have their workers run."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from quaff import Batch, Cancel, Concurrency, Quaff, Retry, current_job
from tests.chaos import ledger

quaff = Quaff()


def note(name: str, calls: list[int]) -> None:
    """One line of the ledger for each run: what was in it."""
    with ledger.run(f"{name} {' '.join(map(str, calls))}"):
        pass


@quaff.task(name="double", queue="double", batch=Batch(100, within=1.5))
def double(calls: list[tuple[int]]) -> list[int]:
    """Twice each."""
    note("double", [number for (number,) in calls])
    return [2 * number for (number,) in calls]


@quaff.task(name="adouble", queue="adouble", batch=Batch(50, within=0.5))
async def adouble(calls: list[tuple[int]]) -> list[int]:
    """Twice each."""
    note("adouble", [number for (number,) in calls])
    return [2 * number for (number,) in calls]


@quaff.task(name="patient", queue="patient", batch=Batch(5, within=30))
def patient(calls: list[tuple[int]]) -> list[int]:
    """Waits long for company."""
    return [number for (number,) in calls]


class Mail(NamedTuple):
    """One call of ``post``."""

    user: int
    text: str = "hello"


@quaff.task(name="post", queue="post", batch=Batch(10, within=0.2), retries=1, backoff=0.05)
def post(mails: list[Mail]) -> list[str | Exception]:
    """Each comes to something else."""
    note("post", [mail.user for mail in mails])
    answers: dict[str, object] = {
        "fail": ValueError("no such user"),
        "cancel": Cancel("not wanted"),
        "retry": Retry(in_=0.05) if current_job.attempt == 1 else "second try",
    }
    return [answers.get(mail.text, f"{mail.text} {mail.user}") for mail in mails]  # type: ignore[misc]


@quaff.task(name="odd", queue="odd", batch=Batch(10, within=0.1))
def odd(calls: list[tuple[str]]) -> list[int]:
    """Does not do as it should."""
    how = calls[0][0]
    if how == "raise":
        raise RuntimeError("all of them")
    return [1] * (len(calls) + 1)


@quaff.task(name="deadly", queue="deadly", batch=Batch(10, within=0.5))
def deadly(calls: list[tuple[int]]) -> None:
    """One call in it kills the process."""
    note("deadly", [number for (number,) in calls])
    if any(number == 7 for (number,) in calls):
        os._exit(3)


@quaff.task(name="long", queue="long", batch=Batch(4, within=0.1), timeout=1)
def long(calls: list[tuple[float]]) -> None:
    """As long as its first call says."""
    note("long", [0] * len(calls))
    time.sleep(calls[0][0])


@quaff.task(name="mixed", queue="mixed", batch=Batch(5, within=0.2), concurrency=Concurrency(5))
def mixed(calls: list[tuple[int]]) -> None:
    """Shares its queue with a task that is none."""
    note("mixed", [number for (number,) in calls])


@quaff.task(name="single", queue="mixed")
def single(number: int) -> int:
    """As ever."""
    return number
