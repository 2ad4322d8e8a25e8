"""Watching a job: each event comes when it happens, once, and the last one is the end."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from quaff import Event, Job, JobNotFound, JobState, Progress, Quaff, ResultTimeout
from quaff.model import outcome, progress
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Outcome
from quaff.store.transitions import Lease, note
from tests.helpers import in_loop, wait_until
from tests.store.engine import Desk, process_id

NOBODY = "default-0-" + "0" * 32


@pytest.fixture
def quaff(server_url: str, namespace: str) -> Quaff:
    """An application on that queue."""
    return Quaff(server_url, namespace=namespace)


def record(said: Progress | None = None) -> bytes:
    """An outcome with the value None."""
    return outcome.encode(Outcome("t", 0, Attempt(1, 1, 2, "w", 1, "succeeded", None, said)))


def put(desk: Desk, quaff: Quaff) -> Job[Any]:
    """A job that waits."""
    (id,) = desk.put(b"m")
    return quaff.job(str(JobId("default", 0, id)))


def say(desk: Desk, lease: Lease, done: float) -> list[int]:
    """Progress of a running job."""
    return desk.store.run(note(desk.home, [(lease.id, lease.token, progress.encode(Progress(done)))]))


class Watcher:
    """Somebody who watches, in a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor, job: Job[Any], **options: Any) -> None:
        self.events: list[Event] = []
        self.done: Future[None] = pool.submit(self._watch, job, options)

    def _watch(self, job: Job[Any], options: dict[str, Any]) -> None:
        for event in job.watch(**{"timeout": 20, **options}):
            self.events.append(event)

    def told(self) -> list[Any]:
        """What it has seen, in short."""
        return [event.state.value if event.kind == "state" else event.progress or event.log for event in self.events]

    def soon(self, *expected: Any) -> None:
        """It sees this within three seconds, which no look after a while would do."""
        wait_until(lambda: self.told() == list(expected), 3, f"{expected}; seen: {self.told()}")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads."""
    with ThreadPoolExecutor(20) as pool:
        yield pool


def test_each_step_of_a_job_is_told_when_it_happens(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """Where it is, how far it has come, a retry, and its end; in one order, each once."""
    me = process_id()
    job = put(desk, quaff)
    watcher = Watcher(pool, job)
    watcher.soon("queued")
    (lease,) = desk.take(me)
    watcher.soon("queued", "running")
    say(desk, lease, 1)
    watcher.soon("queued", "running", Progress(1))
    desk.settle(me, lease, state=JobState.RETRYING, ttl_ms=20_000)
    watcher.soon("queued", "running", Progress(1), "retrying")
    desk.let_be_due(lease.id)
    desk.sweep()
    watcher.soon("queued", "running", Progress(1), "retrying", "queued")
    (lease,) = desk.take(me)
    say(desk, lease, 1)
    before = ["queued", "running", Progress(1), "retrying", "queued", "running", Progress(1)]
    watcher.soon(*before)
    assert watcher.events[-1].attempt == 2
    desk.settle(me, lease, record=record(Progress(2)))
    watcher.soon(*before, Progress(2), "succeeded")
    watcher.done.result(5)
    assert desk.dump().followed == {}


def test_other_ways_out_of_running_are_told(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """Given back, and taken from a process that died."""
    me = process_id()
    job = put(desk, quaff)
    watcher = Watcher(pool, job)
    watcher.soon("queued")
    (lease,) = desk.take(me)
    watcher.soon("queued", "running")
    desk.release(me, lease)
    watcher.soon("queued", "running", "queued")
    (lease,) = desk.take(me)
    watcher.soon("queued", "running", "queued", "running")
    desk.reap(me, lease.id)
    watcher.soon("queued", "running", "queued", "running", "queued")
    assert job.cancel()
    watcher.soon("queued", "running", "queued", "running", "queued", "cancelled")


def test_an_end_at_any_moment_is_not_missed(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """Progress and the end come while somebody looks or is about to listen; a missed one would cost five seconds."""
    me, choice = process_id(), random.Random(5)
    for _ in range(300):
        job = put(desk, quaff)
        (lease,) = desk.take(me)
        began = time.perf_counter()
        watcher = Watcher(pool, job)
        wait_to(began + choice.uniform(0, 0.002))
        say(desk, lease, 7)
        wait_to(time.perf_counter() + choice.uniform(0, 0.001))
        desk.settle(me, lease, record=record(Progress(8)))
        watcher.done.result(10)
        assert time.perf_counter() - began < 3
        assert watcher.told()[-1] == "succeeded"
        assert watcher.told()[-2] == Progress(8)
    assert desk.dump().followed == {}


def wait_to(moment: float) -> None:
    """Until then, exactly."""
    while time.perf_counter() < moment:
        pass


def test_many_who_watch_see_the_same(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """Whoever comes later begins with what is."""
    me = process_id()
    job = put(desk, quaff)
    (lease,) = desk.take(me)
    watchers = [Watcher(pool, job) for _ in range(10)]
    for each in watchers:
        each.soon("running")
    for done in range(5):
        say(desk, lease, done)
        for each in watchers:
            wait_until(lambda each=each, done=done: each.told()[-1] == Progress(done), 3)  # by itself after 5
    late = Watcher(pool, job)
    late.soon("running", Progress(4))
    desk.settle(me, lease, record=record())
    for each in (*watchers, late):
        each.done.result(5)
        assert each.told()[-1] == "succeeded"


def test_coroutines_watch_too(desk: Desk, quaff: Quaff) -> None:
    """Two in one loop, which goes on turning."""
    me = process_id()
    job = put(desk, quaff)

    seen: list[list[str]] = [[], []]

    async def watch(states: list[str]) -> None:
        async for event in job.awatch(10):
            states.append(event.state)  # noqa: PERF401  it is looked at meanwhile

    async def both_have_seen(count: int) -> None:
        await asyncio.to_thread(wait_until, lambda: min(map(len, seen)) >= count, 10)

    async def main() -> list[list[str]]:
        watching = [asyncio.create_task(watch(states)) for states in seen]
        await both_have_seen(1)
        (lease,) = await asyncio.to_thread(desk.take, me)
        await both_have_seen(2)
        await asyncio.to_thread(desk.settle, me, lease, record=record())
        await asyncio.gather(*watching)
        return seen

    began = time.monotonic()
    assert in_loop(quaff, main) == [["queued", "running", "succeeded"]] * 2
    assert time.monotonic() - began < 3


def test_whoever_waits_for_the_end_alone_is_not_woken_by_progress(
    desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor
) -> None:
    """And where nobody watches nothing is told."""
    me = process_id()
    job = put(desk, quaff)
    (lease,) = desk.take(me)
    waiting = pool.submit(job.result, 10)
    wait_until(lambda: desk.key("watched") in quaff.store.listener.channels, 5, "a listener")
    looks = script_calls(desk)
    for done in range(100):
        say(desk, lease, done)
    assert desk.redis.pubsub_numsub(desk.key("followed")) == [(desk.key("followed"), 0)]
    # Its own, and those of looking again where the subscription is young.
    assert script_calls(desk) - looks < 110
    desk.settle(me, lease, record=record())
    assert waiting.result(5) is None


def script_calls(desk: Desk) -> int:
    """How many scripts the server has run."""
    return int(desk.redis.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_who_watches_asks_nothing_while_nothing_happens(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """But now and then whether it has missed something."""
    me = process_id()
    jobs = [put(desk, quaff) for _ in range(10)]
    leases = desk.take(me, 10)
    watchers = [Watcher(pool, job) for job in jobs]
    for each in watchers:
        each.soon("running")
    wait_until(lambda: desk.key("followed") in quaff.store.listener.channels, 5, "a listener")
    time.sleep(0.5)  # the first looks of all ten
    before = script_calls(desk)
    time.sleep(1)
    # Other tests may use the server, not this queue; each watcher looks once in five seconds.
    assert script_calls(desk) - before <= 12
    desk.settle(me, *leases, record=record())
    for each in watchers:
        each.done.result(5)


def test_the_state_is_told_again_where_nothing_happens(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """For somebody who passes events on; and time is up when it is up."""
    began = time.monotonic()
    watcher = Watcher(pool, put(desk, quaff), timeout=2, every=0.1)
    with pytest.raises(ResultTimeout, match="after 2 s"):
        watcher.done.result(10)
    assert 1.9 < time.monotonic() - began < 6
    assert 3 <= len(watcher.events) <= 21
    assert {event.state for event in watcher.events} == {JobState.QUEUED}


def test_what_cannot_be_watched_says_so(desk: Desk, quaff: Quaff) -> None:
    """Nobody knows it, or time is no number."""
    with pytest.raises(JobNotFound):
        next(quaff.job(NOBODY).watch())
    with pytest.raises(TypeError, match="seconds"):
        put(desk, quaff).watch("soon")  # type: ignore[arg-type]


def test_a_job_that_has_ended_is_one_event(desk: Desk, quaff: Quaff) -> None:
    """With the last word about its progress, as long as its outcome is kept."""
    me = process_id()
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED):
        job = put(desk, quaff)
        (lease,) = desk.take(me)
        desk.settle(me, lease, state=state, record=record(Progress(3)))
        assert [(event.kind, event.state) for event in job.watch(1)] == [("progress", state), ("state", state)]


def test_a_connection_that_breaks_loses_no_event(desk: Desk, quaff: Quaff, pool: ThreadPoolExecutor) -> None:
    """All that listen are cut off again and again."""
    me = process_id()
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.02):
            desk.redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        job = put(desk, quaff)
        (lease,) = desk.take(me)
        watcher = Watcher(pool, job)
        for done in range(20):
            say(desk, lease, done)
            wait_until(lambda done=done: watcher.told()[-1:] == [Progress(done)], 8)
        desk.settle(me, lease, record=record())
        watcher.done.result(10)
    finally:
        stop.set()
        cutter.join()
