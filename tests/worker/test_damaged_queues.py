"""F45: a key of the wrong type in one queue stops neither the other queues, nor the leases, nor this one for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.helpers import wait_until
from tests.worker.support import Stage, after, kill, side_by_side

LEASE = 2.0
#: A queue that gave an error is asked again every 5 s, and what could not be settled is sent again every 2 s.
AGAIN = 5.0 + 2.0
#: Seconds in which the jobs of other queues run: before a damaged one is asked again.
SOON = 3.0


@contextmanager
def damaged(stage: Stage, name: str, queue: str) -> Iterator[None]:
    """A key of a queue is a string for a while; what was in it comes back."""
    raw, key = stage.raw(), stage.key(name, queue)
    aside = key + b".aside"
    if raw.exists(key):
        raw.rename(key, aside)
    raw.set(key, "x")
    yield
    raw.delete(key)
    if raw.exists(aside):
        raw.rename(aside, key)


def test_one_damaged_queue_does_not_stop_the_others(new_stage: Callable[[], Stage]) -> None:
    """F45: its claims fail; jobs of the other queue, before or after it in the list, start at once; it is said once."""

    def scenario(*arguments: str) -> None:
        stage = new_stage()
        worker = stage.worker("-p", "1", "-Q", *arguments)
        with damaged(stage, "ready", "bad"):
            line = worker.wait_for("queue bad: ")
            assert "WRONGTYPE" in line
            for number in range(10):
                assert stage.send("mark", f"good {number}", queue="good").result(timeout=SOON) == f"good {number}"
        job = stage.send("mark", "mended", queue="bad")
        assert job.result(timeout=AGAIN) == "mended"
        assert worker.stop() == 0
        assert sum("queue bad: " in line for line in worker.stderr) == 1, worker.output

    side_by_side(lambda: scenario("bad,good"), lambda: scenario("good,bad"))


def test_results_are_kept_until_a_damaged_queue_takes_them(stage: Stage) -> None:
    """F45, F59: both jobs have ended; the good queue's is recorded, the other one's as soon as its queue is mended."""
    worker = stage.worker("-p", "1", "-Q", "bad,good", LEASE=str(LEASE))
    path = stage.file()
    bad, good = (stage.send("gate", queue, str(path), queue=queue) for queue in ("bad", "good"))
    for queue in ("bad", "good"):
        stage.started(queue)
    with damaged(stage, "active", "bad"):
        path.touch()
        assert good.result(timeout=SOON) == "good"
        assert "WRONGTYPE" in worker.wait_for("results are kept here until it takes them")
        assert stage.send("mark", "other", queue="good").result(timeout=SOON) == "other"
    assert bad.result(timeout=AGAIN) == "bad"
    assert len(stage.runs("bad")) == 1
    assert worker.stop() == 0


def test_a_queue_that_takes_no_results_gives_no_more_jobs(stage: Stage) -> None:
    """F45: what runs there could not be recorded; the other queue goes on, and each job has run once in the end."""
    bad = stage.many("mark", [(f"bad {number}",) for number in range(2000)], queue="bad")
    with damaged(stage, "tomb", "bad"):
        worker = stage.worker("-p", "1", "-Q", "bad,good")
        worker.wait_for("results are kept here until it takes them")
        after(3.0)  # more than the time after which what could not be settled is sent again
        assert len(stage.runs()) <= 2 * 500
        assert stage.send("mark", "good", queue="good").result(timeout=SOON) == "good"
    for job in bad:
        job.result(timeout=AGAIN + 20)
    assert len(stage.runs()) == 2001
    assert worker.stop() == 0


def test_a_burial_that_fails_stops_no_other_chore(stage: Stage) -> None:
    """F1, F45: one queue cannot take its jobs of a dead process; the other one does, and every lease is renewed."""
    worker = stage.worker("-p", "1", "-Q", "bad,good", LEASE=str(LEASE))
    path = stage.file()
    jobs = [stage.send("gate", queue, str(path), queue=queue) for queue in ("bad", "good")]
    runs = [stage.started(queue) for queue in ("bad", "good")]
    (dead,) = stage.leases("good")
    with damaged(stage, "held", "bad"):
        kill(runs[0].pid)
        again = stage.started("good", 2, 5)
        assert again.pid != runs[1].pid
        (living,) = [process for process in stage.leases("good") if process != dead]
        least = LEASE
        for _ in range(20):
            after(LEASE / 10)
            least = min(least, stage.leases("good")[living])
        assert least > LEASE / 4
        wait_until(lambda: any("WRONGTYPE" in line for line in worker.stderr), 5)
    path.touch()
    for job in jobs:
        job.result(timeout=15)
    assert len(stage.runs("bad")) == len(stage.runs("good")) == 2
    assert worker.stop() == 0
    assert sum("WRONGTYPE" in line for line in worker.stderr) < 10, worker.output
