"""Iterations go on where they were, after whatever ended the attempt."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from quaff import Job, JobCancelled, JobState
from tests.helpers import wait_until
from tests.worker.support import Stage, after, children, kill
from tests.worker.test_steps import APP, tasks_of

#: ``FULL=1`` takes the million.
ITEMS, KILLS = (1_000_000, 20) if os.environ.get("FULL") else (150_000, 4)


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker for the tests that end none."""
    stage = Stage(server_url, tmp_path_factory.mktemp("iterations"))
    tasks_of(stage)
    stage.worker("-p", "1", app=APP)
    yield stage
    stage.end()


def by_process(stage: Stage, job: Job[Any]) -> list[list[tuple[int, float]]]:
    """The items that each process has handled, and when, the first process first."""
    files = [path.read_bytes().splitlines() for path in stage.ledger.glob(f"items.{job.id}.*")]
    found = [[(int(item), float(at)) for item, at in map(bytes.split, lines)] for lines in files]
    return sorted((each for each in found if each), key=lambda each: each[0][1])


def items(stage: Stage, job: Job[Any]) -> Counter[int]:
    """How often each item was handled."""
    return Counter(item for each in by_process(stage, job) for item, _ in each)


@pytest.mark.parametrize("how", ["list", "iterable", "keyed", "generator", "after", "offset"])
def test_an_iteration_goes_on_with_the_next_item(shared: Stage, how: str) -> None:
    """Whatever is iterated over; the item at which the attempt ended by an exception comes again, no other."""
    job = shared.quaff.tasks["loops"].delay(12, 0.0, how)
    assert job.result(timeout=15) == 5
    assert items(shared, job) == {number: 2 if number == 7 else 1 for number in range(12)}


@pytest.mark.parametrize("how", ["async", "keyed", "after"])
def test_an_iteration_in_a_coroutine_does_too(shared: Stage, how: str) -> None:
    """Over async sources."""
    job = shared.quaff.tasks["aloops"].delay(12, 0.0, how)
    assert job.result(timeout=15) == 5
    assert items(shared, job) == {number: 2 if number == 7 else 1 for number in range(12)}


def test_an_iteration_that_has_ended_is_skipped(shared: Stage) -> None:
    """By a later attempt."""
    assert shared.quaff.tasks["once"].delay().result(timeout=10) == []


@pytest.mark.parametrize("name", ["loops", "aloops"])
def test_a_deploy_ends_an_iteration_between_two_items_and_the_next_worker_goes_on(stage: Stage, name: str) -> None:
    """At once, at no cost, and without a repeat; progress and the time left are told on the way."""
    quaff = tasks_of(stage)
    job = quaff.tasks[name].delay(300, 0.01)
    for _ in range(2):
        worker = stage.worker("-p", "1", app=APP)
        before = sum(items(stage, job).values())
        wait_until(lambda before=before: sum(items(stage, job).values()) > before + 30, 15)
        said = wait_until(lambda: job.info().progress, 10)
        assert said.total == 300
        assert said.seconds_left is not None
        assert 0 < said.seconds_left < 30
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 5
        assert job.state is JobState.QUEUED
        (step,) = job.info().steps
        assert (step.name, step.kind, step.state) == ("iterate", "iteration", "begun")
    stage.worker("-p", "1", app=APP)
    job.result(timeout=20)
    assert items(stage, job) == dict.fromkeys(range(300), 1)
    assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "released")] * 2 + [(1, "succeeded")]


@pytest.mark.parametrize("name", ["loops", "aloops"])
def test_a_cancelled_iteration_ends_at_the_next_item(shared: Stage, name: str) -> None:
    """A function with the reason that was given; both leave nothing."""
    job = shared.quaff.tasks[name].delay(100_000, 0.01)
    wait_until(lambda: len(items(shared, job)) > 5, 15)
    assert job.cancel("enough")
    with pytest.raises(JobCancelled, match="enough" if name == "loops" else None):
        job.result(timeout=10)
    assert shared.raw().exists(shared.key("steps", "loops")) == 0


@pytest.mark.timeout(180)
def test_many_items_with_many_kills_are_all_handled(stage: Stage) -> None:
    """A kill repeats what was done since the last cursor: a second, and what the saving takes on a busy machine."""
    quaff = tasks_of(stage)
    worker = stage.worker("-p", "1", app=APP, MAX_CRASHES="100")
    job = quaff.tasks["loops"].options(timeout=0).delay(ITEMS, 0.03, every=1000)
    dice = random.Random(1)
    for number in range(KILLS):
        wait_until(lambda number=number: len(list(stage.ledger.glob("items.*"))) > number, 20)
        after(dice.uniform(0.1, 2.0))
        pid = children(worker)[0]
        kill(pid)
        wait_until(lambda pid=pid: pid not in children(worker), 10)
    job.result(timeout=90)
    processes = by_process(stage, job)
    assert len(processes) == KILLS + 1
    assert {item for each in processes for item, _ in each} == set(range(ITEMS))
    repeated = []
    for killed, following in pairwise(processes):
        times, again = dict(killed), following[0][0]
        assert again <= killed[-1][0] + 1
        repeated.append(killed[-1][1] - times.get(again, killed[0][1]))
    print(f"seconds that were repeated: {[round(each, 1) for each in repeated]}")
    assert max(repeated) < 2.5
    assert sum(each > 0 for each in repeated) > KILLS / 3
