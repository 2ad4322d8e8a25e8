"""F54, F63: who takes a token uses it or passes it on; a job that runs alone stays alone; nobody asks without need."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.helpers import wait_until
from tests.worker.support import Stage, after, children, kill, side_by_side

NewStage = Callable[[], Stage]

#: Seconds: a job for which a token came starts within the first; without one it would be about the second.
SOON, POLL = 2.0, 5.0


def test_a_job_that_runs_alone_stays_alone(new_stage: NewStage) -> None:
    """F54: tokens of this and another queue come while it runs in the only process: nothing begins beside it."""

    def scenario() -> None:
        stage = new_stage()
        stage.worker("-p", "1", "-Q", "default,other")
        path = stage.file()
        # As after a crash, but without a token: the process finds it by itself, so that it still waits for one.
        with stage.raw().pipeline(transaction=True) as pipe:
            id = stage.forge(pipe, "gate", "alone", str(path))
            pipe.hset(stage.key("tries"), id, "1 1 0 0 ").lpush(stage.key("solo"), id).execute()
        stage.started("alone")
        jobs = []
        for number in range(5):
            jobs.append(stage.send("mark", f"neighbour {number}", queue=("default", "other")[number % 2]))
            after(0.1)
        after(0.5)
        assert [run.tag for run in stage.runs()] == ["alone"]
        path.touch()
        for job in jobs:
            job.result(timeout=5)
        alone, *others = stage.runs()
        assert alone.ended is not None
        assert all(run.started >= alone.ended for run in others)

    side_by_side(*[scenario] * 3)


def test_a_process_takes_a_lonely_job_as_soon_as_it_is_idle(stage: Stage) -> None:
    """F54: several jobs wait to run alone, and one process has been at them for a while."""
    busy = stage.worker("-p", "1", "-c", "2")
    long, alone = stage.file(), [stage.file(), stage.file()]
    stage.send("gate", "long", str(long))
    stage.started("long")
    idle = stage.worker("-p", "1", "-c", "2")
    with stage.raw().pipeline(transaction=True) as pipe:
        for number, path in enumerate(alone):
            id = stage.forge(pipe, "gate", f"alone {number}", str(path))
            pipe.hset(stage.key("tries"), id, "1 1 0 0 ").lpush(stage.key("solo"), id)
        pipe.lpush(stage.key("wake"), b"1").execute()
    assert stage.started("alone 0").parent == idle.pid
    after(1.5)  # for so long the other one would have been asked to empty itself
    long.touch()
    second = stage.started("alone 1")
    assert second.parent == busy.pid
    ended = stage.started("long").ended
    assert ended is not None
    assert second.started - ended < SOON
    for path in alone:
        path.touch()


def test_the_neighbour_of_a_crash_goes_on_working(stage: Stage) -> None:
    """F54: one of two processes dies; its job runs on and on in the next one, alone; the other one is soon at work."""
    worker = stage.worker("-p", "2", "-c", "4")
    here = set(children(worker))
    # One long job in each.
    paths: dict[int, Path] = {}
    for number in range(50):
        path = stage.file()
        job = stage.send("gate", f"long {number}", str(path))
        run = stage.started(f"long {number}")
        if run.pid not in paths:
            paths[run.pid] = path
            dying = run
        else:
            path.touch()
            job.result(timeout=10)
        if set(paths) == here:
            break
    (neighbour,) = here - {dying.pid}
    kill(dying.pid)
    for number in range(30):
        stage.send("mark", f"after {number}")
        after(0.1)
    alone = stage.started(dying.tag, 2)
    assert alone.pid not in here
    # Only the neighbour can run them: those of the first moments within 2 s, the later ones at once.
    wait_until(lambda: len([run for run in stage.runs() if run.tag.startswith("after")]) == 30, SOON, "all run")
    assert stage.started("after 29").started - alone.started < 3.0 + SOON
    assert stage.send("mark", "later").result(timeout=SOON) == "later"
    runs = [run for run in stage.runs() if run.tag.startswith(("after", "later"))]
    assert {run.pid for run in runs if run.started > alone.started} == {neighbour}
    for path in paths.values():
        path.touch()
    assert worker.stop() == 0


def test_a_stopping_process_passes_its_tokens_on(new_stage: NewStage) -> None:
    """F6: the process that waited longest is woken first, and may be the one that is about to go."""

    def new_jobs() -> None:
        stage = new_stage()
        stopping = stage.worker("-p", "1", "--grace", "30")
        path = stage.file()
        job = stage.send("gate", "long", str(path))
        stage.started("long")
        other = stage.worker("-p", "1")
        stopping.send()
        stopping.wait_for("stopping")
        for number in range(3):
            assert stage.send("mark", f"new {number}").result(timeout=SOON) == f"new {number}"
        path.touch()
        assert job.result(timeout=10) == "long"
        assert stopping.wait() == 0
        assert {run.parent for run in stage.runs() if run.tag != "long"} == {other.pid}

    def given_back(task: str, *signals: int) -> None:
        stage = new_stage()
        stopping = stage.worker("-p", "1", "--grace", "0.5" if len(signals) == 1 else "30")
        path = stage.file()
        stage.send(task, "long", str(path))
        stage.started("long")
        other = stage.worker("-p", "1")
        for number in signals:
            stopping.send(number)
            after(0.3)
        gone = stopping.wait_for("has stopped")
        again = stage.started("long", 2, SOON)
        assert again.parent == other.pid, gone
        path.touch()

    side_by_side(
        new_jobs,
        lambda: given_back("gate", signal.SIGTERM),
        lambda: given_back("agate", signal.SIGTERM),
        lambda: given_back("gate", signal.SIGTERM, signal.SIGTERM),
    )


APP = """
import time

from tests.chaos import ledger
from tests.worker.workapp import quaff


@quaff.task(name="early", queue="a")
def early(tag):
    with ledger.run(tag):
        time.sleep(0.05)


@quaff.task(name="coroutine", queue="b")
async def coroutine(tag):
    with ledger.run(tag):
        pass


for name in [name for name in quaff.tasks if name not in ("early", "coroutine", "mark", "gate")]:
    del quaff.tasks[name]
"""


def own_queues(stage: Stage) -> Path:
    """A folder with an application whose queues are a and default for functions, and b for coroutines."""
    folder = stage.folder / stage.namespace
    folder.mkdir()
    (folder / "own_queues.py").write_text(APP)
    return folder


def test_queues_take_turns_unless_their_order_was_given(new_stage: NewStage) -> None:
    """Without -Q a backlog in one queue keeps no other one waiting; with -Q a,default the first one comes first."""

    def place_of_the_last(*arguments: str) -> int:
        stage = new_stage()
        stage.quaff.task(lambda tag: None, name="early", queue="a")
        stage.many("early", [(f"a {n}",) for n in range(60)])
        jobs = stage.many("mark", [(f"default {n}",) for n in range(3)])
        stage.worker("-p", "1", "-c", "1", *arguments, app="own_queues:quaff", cwd=own_queues(stage))
        for job in jobs:
            job.result(timeout=30)
        return [run.tag for run in stage.runs()].index("default 2")

    def turns() -> None:
        assert place_of_the_last() < 30

    def in_order() -> None:
        assert place_of_the_last("-Q", "a,default") == 62

    side_by_side(turns, in_order)


def test_a_process_with_one_kind_of_slot_full_asks_seldom(stage: Stage) -> None:
    """Its thread is taken for long, its event loop is free: coroutines start at once, and the server is left alone."""
    worker = stage.worker("-p", "1", "-c", "1", app="own_queues:quaff", cwd=own_queues(stage))
    path = stage.file()
    job = stage.send("gate", "long", str(path))
    stage.started("long")
    stage.quaff.task(lambda tag: None, name="coroutine", queue="b")
    raw = stage.raw()

    def asked() -> int:
        return int(raw.info("commandstats")["cmdstat_evalsha"]["calls"])

    rates = []
    for number in range(3):
        # A token ends the waiting that began when there was still room for everything.
        assert stage.send("coroutine", f"coroutine {number}").result(timeout=SOON) is None
        after(0.5)
        before = asked()
        after(1.5)
        rates.append((asked() - before) / 1.5)
    # Who asks without need does so all the time; on a busy machine something else may fall into one of the windows.
    assert min(rates) < 10, rates
    path.touch()
    job.result(timeout=10)
    assert worker.stop() == 0
