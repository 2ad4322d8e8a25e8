"""Waiting for the ends of jobs: nobody polls, nothing is missed, one connection for a whole process."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from quaff import Job, JobCancelled, JobFailed, JobNotFound, Quaff, ResultDropped, ResultTimeout
from quaff.model import ids, outcome
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Outcome
from quaff.model.states import JobState
from quaff.store import listener
from quaff.waiting import LOOK_ANYWAY
from tests import taskapp
from tests.helpers import Program, in_loop, no_more_threads, wait_until
from tests.store.engine import Desk, process_id
from tests.taskapp import add, fail, hold

FULL = bool(os.environ.get("FULL"))
NOBODY = "default-0-" + "0" * 32


@pytest.fixture(scope="module", autouse=True)
def worker(server_url: str) -> Iterator[Program]:
    """One worker for all."""
    with taskapp.served(server_url) as worker:
        yield worker


@pytest.fixture
def quaff(server_url: str, namespace: str) -> Quaff:
    """An application on that queue."""
    return Quaff(server_url, namespace=namespace)


def run(main: Callable[[], Any], quaff: Quaff = taskapp.quaff) -> Any:
    """In an event loop of its own, whose connections are closed."""
    return in_loop(quaff, main)


def record() -> bytes:
    """An outcome with the value None."""
    return outcome.encode(Outcome("t", 0, Attempt(1, 1, 2, "w", 1, "succeeded")))


def begun(desk: Desk, quaff: Quaff, me: bytes) -> tuple[Job[Any], Callable[[], Any]]:
    """A job that runs, and what ends it."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(me)
    return quaff.job(str(JobId("default", 0, id))), lambda: desk.settle(me, lease, record=record())


def test_an_end_between_the_look_and_the_wait_is_not_missed(desk: Desk, quaff: Quaff) -> None:
    """Thousands of times, at any moment of the waiting; a missed one would cost five seconds."""
    me, choice = process_id(), random.Random(5)
    rounds = 10_000 if FULL else 1000
    with ThreadPoolExecutor(1) as pool:
        for _ in range(rounds):
            job, end = begun(desk, quaff, me)
            began = time.perf_counter()
            waiting = pool.submit(job.result, 10)
            until = began + choice.uniform(0, 0.001)
            while time.perf_counter() < until:
                pass
            end()
            assert waiting.result(10) is None
            assert time.perf_counter() - began < 3
    assert desk.dump().watched == {}


def test_the_same_in_coroutines(desk: Desk, quaff: Quaff) -> None:
    """A loop hears it from the same thread."""
    me = process_id()

    async def main() -> None:
        for _ in range(300):
            job, end = begun(desk, quaff, me)
            waiting = asyncio.create_task(job.aresult(10))
            await asyncio.sleep(random.uniform(0, 0.001))
            end()
            began = time.perf_counter()
            assert await waiting is None
            assert time.perf_counter() - began < 3

    run(main, quaff)


def test_fifty_who_wait_ask_nothing_and_share_one_connection(desk: Desk, quaff: Quaff) -> None:
    """While nothing happens the server hears of them every few seconds at most."""
    me = process_id()
    jobs = [begun(desk, quaff, me) for _ in range(10)]
    before = subscribers(desk)
    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(jobs[number % 10][0].result, 20) for number in range(50)]
        wait_until(lambda: len(desk.dump().watched) == 10, 10)
        wait_until(lambda: desk.key("watched") in quaff.store.listener.channels, 10, "a listener")
        time.sleep(0.5)  # the first looks of all fifty
        asked = calls(desk)
        time.sleep(2)
        # Each looks again after five seconds without a word: 50 in 5 s, so 20 in 2 s, were they not all at once.
        assert calls(desk) - asked <= 50
        assert subscribers(desk) == before + 1
        for _, end in jobs:
            end()
        assert [each.result(10) for each in waiting] == [None] * 50
    assert desk.dump().watched == {}


def subscribers(desk: Desk) -> int:
    """Connections that listen to this queue."""
    ((_, count),) = desk.redis.pubsub_numsub(desk.key("watched"))
    return int(count)


def calls(desk: Desk) -> int:
    """How often a look was asked for, by whomever."""
    return int(desk.redis.info("commandstats").get("cmdstat_zadd", {"calls": 0})["calls"])


def test_a_connection_that_breaks_loses_no_end(desk: Desk, quaff: Quaff) -> None:
    """All that listen are cut off again and again, while jobs end."""
    me = process_id()
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.02):
            desk.redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        for _ in range(30):
            job, end = begun(desk, quaff, me)
            timer = threading.Timer(random.uniform(0, 0.1), end)
            timer.start()
            assert job.result(15) is None
            timer.join()
    finally:
        stop.set()
        cutter.join()


def test_every_kind_of_end_is_told(desk: Desk, quaff: Quaff) -> None:
    """A failure, a cancellation of one that waits, an expiry, a purge."""
    me = process_id()
    for state in (JobState.FAILED, JobState.EXPIRED):
        (id,) = desk.put(b"m")
        (lease,) = desk.take(me)
        assert heard(quaff, id, lambda lease=lease, state=state: desk.settle(me, lease, state=state, record=b""))
    (id,) = desk.put(b"m")
    assert heard(quaff, id, lambda id=id: desk.cancel(id, outcome=outcome.cancelled("")))
    (id,) = desk.put(b"m")
    assert heard(quaff, id, quaff.queue("default").purge)


def heard(quaff: Quaff, id: bytes, end: Callable[[], Any]) -> bool:
    """Whether somebody who waits hears at once that it has ended."""
    job = quaff.job(str(JobId("default", 0, id)))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(quaff.wait_all, [job], 10, return_errors=True)
        time.sleep(0.05)
        assert not waiting.done()
        end()
        began = time.monotonic()
        waiting.result(10)
        return time.monotonic() - began < 3


def test_a_process_that_was_forked_listens_for_itself(desk: Desk, quaff: Quaff) -> None:
    """The parent has waited before; the child has its threads no more."""
    me = process_id()
    job, end = begun(desk, quaff, me)
    threading.Timer(0.05, end).start()
    job.result(10)
    job, end = begun(desk, quaff, me)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if job.result(10) is None else 2
        finally:
            os._exit(code)
    wait_until(lambda: desk.dump().watched, 10)
    end()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# A process that lacks something


def test_a_process_with_a_thousand_open_files_goes_on_to_hear(
    desk: Desk, quaff: Quaff, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a while without anybody who waits: a web server may have as many clients."""
    monkeypatch.setattr(listener, "_IDLE", 0.05)
    with many_files():
        for _ in range(3):
            assert hears(desk, quaff)
            wait_until(lambda: not subscribers(desk), 5, "the end of its connection")
    assert not quaff.store.listener._orders


@contextmanager
def many_files() -> Generator[None]:
    """Whatever is opened within it has a number above 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    files = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while files[-1] < 1024:
            files.append(os.dup(files[0]))
        yield
    finally:
        for each in files:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_more_files() -> Generator[None]:
    """Within it nothing can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


ONE_NODE = pytest.mark.only(
    "valkey", "redis7", "sentinel", "tls", why="a slot that moves needs a connection, and none can be opened"
)


@pytest.mark.parametrize("lack", [pytest.param(no_more_files, marks=ONE_NODE), no_more_threads])
def test_where_nobody_could_begin_to_listen_an_end_is_found_and_the_next_one_heard(
    desk: Desk, quaff: Quaff, lack: Callable[[], AbstractContextManager[None]]
) -> None:
    """It is looked for meanwhile; what was lacking may be there the next time."""
    me = process_id()
    assert begun(desk, quaff, me)[0].state == JobState.RUNNING
    assert not desk.dump().watched
    # These have opened what a look needs.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(time.sleep, [0.01, 0.01]))  # its threads are there
        with lack():
            for _ in range(3):
                job, end = begun(desk, quaff, me)
                waiting = pool.submit(job.result, 10)
                wait_until(lambda: desk.dump().watched, 5)
                end()
                assert waiting.result(5) is None
            assert not subscribers(desk)
    assert hears(desk, quaff)
    wait_until(lambda: not quaff.store.listener._orders, 5, "the listener to have read its orders")


def hears(desk: Desk, quaff: Quaff) -> bool:
    """Somebody waits, the process listens for it, and it ends."""
    job, end = begun(desk, quaff, process_id())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(job.result, 10)
        try:
            wait_until(lambda: desk.key("watched") in quaff.store.listener.channels, 5, "a listener")
        finally:
            end()
        return waiting.result(5) is None


# Many


def test_all_values_come_in_the_order_of_the_jobs() -> None:
    """From any queue; the same job twice is no trouble, and none is nothing."""
    jobs = add.map((number, 1) for number in range(300))
    assert taskapp.quaff.wait_all([*jobs, jobs[0]], 20) == [*range(1, 301), 1]
    assert taskapp.quaff.wait_all([]) == []
    assert run(lambda: taskapp.quaff.await_all(jobs, 20)) == list(range(1, 301))


def test_errors_are_raised_or_stand_in_their_places() -> None:
    """All have ended before the first one is raised."""
    jobs: list[Job[Any]] = [add.delay(1, 1), fail.delay("no"), taskapp.quaff.job(NOBODY)]
    with pytest.raises(JobFailed):
        taskapp.quaff.wait_all(jobs, 20)
    for values in (
        taskapp.quaff.wait_all(jobs, 20, return_errors=True),
        run(lambda: taskapp.quaff.await_all(jobs, 20, return_errors=True)),
    ):
        assert values[0] == 2
        assert [type(each) for each in values[1:]] == [JobFailed, JobNotFound]


def test_jobs_come_as_they_end_and_time_is_for_all_of_them(tmp_path: Any) -> None:
    """The one that is held comes last, or not."""
    gate = tmp_path / "gate"
    held = hold.delay(str(gate))
    others = add.map([(1, 1)] * 5)
    coming = iter(taskapp.quaff.as_completed([held, *others], 4))
    assert {next(coming) for _ in others} == set(others)
    with pytest.raises(ResultTimeout, match="1 of 6 jobs"):
        next(coming)

    async def main() -> list[Job[Any]]:
        came: list[Job[Any]] = []
        async for job in taskapp.quaff.as_completed([held, *others], 10):
            came.append(job)
            if len(came) == len(others):
                gate.touch()
        return came

    assert run(main)[-1] == held


def test_what_is_no_job_or_no_time_is_refused_with_advice() -> None:
    """Before anything is asked."""
    job = taskapp.quaff.job(NOBODY)
    for wrong in ([1], ["default-0-1"], job):
        with pytest.raises(TypeError, match="job"):
            taskapp.quaff.wait_all(wrong)  # type: ignore[type-var, arg-type]
    for wait in (job.result, job.take):
        with pytest.raises(TypeError, match="timeout='5'"):
            wait("5")  # type: ignore[arg-type]


def test_what_was_taken_is_there_no_more() -> None:
    """Its value once, and then the answer that it has been dropped."""
    job = add.delay(1, 1)
    assert job.take(10) == 2
    with pytest.raises(ResultDropped):
        job.result(1)
    other = add.delay(2, 2)
    assert run(lambda: other.atake(10)) == 4
    assert other.state == "succeeded"


def test_a_cancelled_wait_leaves_nothing_behind(desk: Desk, quaff: Quaff) -> None:
    """The job goes on, and others may wait for it."""
    me = process_id()
    job, end = begun(desk, quaff, me)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await job.aresult()
        with pytest.raises(ResultTimeout):
            await job.aresult(0.05)

    run(main, quaff)
    job.cancel("enough")
    end()
    assert job.result(5) is None


def test_the_states_in_between_keep_somebody_waiting(desk: Desk, quaff: Quaff) -> None:
    """A retry is no end."""
    me = process_id()
    (id,) = desk.put(b"m")
    job = quaff.job(str(JobId("default", 0, id)))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(job.result, 10)
        (lease,) = desk.take(me)
        desk.settle(me, lease, state=JobState.RETRYING, ttl_ms=1, record=record())
        (again,) = wait_until(lambda: desk.take(me), 5)
        assert not waiting.done()
        desk.settle(me, again, record=record())
        assert waiting.result(10) is None


def test_an_unknown_job_is_told_at_once(quaff: Quaff) -> None:
    """Nobody waits for what never was."""
    job = quaff.job(str(JobId("default", 0, ids.new_raw())))
    began = time.monotonic()
    with pytest.raises(JobNotFound):
        job.result()
    assert time.monotonic() - began < LOOK_ANYWAY - 1


def test_a_cancelled_job_says_so_to_all_who_wait(desk: Desk, quaff: Quaff) -> None:
    """In threads and loops alike."""
    (id,) = desk.put(b"m")
    job = quaff.job(str(JobId("default", 0, id)))
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(job.result, 10) for _ in range(3)]
        wait_until(lambda: desk.dump().watched, 5)
        job.cancel("why not")
        for each in waiting:
            with pytest.raises(JobCancelled, match="why not"):
                each.result(10)
