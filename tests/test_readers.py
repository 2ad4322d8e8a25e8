"""Whoever reads while a job goes from state to state sees what was, in the order in which it was, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quaff import (
    Job,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    Quaff,
    ResultDropped,
    ResultExpired,
    ResultTimeout,
)
from quaff.model import outcome
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.states import JobState
from quaff.store import transitions as t
from tests.store.engine import HOUR, Desk, process_id

ME = process_id()

#: What a reader may hear, by what he hears it as.
ANSWERS: dict[type[Exception], str] = {
    ResultTimeout: "goes on",
    JobFailed: "failed",
    JobCancelled: "cancelled",
    JobExpired: "expired",
    ResultDropped: "dropped",
    ResultExpired: "gone",
    JobNotFound: "unknown",
}


def record(state: JobState, value: bytes = b"\xa5value") -> bytes:
    """An outcome."""
    error = Failure("error", "ValueError", "no") if state is JobState.FAILED else None
    return outcome.encode(Outcome("t", 0, Attempt(1, 1, 2, "w", 1, state, error), msgspec.Raw(value)))


class Life:
    """One job, and what it has been so far: its states, and what ``result(0)`` would say."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        (self.id,) = desk.put(b"m")
        self.was: list[tuple[str, str]] = [("queued", "goes on")]
        self.failed = False

    def to(self, state: str, answer: str = "goes on") -> None:
        """It is that now."""
        if self.was[-1] != (state, answer):
            self.was.append((state, answer))

    def run(self, end: JobState, *, ttl_ms: int = HOUR, release: bool = False) -> None:
        """An attempt that ends so."""
        if self.was[-1][0] in ("scheduled", "retrying"):
            # Written down before, for whoever looks in between: promoted and claimed is one step.
            self.desk.let_be_due(self.id)
        if self.was[-1][0] not in ("queued", "scheduled", "retrying"):
            return
        self.to("running")
        leases = self.desk.take(ME)
        if not leases:
            self.was.pop()
            return
        if release:
            self.desk.release(ME, *leases)
            self.to("queued")
            return
        self.desk.settle(ME, *leases, state=end, ttl_ms=ttl_ms, record=record(end))
        self.failed = not end.terminal and (self.failed or end is JobState.RETRYING)
        # What has failed once and waits is retrying, also where it is put off.
        end = JobState.RETRYING if self.failed else end
        said = {JobState.SUCCEEDED: "value", JobState.RETRYING: "goes on", JobState.SCHEDULED: "goes on"}
        self.to(end, said.get(end, str(end)) if ttl_ms else "dropped")


STEPS: dict[str, Callable[[Life], None]] = {
    "succeed": lambda life: life.run(JobState.SUCCEEDED),
    "succeed and keep nothing": lambda life: life.run(JobState.SUCCEEDED, ttl_ms=0),
    "fail": lambda life: life.run(JobState.FAILED),
    "cancel itself": lambda life: life.run(JobState.CANCELLED),
    "expire": lambda life: life.run(JobState.EXPIRED),
    "try again": lambda life: life.run(JobState.RETRYING, ttl_ms=60_000),
    "snooze": lambda life: life.run(JobState.SCHEDULED, ttl_ms=60_000),
    "give back": lambda life: life.run(JobState.SUCCEEDED, release=True),
}


def requeue(life: Life) -> None:
    """A dead letter is sent back."""
    if life.desk.store.run(t.requeue(life.desk.home, [life.id])) == [b"q"]:
        life.to("queued")


def cancel(life: Life) -> None:
    """What waits is called off."""
    if life.was[-1][0] in ("queued", "retrying", "scheduled"):
        life.desk.cancel(life.id, outcome=record(JobState.CANCELLED))
        life.to("cancelled", "cancelled")


def lose_result(life: Life) -> None:
    """Its time is over."""
    if life.was[-1][1] in ("value", "failed", "cancelled", "expired") and life.was[-1][0] != "failed":
        state, answer = life.was[-1]
        life.desk.let_results_expire(life.id)
        life.to(state, "gone" if answer == "value" else answer)


STEPS |= {"requeue": requeue, "cancel": cancel, "lose its result": lose_result}


def answer_of(job: Job[Any]) -> str:
    """What ``result(0)`` says."""
    try:
        assert job.result(timeout=0) == "value"
    except tuple(ANSWERS) as error:
        return next(word for kind, word in ANSWERS.items() if type(error) is kind)
    return "value"


@contextmanager
def reading(look: Callable[[], str]) -> Iterator[list[str]]:
    """Somebody who looks again and again; what he saw, each thing once in a row."""
    seen: list[str] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def watch() -> None:
        try:
            while True:
                last = stop.is_set()
                now = look()
                if seen[-1:] != [now]:
                    seen.append(now)
                if last:
                    return
        except BaseException as error:  # noqa: BLE001  for the test's own thread
            errors.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(20)
    if errors:
        raise errors[0]


def is_part_of(seen: list[str], was: list[str]) -> bool:
    """Whether one comes about by leaving out some of the other."""
    rest = iter(was)
    return all(each in rest for each in seen)


@pytest.fixture(scope="module")
def world(server_url: str) -> Iterator[tuple[Desk, Quaff]]:
    """One queue for all examples."""
    namespace = f"r{uuid4().hex[:12]}"
    desk = Desk(server_url, namespace, queue="default")
    yield desk, Quaff(server_url, namespace=namespace)
    desk.close()


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@example(steps=["try again", "snooze", "give back", "snooze"])
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=12))
def test_readers_see_what_was_and_in_that_order(world: tuple[Desk, Quaff], steps: list[str]) -> None:
    """Its state and its result, by three at a time, over all states; None of them sees what never was."""
    desk, quaff = world
    life = Life(desk)
    job = quaff.job(str(JobId("default", 0, life.id)))
    with (
        reading(lambda: str(job.state)) as states,
        reading(lambda: answer_of(job)) as answers,
        reading(lambda: str(job.info().state)) as infos,
    ):
        for step in steps:
            STEPS[step](life)
    was, said = [state for state, _ in life.was], [answer for _, answer in life.was]
    for seen in (states, infos):
        assert is_part_of(seen, was), (seen, was)
        assert seen[-1] == was[-1]
    # A result that nobody has is told from one that is late by the server's clock.
    assert is_part_of(answers, said), (answers, said)
    assert answers[-1] == said[-1]
    if not JobState(was[-1]).terminal:
        desk.cancel(life.id)
