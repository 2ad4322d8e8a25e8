"""What an operator, and code that is no job, can do about a queue while workers run."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask

from quaff import (
    Concurrency,
    ConfigurationError,
    EncodeError,
    LimitReached,
    Quaff,
    QueueFull,
    RateLimit,
    UnknownTask,
)
from quaff.flask import Quaff as FlaskQuaff
from quaff.model import blocking, codec
from quaff.model.placement import limit_name
from tests.chaos import ledger
from tests.helpers import in_loop, wait_until
from tests.worker import orderapp
from tests.worker.support import Stage

APP = "tests.worker.orderapp:quaff"


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """The application of orderapp.py on this stage."""
    stage.quaff.tasks.clear()
    return stage.sends(orderapp.quaff)


@pytest.mark.parametrize("rule", [b"noise", codec.pack(["turn", [], "of a later release"]), codec.pack(["turn", 7])])
def test_a_rule_that_a_worker_cannot_read_stops_nothing(stage: Stage, rule: bytes) -> None:
    """A later release may have written it: the others hold, and the worker says so."""
    stage.raw().zadd(stage.key("blocks"), {rule: 1, blocking.encode("nap", {}): 2})
    stage.raw().hset(stage.key("meta"), mapping={"blocks": 1, "blocks_changed": 1})
    worker = stage.worker("-p", "1")
    blocked = stage.send("nap", "blocked", 0.0)
    assert stage.send("mark", "runs").result(timeout=10) == "runs"
    wait_until(lambda: blocked.info().parked, 10, "the blocked one is put aside")
    assert "cannot be read" in worker.wait_for("blocked")
    assert worker.stop() == 0


def test_what_is_blocked_waits_and_nothing_else_does(stage: Stage, quaff: Quaff) -> None:
    """By an argument, by the task, with a worker that runs already; lifted, it starts within seconds."""
    turn, single = quaff.tasks["turn"], quaff.tasks["single"]
    stage.worker("-p", "1", "-c", "4", app=APP)
    turn.delay("warm", 0).result(timeout=10)
    assert quaff.block(turn, tenant="a")
    assert not quaff.block("turn", tenant="a")
    assert quaff.block(single)
    assert sorted(quaff.queue("default").blocked()) == ["single()", "turn(tenant='a')"]
    held = [*turn.map([("a", 0.0)] * 5), single.delay(1)]
    assert all(job.result(timeout=10) is None for job in turn.map([("b", 0.0)] * 5))
    wait_until(lambda: quaff.queue("default").stats().parked == 6, 10)
    assert {job.state for job in held} == {"queued"}
    assert held[0].info().parked
    assert quaff.unblock(turn, tenant="a")
    assert [job.result(timeout=10) for job in held[:5]] == [None] * 5
    assert held[5].state == "queued"
    assert quaff.unblock(single)
    assert held[5].result(timeout=10) == 1
    assert quaff.queue("default").blocked() == []
    changed = [each.what for each in quaff.queue("default").changes()]
    assert changed == ["unblock", "unblock", "block", "block"]
    assert held[0].info().attempts[0].number == 1


def test_a_rule_that_no_call_could_fit_is_refused(quaff: Quaff) -> None:
    """Before anything is sent."""
    with pytest.raises(UnknownTask, match="Did you mean 'turn'"):
        quaff.block("trn")
    with pytest.raises(ConfigurationError, match="Did you mean 'tenant'"):
        quaff.block("turn", tennant="a")
    with pytest.raises(EncodeError):
        quaff.block("turn", tenant=object())


def test_a_pause_ends_by_itself_after_its_time(stage: Stage, quaff: Quaff) -> None:
    """F67: and idle workers hear of it."""
    turn, queue = quaff.tasks["turn"], quaff.queue("default")
    stage.worker("-p", "1", app=APP)
    began = time.monotonic()
    assert queue.pause(for_=0.5)
    assert turn.delay("a", 0.0).result(timeout=10) is None
    assert 0.4 < time.monotonic() - began < 3
    assert queue.pause()
    assert not queue.pause()
    job = turn.delay("a", 0.0)
    assert queue.stats().paused
    assert queue.resume()
    assert job.result(timeout=10) is None


def test_a_purge_cancels_what_waits_and_leaves_what_runs(stage: Stage, quaff: Quaff) -> None:
    """F67: all of it, in steps."""
    turn, queue = quaff.tasks["turn"], quaff.queue("default")
    stage.worker("-p", "1", "-c", "1", app=APP)
    path = stage.file()
    running = quaff.tasks["gate"].delay("r", str(path))
    stage.started("r")
    waiting = turn.map([("w", 0.0)] * 250)
    later = turn.options(delay=3600).delay("l", 0.0)
    assert queue.purge() == 250
    assert {job.state for job in (waiting[0], waiting[-1])} == {"cancelled"}
    assert later.state == "scheduled"
    assert queue.purge(scheduled=True) == 1
    path.touch()
    assert running.result(timeout=10) is None
    assert stage.runs("w") == []


def test_a_full_queue_says_so_and_takes_jobs_again_when_there_is_room(stage: Stage, quaff: Quaff) -> None:
    """A typed error with the time to wait; what was stored before is on it."""
    turn, queue = quaff.tasks["turn"], quaff.queue("default")
    queue.set_capacity(jobs=600)
    with pytest.raises(QueueFull) as caught:
        turn.map([("a", 0.0)] * 1000)
    assert caught.value.retry_after >= 1
    assert len(caught.value.jobs) == queue.stats().queued == 600
    stage.worker("-p", "1", app=APP)
    wait_until(lambda: queue.stats().queued == 0, 10)
    turn.delay("a", 0.0).result(timeout=10)
    for wrong in ({"jobs": 0}, {"size": -1}, {"jobs": 1.5}):
        with pytest.raises(ConfigurationError):
            queue.set_capacity(**wrong)  # type: ignore[arg-type]


def test_calls_are_spread_over_time(stage: Stage, quaff: Quaff) -> None:
    """Evenly, the first one at once; each runs when it is due."""
    first, *later = quaff.tasks["turn"].map([("slow", 0.0)] * 10, spread=600)
    assert first.state == "queued"
    due = [job.info().scheduled_for for job in later]
    assert [(there - here).total_seconds() for here, there in pairwise(due) if here and there] == [60.0] * 8
    stage.worker("-p", "1", app=APP)
    sent = ledger.now()
    for job in quaff.tasks["turn"].map([("quick", 0.0)] * 5, spread=1):
        job.result(timeout=10)
    # Not earlier than they are due: the server counts whole milliseconds.
    assert all(run.started - sent > 0.2 * place - 0.002 for place, run in enumerate(stage.runs("quick")))
    assert len(stage.runs("slow")) == 1
    with pytest.raises(ConfigurationError, match="spread"):
        quaff.tasks["turn"].map([("s", 0.0)], spread=-1)


def test_code_outside_of_tasks_keeps_to_a_limit_that_tasks_have(stage: Stage, quaff: Quaff) -> None:
    """``capped`` declares Concurrency(3, key="{key}"): a guest with that key takes one of the three places."""
    stage.worker("-p", "1", "-c", "8", app=APP)
    shared = Concurrency(3, key="{key}")
    with quaff.limit("a", shared), quaff.limit("a", shared):
        quaff.tasks["capped"].map([("a", 3.0)] * 4)
        stage.started("a")
        with pytest.raises(LimitReached) as caught, quaff.limit("a", shared):
            pass
        assert caught.value.retry_after == 1
    wait_until(lambda: len(stage.runs("a")) == 3, 10)


def test_many_threads_never_exceed_a_limit(quaff: Quaff) -> None:
    """One object for all of them."""
    limit = quaff.limit("pool", Concurrency(3))
    inside: list[int] = []
    most: list[int] = []

    def enter(number: int) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                with limit:
                    inside.append(number)
                    most.append(len(inside))
                    time.sleep(0.005)
                    inside.remove(number)
                return
            except LimitReached:
                time.sleep(0.002)
        raise AssertionError("never got in")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(40)))
    assert max(most) == 3
    assert len(most) == 40


def test_a_coroutine_keeps_to_a_limit_and_leaves_it_when_it_is_cancelled(quaff: Quaff) -> None:
    """``async with``."""
    limit = quaff.limit("async", Concurrency(1))

    async def main() -> None:
        inside = asyncio.Event()

        async def hold() -> None:
            async with limit:
                inside.set()
                await asyncio.sleep(60)

        holder = asyncio.create_task(hold())
        await inside.wait()
        with pytest.raises(LimitReached):
            async with limit:
                pass
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        async with limit:
            pass

    in_loop(quaff, main)


@pytest.mark.parametrize("key", ["", None, "x" * 1025])
def test_a_guest_needs_a_key(quaff: Quaff, key: Any) -> None:
    """A text; braces in it are what they are."""
    with pytest.raises(ConfigurationError, match="1 to 1024 characters"):
        quaff.limit(key, RateLimit(1))
    with quaff.limit("{", RateLimit(1)), pytest.raises(LimitReached):
        quaff.limit("{", RateLimit(1)).__enter__()


def test_who_is_inside_a_limit_keeps_the_place_as_long_as_it_was_promised(quaff: Quaff, stage: Stage) -> None:
    """Two threads share a guest: the one that came later leaves first, and its place is what remains."""
    guest = quaff.limit("shared", Concurrency(2), hold=30)
    guest.__enter__()
    (first,) = stage.raw().zrange(stage.key("guests"), 0, -1)
    guest.__enter__()
    guest.__exit__(None, None, None)
    (left,) = stage.raw().zrange(stage.key("guests"), 0, -1)
    assert left != first
    guest.__exit__(None, None, None)
    assert not stage.raw().exists(stage.key("guests"))


def test_other_numbers_are_for_a_limit_that_can_be(quaff: Quaff) -> None:
    """Not for something that only looks like one."""
    queue, task = quaff.queue("default"), quaff.tasks["turn"]
    wrong: Any
    for wrong in ({"limit": 5}, {"limit": RateLimit(1), "task": task}, {"limit": RateLimit(1, key="a"), "only": 5}):
        with pytest.raises(ConfigurationError, match="give"):
            queue.set_limit(**wrong)
    with pytest.raises(ConfigurationError, match="task name"):
        queue.set_limit(RateLimit(1), task="no such")
    with pytest.raises(ConfigurationError, match="from 1"):
        queue.changes(0)
    with pytest.raises(UnknownTask):
        quaff.block(5)  # type: ignore[arg-type]


def test_other_numbers_for_a_limit_that_the_task_does_not_have_are_refused(quaff: Quaff) -> None:
    """They would never hold: a wrong name, a task without one of its own, and one whose limit has a key."""
    queue = quaff.queue("default")
    quaff.task(name="own", rate=RateLimit(5, key=lambda: "a"), aliases=["former"])(lambda: None)
    with pytest.raises(UnknownTask, match="Did you mean 'capped'"):
        queue.set_limit(Concurrency(1), task="cappd")
    with pytest.raises(ConfigurationError, match="'turn' has no RateLimit"):
        queue.set_limit(RateLimit(1), task="turn")
    with pytest.raises(ConfigurationError, match="'own' has no Concurrency"):
        queue.reset_limit(Concurrency(1), task="own")
    with pytest.raises(ConfigurationError, match=r"key='{key}'"):
        queue.set_limit(Concurrency(1), task="capped")
    for name in ("own", "former"):
        queue.set_limit(RateLimit(1), task=name)
    about = {each.about for each in queue.changes()}
    assert about == {limit_name("r", "own()", "")[17:] + " 1 1000 1"}


def test_other_numbers_wait_for_who_comes_later(quaff: Quaff) -> None:
    """A key that no job has had yet, nor ever has: a guest brings its own numbers, and these come first."""
    quaff.queue("default").set_limit(Concurrency(1, key="later"))
    guest = quaff.limit("later", Concurrency(2))
    with guest, pytest.raises(LimitReached):
        guest.__enter__()


def test_a_limit_without_numbers_that_can_be_told_is_refused(quaff: Quaff) -> None:
    """A function needs a call, and there is none."""
    for limit in (RateLimit(1, key=lambda: "a"), Concurrency(2, cost=lambda: 1)):
        with pytest.raises(ConfigurationError, match="outside of a task"):
            quaff.limit("a", limit)
    with pytest.raises(ConfigurationError):
        quaff.limit("a", Concurrency(1), hold=-1)
    with pytest.raises(ConfigurationError, match="give RateLimit"):
        quaff.limit("a", 10)  # type: ignore[arg-type]
    for limit in (Concurrency(1), RateLimit(1, key=lambda: "a")):
        with pytest.raises(ConfigurationError, match="give task="):
            quaff.queue("default").set_limit(limit)


def test_a_flask_view_over_its_limit_answers_429_and_a_full_queue_503(stage: Stage) -> None:
    """With Retry-After, and shown as the application shows such errors."""
    app = Flask("shop")
    app.config.update(QUAFF_URL=stage.url, QUAFF_NAMESPACE=stage.namespace, SECRET_KEY="x")
    quaff = FlaskQuaff(app)

    @quaff.task(name="note")
    def note() -> None: ...

    @app.get("/api")
    def api() -> str:
        with quaff.limit("api", RateLimit(1, per=100)):
            return "in"

    @app.get("/send")
    def send() -> str:
        return note.delay().id

    app.register_error_handler(429, lambda error: (f"slow down: {error.retry_after}", 429, error.get_headers()))
    client = app.test_client()
    assert client.get("/api").status_code == 200
    answer = client.get("/api")
    assert answer.status_code == 429
    assert 90 < int(answer.headers["Retry-After"]) <= 100
    assert answer.get_data(as_text=True).startswith("slow down: ")
    quaff.queue("default").set_capacity(jobs=1)
    assert client.get("/send").status_code == 200
    full = client.get("/send")
    assert full.status_code == 503
    assert int(full.headers["Retry-After"]) >= 1
