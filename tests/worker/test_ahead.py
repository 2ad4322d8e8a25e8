"""A process that waits has its claim at the server already: a token brings the job with it."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from quaff import Quaff
from quaff.store.scripts import load
from quaff.worker import starts
from quaff.worker.control import Control, Orders
from quaff.worker.process import Process
from tests.helpers import wait_until
from tests.matrix import WORKER, known_as
from tests.proxy import Proxy
from tests.worker.support import Stage


@contextmanager
def process(stage: Stage) -> Iterator[tuple[Process, Quaff]]:
    """One in here, that takes its turns when it is told to; the first ones have brought its claim to the server."""
    inside, app = (
        Quaff(url, namespace=stage.namespace, concurrency=1, async_concurrency=1)
        for url in (known_as(WORKER, stage.url), stage.url)
    )
    for each in (inside, app):
        each.task(lambda number: number, name="echo")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        orders = Orders(
            app="x",
            flags={},
            queues=["default"],
            ordered=False,
            weights={},
            supervisor=os.getppid(),
            worker="here",
            process=secrets.token_hex(8),
            starts=starts.create(),
        )
        here = Process(inside, orders, Control(ours))
        wait_until(lambda: here._fetcher.step(0.01) or here._fetcher._lookout._posts[0].asked, 10)
        yield here, app


def heard(here: Process) -> None:
    """Until the answer to what was claimed ahead is in its socket."""
    connection = here._fetcher._lookout._posts[0].bell._connection
    wait_until(lambda: connection.can_read(0), 10)


def test_the_claim_follows_the_wait(stage: Stage, proxy: Proxy) -> None:
    """Of an idle process with one queue and one partition; also where the wait began beside a job that ran."""
    sent: list[bytes] = []
    line = Proxy(proxy.upstream, watch=sent.append)

    def claims() -> int:
        return sum(chunk.count(load("claim").sha) for chunk in sent)

    try:
        worker = stage.worker("-p", "1", URL=line.url)
        for number in range(3):
            path = stage.file()
            job = stage.send("gate", f"job {number}", str(path))
            stage.started(f"job {number}")
            wait_until(lambda: any(b"BLPOP" in chunk for chunk in sent))
            before = claims()
            path.touch()
            job.result(timeout=5)
            wait_until(lambda: claims() > before, 3)  # noqa: B023  within this turn
            sent.clear()
            stage.send("mark", f"mark {number}").result(timeout=5)
            wait_until(lambda: any(b"BLPOP" in chunk for chunk in sent))
            assert b"BLPOP" in next(chunk for chunk in sent if load("claim").sha in chunk or b"BLPOP" in chunk)
        assert worker.stop() == 0
    finally:
        line.close()


def test_a_job_whose_answer_is_lost_runs_once_and_soon(stage: Stage, proxy: Proxy) -> None:
    """F28: the server has handed it out, and the process has not heard of it."""
    worker = stage.worker("-p", "1", "-c", "2", URL=proxy.url)
    for number in range(8):
        proxy.on_reply("cut")
        assert stage.send("mark", f"job {number}").result(timeout=5) == f"job {number}"
    assert proxy.met == ["cut"] * 8
    assert sorted(run.tag for run in stage.runs()) == [f"job {number}" for number in range(8)]
    assert worker.stop() == 0


def test_a_job_that_comes_in_the_midst_of_an_exchange_waits_for_its_end(stage: Stage) -> None:
    """What is blocked is asked for when a claim tells that it has changed: no answer may be taken for another's."""
    with process(stage) as (here, app):
        app.block(app.tasks["echo"], number=1)
        jobs = [app.tasks["echo"].delay(number) for number in (2, 1)]
        heard(here)
        here._fetcher._comparison._next_at = 0.0
        for _ in range(20):
            here._fetcher.step(0.05)
        assert jobs[0].result(timeout=0) == 2
        assert jobs[1].state == "queued"
        assert not any(line.can_read(0) for line in here._fetcher._link._talks.values())


def test_what_a_process_has_got_and_not_heard_of_when_it_leaves_goes_back(stage: Stage) -> None:
    """F6: at once, also where no supervisor would do it."""
    with process(stage) as (here, app):
        job = app.tasks["echo"].delay(1)
        heard(here)
        assert job.state == "running"
        here._drain()
        assert here.idle
        here._fetcher.leave()
        assert job.state == "queued"


def test_what_was_got_is_asked_for_although_there_is_no_room(stage: Stage) -> None:
    """F28: it goes to whoever has some; nobody else could, for the process lives."""
    with process(stage) as (here, app):
        fetcher = here._fetcher
        job = app.tasks["echo"].delay(1)
        heard(here)
        fetcher._lookout._posts[0].hang_up()
        fetcher._runners["sync"].load = 1  # as if something ran
        assert not fetcher._room(fetcher._lookout.lines[0])
        until = time.monotonic() + 10
        while job.state == "running":
            assert time.monotonic() < until
            fetcher.step(0.05)
        assert job.state == "queued"
