"""Tasks: called here, sent in every way there is, and what comes back."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from quaff import (
    ConfigurationError,
    Job,
    NoCurrentJob,
    Quaff,
    Unique,
    UnknownTask,
    current_job,
)
from tests import taskapp
from tests.helpers import Program, in_loop, wait_until
from tests.taskapp import Colour, Order, Point, aadd, add, echo, give, own, ship, stored

WHEN = dt.datetime(2011, 9, 24, 19, 49, 1, 2, ZoneInfo("Europe/Vienna"))
POINT = Point(2**70, WHEN.astimezone(dt.UTC), Decimal("1.10"))
ORDER = Order(UUID(int=7), (Colour.RED, Colour.BLUE), POINT)


@pytest.fixture(scope="module")
def worker(server_url: str) -> Iterator[Program]:
    """One worker for all tests that need a result."""
    with taskapp.served(server_url) as worker:
        yield worker


@pytest.fixture
def quaff(server_url: str, namespace: str) -> Iterator[Quaff]:
    """An application with the same tasks and no worker."""
    with taskapp.twin(server_url, namespace) as quaff:
        yield quaff


# Calling


def test_a_plain_call_runs_here_and_needs_no_server() -> None:
    """The function is what it was: its value, its errors, its name and its text."""
    quaff = Quaff("redis://127.0.0.1:1", deadline=0.1)
    task = quaff.task(taskapp.add.fn)
    assert (task(1, b=2), task(1)) == (3, 1)
    assert (task.__name__, task.__doc__, task.name) == ("add", "Add.", "tests.taskapp.add")
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        task()


def test_a_plain_call_of_an_async_task_is_awaited_here() -> None:
    """It gives the coroutine of its function."""
    assert asyncio.run(aadd(1, 2)) == 3


# Sending


def in_coroutine(send: Callable[[], Any]) -> Any:
    """What the coroutine of ``send`` gives; its connections are closed."""
    return in_loop(taskapp.quaff, send)


WAYS: dict[str, Callable[[Any], Job[int]]] = {
    "delay": lambda task: task.delay(1, b=2),
    "adelay": lambda task: in_coroutine(lambda: task.adelay(1, b=2)),
    "options": lambda task: task.options(key=uuid4().hex).delay(1, 2),
    "map": lambda task: task.map([(1, 2)])[0],
    "amap": lambda task: in_coroutine(lambda: task.amap([(1, 2)]))[0],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", [add, aadd], ids=lambda task: task.__name__)
def test_each_way_of_sending_gives_a_job_that_runs(way: str, task: Any, worker: Program) -> None:
    """Sync and async tasks side by side in one worker, sent from threads and from coroutines."""
    assert WAYS[way](task).result(10) == 3


def test_a_map_gives_its_jobs_in_the_order_of_its_calls(worker: Program) -> None:
    """More than one round trip, from a generator; a call that is a list will do."""
    jobs = add.map((number, number) for number in range(1001))
    assert [job.result(20) for job in jobs] == [2 * number for number in range(1001)]
    assert len({job.id for job in jobs}) == 1001


def test_a_map_of_nothing_is_nothing(quaff: Quaff) -> None:
    """And asks no server."""
    assert own(quaff, "add").map([]) == []
    assert stored(quaff) == []


def test_options_are_for_the_calls_made_through_them(quaff: Quaff) -> None:
    """The task itself stays as it was, and they can be laid over one another."""
    task = own(quaff, "add")
    slow = task.options(queue="slow")
    assert slow.delay(1).queue == "slow"
    assert slow.options(key="k").delay(1).key == "slow/tests.taskapp.add/k"
    assert task.delay(1).queue == "default"
    assert task.delay(1).key is None
    assert slow(1, 2) == 3


# Batches


def test_a_batch_is_sent_at_the_end_of_its_block(quaff: Quaff) -> None:
    """Calls of several tasks for several queues, with their handles before they are stored."""
    with quaff.batch():
        jobs = [own(quaff, "add").delay(1), *own(quaff, "echo").options(queue="slow").map([(2,), (3,)])]
        assert stored(quaff) == []
    assert len(stored(quaff)) == 3
    assert [job.state for job in jobs] == ["queued"] * 3


def test_in_a_batch_too_a_handle_is_that_of_the_job_that_is_there(quaff: Quaff) -> None:
    """Of unique jobs the second one's handle is the first one's job, when the block has ended."""
    single = own(quaff, "add").options(unique=Unique(by=("a",)))
    earlier = single.delay(1)
    with quaff.batch():
        again, new, twice = single.delay(1), single.delay(2), single.delay(2)
    assert (again.id, again.existing) == (earlier.id, True)
    assert (twice.id, twice.existing, new.existing) == (new.id, True, False)
    assert twice.state == "queued"


def test_a_batch_that_raises_sends_nothing(quaff: Quaff) -> None:
    """What was collected is dropped; the next call is sent at once."""

    def stopped() -> None:
        with quaff.batch():
            own(quaff, "add").delay(1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert stored(quaff) == []
    own(quaff, "add").delay(1)
    assert len(stored(quaff)) == 1


def test_a_batch_in_a_batch_is_sent_with_it(quaff: Quaff) -> None:
    """The outermost block counts."""
    with quaff.batch():
        with quaff.batch():
            own(quaff, "add").delay(1)
        assert stored(quaff) == []
    assert len(stored(quaff)) == 1


def test_a_batch_in_a_coroutine_collects_what_is_awaited(quaff: Quaff) -> None:
    """``adelay`` in the block is part of it."""

    async def main() -> None:
        with quaff.batch():
            await own(quaff, "add").adelay(1)
            await own(quaff, "add").amap([(1,)])
            assert stored(quaff) == []

    asyncio.run(main())
    assert len(stored(quaff)) == 2


def test_a_batch_is_of_its_own_thread(quaff: Quaff) -> None:
    """What another thread sends meanwhile is sent at once."""
    with quaff.batch():
        thread = threading.Thread(target=own(quaff, "add").delay, args=(1,))
        thread.start()
        thread.join()
        own(quaff, "add").delay(2)
        assert len(stored(quaff)) == 1
    assert len(stored(quaff)) == 2


# What comes back


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2011, 9, 24, 19, 49, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
        dt.datetime(2011, 9, 24, 19, 49),  # noqa: DTZ001  a naive one stays naive
        dt.date(2011, 9, 24),
        dt.timedelta(days=-1, microseconds=1),
        UUID(int=2**127),
        Decimal("1.10"),
        b"\x00\xff",
        bytearray(b"\xff"),
        {1, 2},
        frozenset({"a"}),
        (1, ("two", [3.0])),
        {(1, 2): {b"k": None}},
        2**70,
        -0.0,
        "ü\0😀",
        True,
    ],
    ids=repr,
)
def test_a_value_arrives_and_comes_back_as_what_it_was(value: object, worker: Program) -> None:
    """Without any type hint, in the task and in its result."""
    seen, back = echo.delay(value).result(10)
    assert seen == type(value).__qualname__
    assert (repr(back), type(back)) == (repr(value), type(value))


def test_a_time_in_a_zone_comes_back_as_the_same_instant_with_its_offset(worker: Program) -> None:
    """A name of a zone is not sent: the database of the worker may know another offset for it."""
    back = give.delay(WHEN).result(10)
    assert back == WHEN
    assert back.utcoffset() == dt.timedelta(hours=2)


def test_instances_of_classes_come_back_where_the_hints_say_so(worker: Program) -> None:
    """S2: Struct, dataclass and Enum, nested, also in ``*args`` and ``**kwargs``; no message names a class."""
    seen, order = ship.delay(ORDER, Colour.BLUE, POINT, POINT, urgent=True, lid=Colour.RED).result(10)
    assert order == ORDER
    assert type(order.where) is Point
    assert seen == repr((ORDER, Colour.BLUE, (POINT, POINT), True, {"lid": Colour.RED}))


# Names


def test_two_functions_cannot_have_one_name(quaff: Quaff) -> None:
    """The error shows the one that has it; the same function again is no conflict."""
    quaff.task(taskapp.add.fn, name="one")
    assert quaff.task(taskapp.add.fn, name="one").name == "one"
    with pytest.raises(ConfigurationError, match=r"the task name 'one' is taken by <function add .*name=\."):
        quaff.task(taskapp.aadd.fn, name="one")
    assert quaff.tasks["one"].fn is taskapp.add.fn


def test_a_task_is_found_by_its_registered_name_only(quaff: Quaff) -> None:
    """S2: never by import; the error has the nearest name."""
    with pytest.raises(UnknownTask, match=r"no task 'os\.getcwd' is registered here\."):
        quaff.find_task("os.getcwd")
    with pytest.raises(UnknownTask, match=r"Did you mean 'tests\.taskapp\.add'\? \[QF017\]"):
        quaff.find_task("tests.taskapp.ad")


def test_a_worker_runs_no_function_that_nobody_registered(worker: Program, tmp_path: Path) -> None:
    """S2: a message that names one waits for a worker that knows it."""
    stranger = Quaff(taskapp.quaff.settings.url, namespace=taskapp.quaff.settings.namespace)
    job = stranger.task(taskapp.add.fn, name="os.mkdir").delay(1)
    wait_until(lambda: job.info().parked, 10, "the job to be parked")
    assert job.state == "queued"
    assert add.delay(1).result(10) == 1
    stranger.store.endpoint.pool().disconnect()


def test_a_task_that_was_renamed_keeps_its_old_names(quaff: Quaff) -> None:
    """Each name belongs to one function."""
    task = quaff.task(taskapp.add.fn, name="new", aliases=("old", "older"))
    assert quaff.find_task("old") is quaff.find_task("older") is task
    assert task.name == "new"
    with pytest.raises(ConfigurationError, match=r"the task name 'old' is taken by <function add"):
        quaff.task(taskapp.aadd.fn, name="old")


def test_the_task_that_is_told_of_jobs_that_are_given_up_takes_an_id(quaff: Quaff) -> None:
    """At declaration, not when the first job has failed."""

    def told(id: str) -> None: ...
    def not_told(id: str, more: int) -> None: ...

    good, bad = quaff.task(told, name="told"), quaff.task(not_told, name="not_told")
    assert quaff.task(taskapp.add.fn, name="one", on_exhausted=good).settings.on_exhausted == "told"
    assert quaff.task(taskapp.add.fn, name="two", on_exhausted="later").settings.on_exhausted == "later"
    with pytest.raises(ConfigurationError, match="on_exhausted=not_told: it is called with a job's id alone"):
        quaff.task(taskapp.add.fn, name="three", on_exhausted=bad)


def test_a_call_for_a_workflow_is_sent_alone_as_the_task_would_send_it(quaff: Quaff) -> None:
    """``task.s(...)`` in the hands of somebody who has no workflow."""
    task = quaff.task(taskapp.add.fn, name="add").options(priority=3)
    first, second = task.s(1, 2).delay(), in_loop(quaff, task.si(1).adelay)
    assert [first.info().task, second.info().task] == ["add", "add"]
    assert quaff.queue("default").stats().queued == 2


def test_a_plain_call_that_needs_a_job_says_what_to_do() -> None:
    """Inside of none there is no id to make up."""
    assert not current_job
    with pytest.raises(NoCurrentJob, match=r"plain call.*delay\(\).*perform\(task") as raised:
        current_job.progress(1, 2)
    assert isinstance(raised.value, RuntimeError)
