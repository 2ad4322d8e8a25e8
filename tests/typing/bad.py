"""What a type checker has to refuse: each marked line, and no other.

A mark names mypy's code and pyright's rule; ``check_bad.py`` reads them, and ``make check`` runs that.
"""

from __future__ import annotations

from collections.abc import Generator

from quaff import FileResults, Job, Quaff, current_job
from quaff.dialects import celery_task, huey_task
from quaff.flask import Quaff as FlaskQuaff

quaff = Quaff()


@quaff.task
def add(a: int, b: int = 0) -> int:
    """A task."""
    return a + b


@quaff.task(queue="slow")
async def fetch(url: str, *, tries: int = 1) -> bytes:
    """An async task."""
    return url.encode() * tries


@FlaskQuaff().task
def in_flask(number: int) -> str:
    """Flask's."""
    return str(number)


def calls() -> None:
    """Arguments that the function does not take."""
    add("one")  # error: arg-type reportArgumentType
    add.delay("one")  # error: arg-type reportArgumentType
    add.delay()  # error: call-arg reportCallIssue
    add.delay(1, 2, 3)  # error: call-arg reportCallIssue
    add.delay(1, c=2)  # error: call-arg reportCallIssue
    add.delay(1, b=None)  # error: arg-type reportArgumentType
    fetch.delay("http://localhost", 2)  # error: call-arg reportCallIssue
    fetch.delay("http://localhost", tries="2")  # error: arg-type reportArgumentType
    in_flask.delay("one")  # error: arg-type reportArgumentType
    add.options(queue="slow").delay("one")  # error: arg-type reportArgumentType
    add.map([1, 2])  # error: list-item reportArgumentType


@quaff.task
def chapters(book: str) -> Generator[str, None, int]:
    """A generator."""
    yield book
    return 1


def streaming() -> None:
    """What is no position, and a result of another type."""
    chapters.delay(5)  # error: arg-type reportArgumentType
    chapters.delay("b").stream(start="5")  # error: arg-type reportArgumentType
    result: str = chapters.delay("b").result()  # error: assignment reportAssignmentType
    add.delay(1).watch(every="5")  # error: arg-type reportArgumentType
    assert result


async def in_coroutines() -> None:
    """The twins."""
    await add.adelay("one")  # error: arg-type reportArgumentType
    await fetch.adelay()  # error: call-arg reportCallIssue


def options() -> None:
    """Options that do not exist, or of another type."""
    add.options(queu="slow")  # error: call-arg reportCallIssue
    add.options(result_ttl=5)  # error: call-arg reportCallIssue
    add.options(queue=5)  # error: arg-type reportArgumentType
    quaff.task(key="k")  # error: call-overload reportCallIssue
    quaff.task(result_ttl="5")  # error: call-overload reportArgumentType


@quaff.task
def charge(order: int) -> None:
    """A step has the arguments and the value of its function."""
    current_job.step("charge", plain, "one")  # error: arg-type reportArgumentType
    current_job.step("charge", plain)  # error: call-arg reportCallIssue
    current_job.step("charge", plain, 1, c=2)  # error: call-arg reportCallIssue
    text: str = current_job.step("charge", plain, 1)  # error: assignment reportAssignmentType
    paid: str = current_job.wait_for("paid", type=int)  # error: assignment reportAssignmentType
    current_job.sleep([2])  # error: arg-type reportArgumentType
    for item in current_job.iterate([1, 2]):
        add.delay(1).signal(item)  # error: arg-type reportArgumentType
    print(text, paid)


def plain(a: int, b: int = 0) -> int:
    """What a step calls."""
    return a + b


def results() -> None:
    """A result is of the function's type, and a job has nothing else."""
    text: str = add.delay(1).result()  # error: assignment reportAssignmentType
    job: Job[str] = add.delay(1)  # error: assignment reportAssignmentType
    size: int = fetch.delay("http://localhost").result()  # error: assignment reportAssignmentType
    number: int = fetch("http://localhost")  # error: assignment reportAssignmentType
    print(add.delay(1).value)  # error: attr-defined reportAttributeAccessIssue
    add.delay(1).result("5")  # error: arg-type reportArgumentType
    print(text, job, size, number)


class HalfAStore:
    """It cannot delete, and gives text."""

    def put(self, name: str, data: bytes, seconds: float) -> None:
        """Nothing."""

    def get(self, name: str) -> str:
        """Nothing."""
        return name


def large_results() -> None:
    """What keeps them has all methods, with their types."""
    Quaff(results=HalfAStore())  # error: arg-type reportArgumentType
    Quaff(results="/var/lib/shop")  # error: arg-type reportArgumentType
    FileResults(5)  # error: arg-type reportArgumentType


@celery_task(quaff)
def celeried(order: int) -> str:
    """In Celery's words."""
    return str(order)


@huey_task(quaff)
def hueyed(a: int) -> int:
    """In Huey's words."""
    return a


def in_other_words() -> None:
    """As in ours; and Huey's call gives a job."""
    celeried.delay("7")  # error: arg-type reportArgumentType
    hueyed()  # error: call-arg reportCallIssue
    number: int = hueyed(1)  # error: assignment reportAssignmentType
    celeried.retry()  # error: attr-defined reportAttributeAccessIssue
    print(number)
