"""What a type checker has to accept, with the types it has to see: both checkers of ``make check`` read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from datetime import timedelta
from typing import Any, assert_type

from quaff import (
    Batch,
    Concurrency,
    Event,
    FileResults,
    Flow,
    FlowNode,
    Job,
    JobError,
    JobInfo,
    JobState,
    Progress,
    Quaff,
    RateLimit,
    ResultStore,
    Stream,
    Task,
    Unique,
    chain,
    chord,
    current_job,
    group,
    starmap,
    workflow,
)
from quaff.dialects import RQQueue, celery_task, dramatiq_actor, huey_task, rq_job
from quaff.flask import Quaff as FlaskQuaff

quaff = Quaff("redis://127.0.0.1:1", deadline=0.1, namespace="typing")


@quaff.task
def add(a: int, b: int = 0, *more: int, exact: bool = False) -> int:
    """A plain decorator."""
    assert_type(current_job.id, str)
    assert_type(current_job.attempt, int)
    assert_type(current_job.should_stop, bool)
    return a + b


@quaff.task(queue="mail", result_ttl=timedelta(minutes=1), keep_none=False, name="typing.send")
def send(user: str) -> list[str] | None:
    """A decorator with options."""
    return [user]


@quaff.task
async def fetch(url: str, *, tries: int = 1) -> bytes:
    """A coroutine function: its jobs give what it returns, not a coroutine."""
    return url.encode()


@quaff.task(result_ttl=0)
async def ping() -> None:
    """With options too."""


@quaff.task
def chapters(book: str) -> Generator[str, None, int]:
    """A generator: its jobs give values, and the result that it returns."""
    yield book
    return 1


@quaff.task(queue="mail")
async def lines(book: str) -> AsyncIterator[bytes]:
    """As a coroutine, with no result."""
    yield book.encode()


@quaff.task
def pages(book: str) -> Iterator[str]:
    """A generator whose hint does not say what it returns."""
    yield book


@quaff.task(batch=Batch(100, within=0.5), queue="index")
def index(calls: list[tuple[int, str]]) -> list[str | Exception]:
    """One run for many calls: each of them gives one value of the list."""
    return [text if number else ValueError(number) for number, text in calls]


@quaff.task(batch=Batch(10))
async def note(calls: list[tuple[int]]) -> None:
    """Nothing comes of a call."""


@quaff.every(30, name="typing.tick")
@quaff.cron("0 7 * * mon-fri", tz="Europe/Vienna", missed="all")
@quaff.task(priority=5, unique=Unique(on_conflict="replace"), rate=RateLimit(5), concurrency=[Concurrency(2)])
def tick() -> int:
    """With what decides when and how often it runs."""
    return 1


def plain(text: str) -> float:
    """Registered by a call."""
    return float(text)


async def aplain(text: str) -> float:
    """The same."""
    return float(text)


by_call = quaff.task(plain)
by_call_with_options = quaff.task(plain, name="typing.plain", queue="slow", result_ttl=5)
async_by_call = quaff.task(aplain, name="typing.aplain")


@FlaskQuaff().task
def in_flask(number: int) -> str:
    """Flask's Quaff types its tasks the same."""
    return str(number)


def tasks() -> None:
    """A task is as its function is."""
    hands_on: Task[[str], float, float] = by_call
    hands_on = by_call_with_options
    assert_type(hands_on.delay("1"), Job[float])
    awaited: Task[[str], float, Coroutine[Any, Any, float]] = async_by_call
    assert_type(awaited.delay("1"), Job[float])
    assert_type(in_flask.delay(1), Job[str])
    assert_type(add.name, str)


async def rows(after: int | None) -> AsyncIterator[bytes]:
    """What comes behind a cursor."""
    yield bytes(after or 0)


@quaff.task
def durable(order: int) -> int:
    """A step has the arguments and the type of its function; a signal the one that is asked for."""
    assert_type(current_job.step("plain", plain, "1"), float)
    assert_type(current_job.step("send", lambda: [order]), list[int])
    assert_type(current_job.step("add", add, 1, exact=True), int)
    current_job.sleep("2d")
    current_job.sleep(timedelta(days=2), name="cool down")
    assert_type(current_job.wait_for("approved", timeout=60), Any)
    assert_type(current_job.wait_for("paid", type=int), int)
    for item in current_job.iterate(["a", "b"], key=len):
        assert_type(item, str)
    for number in current_job.iterate(lambda done: range(done, 10)):
        assert_type(number, int)
    return order


@quaff.task
async def adurable(order: int) -> int:
    """The twins."""
    assert_type(await current_job.astep("aplain", aplain, "1"), float)
    assert_type(await current_job.astep("plain", plain, "1"), float)
    await current_job.asleep(1.5)
    assert_type(await current_job.await_for("paid", "1h", type=int), int)
    async for row in current_job.aiterate(rows, key=len):
        assert_type(row, bytes)
    async for text in current_job.aiterate(["a"]):
        assert_type(text, str)
    return order


async def signals(job: Job[int]) -> None:
    """From outside."""
    job.signal("approved", {"by": "ann"}, key="k")
    await job.asignal("approved")
    assert_type(job.rerun(from_step="charge"), bool)
    assert_type([step.name for step in job.info().steps], list[str])
    assert_type(job.info().waiting_for, str | None)


def calls() -> None:
    """A direct call gives what the function gives."""
    assert_type(add(1, 2, 3, exact=True), int)
    assert_type(send("ann"), list[str] | None)
    coroutine: Coroutine[Any, Any, bytes] = fetch("http://localhost")
    assert_type(asyncio.run(coroutine), bytes)
    assert_type(asyncio.run(fetch("http://localhost", tries=2)), bytes)


def sending() -> None:
    """``delay`` has the parameters of the function, and its job the type of its result."""
    assert_type(add.delay(1), Job[int])
    assert_type(add.delay(1, 2, 3, exact=True), Job[int])
    assert_type(add.delay(b=2, a=1), Job[int])
    assert_type(send.delay("ann"), Job[list[str] | None])
    assert_type(fetch.delay("http://localhost", tries=2), Job[bytes])
    assert_type(ping.delay(), Job[None])
    assert_type(by_call_with_options.delay("1"), Job[float])
    assert_type(add.options(queue="slow", key="k").delay(1, b=2), Job[int])
    assert_type(fetch.options(queue="slow").options(key="k").delay("http://localhost"), Job[bytes])
    assert_type(add.map([(1,), (2, 3)]), list[Job[int]])
    assert_type(fetch.map((url,) for url in ["a", "b"]), list[Job[bytes]])
    assert_type(add.map([(1,), (2, 3)], spread=60), list[Job[int]])
    assert_type(index.delay(1, "a"), Job[str])
    assert_type(note.delay(1), Job[None])
    assert_type(tick.delay(), Job[int])
    with quaff.limit("api", RateLimit(10, burst=5)):
        assert_type(tick.options(delay=60, priority=-5).delay(), Job[int])
    with quaff.batch():
        assert_type(add.delay(1), Job[int])


def streaming() -> None:
    """Values as they come; which ones the handle does not know."""
    assert_type(chapters.delay("b"), Job[int])
    assert_type(chapters.options(queue="slow").delay("b").result(), int)
    assert_type(chapters("b"), Generator[str, Any, int])
    assert_type(pages.delay("b"), Job[Any])
    assert_type(pages("b"), Iterator[str])
    assert_type(lines.delay("b"), Job[None])
    stream: Stream[str] = chapters.delay("b").stream(start=5)
    assert_type(list(stream), list[str])
    assert_type(stream.position, int)


async def in_coroutines() -> None:
    """The twins of ``delay``, ``map`` and ``result``."""
    assert_type(await add.adelay(1, b=2), Job[int])
    assert_type(await fetch.adelay("http://localhost"), Job[bytes])
    assert_type(await add.amap([(1,)]), list[Job[int]])
    assert_type(await fetch("http://localhost"), bytes)
    async with quaff.limit("api", Concurrency(2)):
        assert_type(await index.amap([(1, "a")]), list[Job[str]])
    assert_type(await (await fetch.adelay("http://localhost")).aresult(timeout=5), bytes)
    assert_type(await quaff.await_all([add.delay(1)]), list[int])
    assert_type([job async for job in quaff.as_completed([add.delay(1)])], list[Job[int]])
    task = asyncio.create_task(fetch("http://localhost"))
    assert_type(await task, bytes)
    stream: Stream[bytes] = (await lines.adelay("b")).astream(timeout=5)
    assert_type([value async for value in stream], list[bytes])
    assert_type([event async for event in (await ping.adelay()).awatch()], list[Event])


def asking(job: Job[int]) -> None:
    """What a handle answers."""
    assert_type(job.result(), int)
    assert_type(job.result(timeout=5), int)
    assert_type(fetch.delay("http://localhost").result(0.5), bytes)
    assert_type(job.state, JobState)
    assert_type(job.id, str)
    assert_type(job.key, str | None)
    assert_type(job.info(), JobInfo)
    assert_type([attempt.number for attempt in job.info().attempts], list[int])
    assert_type(quaff.job("id"), Job[Any])
    assert_type(job.take(timeout=5), int)
    assert_type(job.info().progress, Progress | None)
    assert_type(quaff.wait_all([job], 5), list[int])
    assert_type(quaff.wait_all([job], return_errors=True), list[int | JobError])
    assert_type([each.result() for each in quaff.as_completed([job])], list[int])
    assert_type(list(job.watch(5, every=1)), list[Event])
    assert_type([line.text for line in job.info().logs], list[str])
    number: Job[int] = quaff.job("id")
    assert_type(number.result(), int)
    text: str = job.state
    assert text


def flows() -> None:
    """Jobs that wait for each other."""
    assert_type(starmap(add, [(1, 2)]).delay(), Flow[list[int]])
    assert_type(group(add.s(1), fetch.si("url"), on_failure=send.si("me")).delay().result(5), list[Any])
    assert_type(chain(add.s(1), add.s(2)).delay(), Flow[Any])
    assert_type(add.s(1).delay(), Job[int])
    assert_type(chord([add.s(1)], add.s()).delay().state, JobState)
    work = workflow()
    work.add("sum", add.s(1, 2), compensate=send.si("undo"))
    work.add("twice", add.s(work["sum"], work["sum"]), after={"sum": "ignore"})
    assert_type(work.delay().result(), dict[str, Any])
    flow = quaff.flow("id")
    assert_type(flow.graph(), list[FlowNode])
    assert_type(flow.add(add.s(1), after=["sum"], if_failed="continue"), Job[int])
    assert_type(flow.counts(), dict[JobState, int])
    assert_type(flow.job("sum"), Job[Any])
    assert_type(flow.cancel("why"), bool)
    assert_type(flow.requeue(from_="sum"), bool)
    assert_type(current_job.flow, str | None)


class Bucket:
    """A store of somebody's own: the methods are enough."""

    def put(self, name: str, data: bytes, seconds: float) -> None:
        """Nothing."""

    def get(self, name: str) -> bytes | None:
        """Nothing."""
        return None

    def delete(self, name: str) -> None:
        """Nothing."""

    def keep(self, name: str, seconds: float) -> None:
        """Nothing."""

    def overdue(self, most: int) -> list[str]:
        """Nothing."""
        return []


def large_results() -> None:
    """Where large results go."""
    bucket: ResultStore = Bucket()
    Quaff("redis://127.0.0.1:1", results=bucket, max_result=10)
    Quaff(results=FileResults("/var/lib/shop"))
    FlaskQuaff(results=Bucket())
    assert_type(Quaff(results=None).results, ResultStore | None)


@celery_task(quaff, time_limit=60)
def charge(order: int) -> str:
    """In Celery's words."""
    return str(order)


@dramatiq_actor(quaff, time_limit=60_000)
async def post(user: int) -> str:
    """In Dramatiq's words, a coroutine."""
    return str(user)


@huey_task(quaff, retries=3)
def total(a: int, b: int = 0) -> int:
    """In Huey's words: a call sends."""
    return a + b


@rq_job(quaff, "pictures", timeout="1h")
def resize(path: str) -> bytes:
    """In RQ's words."""
    return path.encode()


def in_other_words() -> None:
    """The arguments are those of the function, and what comes of a call is a job."""
    assert_type(charge(1), str)
    assert_type(charge.delay(1), Job[str])
    assert_type(charge.apply_async((1,), countdown=5), Job[str])
    assert_type(charge.task.s(1).delay(), Job[str])
    assert_type(post.send(1), Job[str])
    assert_type(total(1, b=2), Job[int])
    assert_type(total.call_local(1), int)
    assert_type(total.schedule((1,), delay=5), Job[int])
    assert_type(resize.delay("a.png"), Job[bytes])
    RQQueue(quaff).enqueue(resize, "a.png", ttl=60)
