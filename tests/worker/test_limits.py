"""Turns, limits and unique jobs with real workers, some of which are killed."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from quaff import Concurrency, Job, Quaff
from quaff.store.keys import partition
from tests.chaos import ledger
from tests.helpers import wait_until
from tests.store.engine import Desk
from tests.worker import orderapp
from tests.worker.support import Stage, children, kill

APP = "tests.worker.orderapp:quaff"
FULL = bool(os.environ.get("FULL"))
#: Seconds between a claim, which counts, and the first line of the task, which is what a test can see.
DELAY = 0.2


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """The application of orderapp.py on this stage."""
    return stage.sends(orderapp.quaff)


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    """Looks at the stage's queue, and at its invariants."""
    desk = Desk(stage.url, stage.namespace)
    desk.home = partition(stage.namespace, "default")
    yield desk
    desk.close()


def test_a_small_tenant_waits_for_one_turn_and_not_for_the_backlog_of_a_big_one(stage: Stage, quaff: Quaff) -> None:
    """s places, k keys that wait: at most s + k other starts come before."""
    turn = quaff.tasks["turn"]
    turn.map([("a", 0.02)] * (100_000 if FULL else 10_000))
    stage.worker("-p", "1", "-c", "4", app=APP)
    wait_until(lambda: len(stage.runs("a")) > 20, 20)
    for tenant, count in (("b", 1), ("c", 10)):
        turn.map([(tenant, 0.02)] * count)
        sent = ledger.now()  # it is in line: what began while it was on its way does not count
        first = stage.started(tenant).started
        before = [run for run in stage.runs() if sent < run.started < first]
        assert len(before) <= 4 + 3, (tenant, len(before))
    wait_until(lambda: len(stage.runs("c")) == 10, 20)
    starts = [run.tag for run in stage.runs()]
    begin = starts.index("c")
    assert Counter(starts[begin : begin + 16])["c"] >= 7  # turn by turn


def test_no_window_has_more_starts_than_the_rate_and_its_burst(stage: Stage, quaff: Quaff) -> None:
    """Ten a second with a burst of two, three keys, eight processes; and no less than that."""
    jobs = [job for key in "abc" for job in quaff.tasks["rated"].map([(key,)] * 30)]
    stage.worker("-p", "8", "-c", "2", app=APP, ready=False).wait_for("ready", 60)
    for job in jobs:
        job.result(timeout=30)
    for key in "abc":
        starts = check_windows(stage, key)
        assert len(starts) == 30
        # 28 after the burst, one each 100 ms, and nobody waits for a poll.
        assert 2.8 - DELAY <= starts[-1] - starts[0] < 4.5
        assert {run.attempt for run in stage.runs(key)} == {1}


def test_one_process_alone_keeps_up_with_the_rate(stage: Stage, quaff: Quaff) -> None:
    """Nobody else wakes it: it starts the next one when the limit opens, not at the next look."""
    stage.worker("-p", "1", "-c", "2", app=APP)
    for job in quaff.tasks["rated"].map([("a",)] * 12):
        job.result(timeout=30)
    starts = [run.started for run in stage.runs("a")]
    assert 1.0 - DELAY <= starts[-1] - starts[0] < 4.0  # ten after the burst, one each 100 ms


def test_a_rate_holds_while_half_of_the_workers_are_killed(stage: Stage, quaff: Quaff) -> None:
    """Eight workers, four of which lose all their processes again and again; what runs a second time counts again."""
    choice = random.Random(5)
    workers = [stage.worker("-p", "1", "-c", "2", app=APP, ready=False) for _ in range(8)]
    for worker in workers:
        worker.wait_for("ready", 60)
    jobs = [job for key in "abc" for job in quaff.tasks["rated"].map([(key,)] * 40)]
    kills = 0
    while not all(job.state.terminal for job in jobs):
        time.sleep(choice.uniform(0.1, 0.4))
        for pid in children(choice.choice(workers[:4])):
            kill(pid)
            kills += 1
    assert kills >= 4
    for key in "abc":
        assert len(check_windows(stage, key)) >= 40
    assert Counter(job.state for job in jobs) == {"succeeded": 120}


def check_windows(stage: Stage, key: str) -> list[float]:
    """When jobs of a key started; no second has more than ten, and the burst of two."""
    starts = [run.started for run in stage.runs(key)]
    for earlier, later in zip(starts, starts[12:], strict=False):
        assert later - earlier >= 1 - DELAY
    return starts


def test_a_cap_is_never_exceeded_and_never_leaks_with_half_the_workers_killed(
    stage: Stage, quaff: Quaff, desk: Desk
) -> None:
    """Each look at the server shows no more taken than runs, and no more running than allowed."""
    choice = random.Random(7)
    workers = [stage.worker("-p", "2", "-c", "4", app=APP, ready=False) for _ in range(2)]
    for worker in workers:
        worker.wait_for("ready", 40)
    jobs = [job for key in "ab" for job in quaff.tasks["capped"].map([(key, 0.05)] * 60)]
    kills, ended = 0, 0
    while ended < len(jobs):
        dump = desk.dump()
        assert all(0 < int(used) <= 3 for used in dump.slots.values())
        ended = len(dump.tomb)
        if kills < 6 and ended > 15 * (kills + 1) and (living := children(workers[0])):
            kill(choice.choice(living))
            kills += 1
        time.sleep(0.01)
    assert kills >= 3  # fewer on a machine that is slow to start processes
    assert desk.dump().slots == {}
    assert Counter(job.state for job in jobs) == {"succeeded": 120}


def test_other_numbers_hold_at_once(stage: Stage, quaff: Quaff) -> None:
    """An operator stops one key, and lets it go on."""
    limit = Concurrency(3, key="{key}")
    queue = quaff.queue("default")
    queue.set_limit(Concurrency(1, key="{key}"), only="a")
    stage.worker("-p", "1", "-c", "8", app=APP)
    quaff.tasks["capped"].map([("a", 5.0)] * 4 + [("b", 5.0)] * 4)
    wait_until(lambda: len(stage.runs("b")) == 3, 10)
    assert len(stage.runs("a")) == 1
    queue.reset_limit(limit, only="a")
    wait_until(lambda: len(stage.runs("a")) == 3, 10)
    assert [each.what for each in queue.changes()] == ["limit", "limit"]


def test_fifty_at_once_make_one_job(stage: Stage, quaff: Quaff) -> None:
    """Fifty equal ids, one of them new."""
    single = quaff.tasks["single"]
    with ThreadPoolExecutor(50) as pool:
        jobs = list(pool.map(lambda _: single.delay(1), range(50)))
    assert len({job.id for job in jobs}) == 1
    assert [job.existing for job in jobs].count(False) == 1
    assert quaff.queue("default").stats().queued == 1


@pytest.mark.timeout(600)
def test_a_unique_job_is_followed_the_moment_it_has_ended_and_never_before(stage: Stage, quaff: Quaff) -> None:
    """F4: SIGKILL at a hundred random points (FULL), with retries, cancellations and expiry in between."""
    choice = random.Random(11)
    worker = stage.worker("-p", "2", "-c", "2", app=APP)
    single = quaff.tasks["single"]
    # Late enough to fall into all that a job goes through: its way to the process, its run, its end.
    kills = iter(sorted(choice.uniform(0, 0.15) for _ in range(100 if FULL else 12)))
    deeds = ["kill"] * (100 if FULL else 12) + ["cancel", "expire", "nothing"] * (10 if FULL else 3)
    choice.shuffle(deeds)
    ends = Counter[str]()
    for round, what in enumerate(deeds):
        sender = single.options(expires=datetime(2020, 1, 1, tzinfo=UTC)) if what == "expire" else single
        job: Job[int] = sender.delay(round, choice.choice([0, 0, 1, 9]))
        assert not job.existing
        until = time.monotonic() + (next(kills) if what == "kill" else choice.uniform(0, 0.1))
        done = what in ("expire", "nothing")
        while True:
            again = single.delay(round)
            if not again.existing:
                break
            assert again.id == job.id
            if not done and time.monotonic() > until:
                done = True
                if what == "kill":
                    for pid in children(worker):
                        kill(pid)
                else:
                    job.cancel()
        assert again.id != job.id
        assert job.state.terminal
        ends[job.state] += 1
        again.cancel()
    assert ends["expired"] == deeds.count("expire")
    assert ends["succeeded"] > 0


@pytest.mark.alone  # it counts seconds
def test_short_jobs_do_not_wait_in_a_busy_worker(stage: Stage, quaff: Quaff) -> None:
    """Two workers, two slots each, one of them busy for long: the other one takes all that is short."""
    stage.worker("-p", "1", "-c", "2", app=APP)
    turn = quaff.tasks["turn"]
    turn.map([("long", 60.0)] * 2)
    wait_until(lambda: len(stage.runs("long")) == 2, 10)
    free = stage.worker("-p", "1", "-c", "2", app=APP)
    sent = ledger.now()
    jobs = turn.map([("short", 0.01)] * 20)
    for job in jobs:
        job.result(timeout=10)
    runs = stage.runs("short")
    assert {run.parent for run in runs} == {free.pid}
    assert runs[0].started - sent < 1
