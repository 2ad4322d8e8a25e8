"""Dead letters as an operator meets them: found, sent back and deleted, one or all that match."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from quaff import DeadLetter, Inspector, Job
from quaff.model import outcome
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.states import JobState
from quaff.store.keys import partition
from quaff.store.transitions import claim, settle
from tests.helpers import wait_until
from tests.worker.support import Stage

ME = b"p" * 8


@pytest.fixture
def stage(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A namespace of its own."""
    stage = Stage(server_url, tmp_path_factory.mktemp("inspector"))
    yield stage
    stage.end()


def fail(stage: Stage, task: str, error: str, count: int = 1, queue: str = "default") -> list[Job[object]]:
    """Jobs that were given up for an error, without the time that a worker takes."""
    jobs = stage.many(task, [("x",)] * count, queue=queue)
    home = partition(stage.namespace, queue)
    run = stage.quaff.store.run
    while jobs:
        take = claim(
            home,
            process=ME,
            number=fail.number,
            claim_id=b"%d" % fail.number,
            count=40,  # as many failures as one settle takes
            free=0,
            idle=True,
            lease_ms=9999,
        )
        fail.number += 1
        leases = run(take).leases
        if not leases:
            break
        attempt = Attempt(1, 1, 2, "w", 3, "failed", Failure("error", error, "why"))
        record = outcome.encode(Outcome(task, 0, attempt))
        items = [(lease.id, lease.token, JobState.FAILED, 60_000, b"", record) for lease in leases]
        run(settle(home, process=ME, window_ms=60_000, items=items))
    return jobs


fail.number = 1  # type: ignore[attr-defined]


def test_an_operator_finds_what_was_given_up_and_why(stage: Stage) -> None:
    """With real workers: an error, a crash too many; each with its task, its time and its reason."""
    stage.worker("-p", "1", MAX_CRASHES="1")
    # One after the other: a job that runs beside one that dies is charged, too.
    raised = stage.send("fail", "SystemExit")
    wait_until(lambda: raised.state.terminal, 20, "the failure")
    died = stage.send("die", "dies", "SIGSEGV")
    wait_until(lambda: died.state.terminal, 20, "the crash")
    found = {letter.id: letter for letter in Inspector(stage.quaff).failed()}
    assert set(found) == {raised.id, died.id}
    first, second = found[raised.id], found[died.id]
    assert (first.queue, first.task, first.reason, first.error) == ("default", "fail", "error", "SystemExit")
    assert (second.task, second.reason, second.error) == ("die", "poison", "SIGSEGV")
    assert "SIGSEGV" in second.message
    assert timedelta(0) <= datetime.now(UTC) - first.failed_at < timedelta(minutes=1)


def test_pages_are_read_to_the_end_also_where_hundreds_failed_in_one_moment(stage: Stage) -> None:
    """Each letter once; a queue is asked for alone or with all others."""
    mail = fail(stage, "mark", "OSError", 730, queue="mail")
    home = partition(stage.namespace, "mail")
    dead = stage.raw().zrange(home.key("dead"), 0, -1)
    stage.raw().zadd(home.key("dead"), {id: 1000 + place // 350 for place, id in enumerate(dead)})
    here = fail(stage, "mark", "OSError", 3)
    found = [letter.id for letter in Inspector(stage.quaff).failed(queue="mail")]
    assert len(found) == 730
    assert set(found) == {job.id for job in mail}
    assert {letter.id for letter in Inspector(stage.quaff).failed()} == {job.id for job in here}
    stage.quaff.task(fail, name="of_mail", queue="mail")
    assert len(list(Inspector(stage.quaff).failed())) == 733


def test_all_that_match_are_sent_back_or_deleted_and_nothing_else(stage: Stage) -> None:
    """By task, by error, by both; the number of them is told."""
    inspector = Inspector(stage.quaff)
    a = fail(stage, "mark", "OSError", 250)
    b = fail(stage, "mark", "ValueError", 3)
    c = fail(stage, "amark", "OSError", 4)
    assert inspector.requeue_failed(task="mark", error="OSError") == 250
    assert {job.state for job in a} == {JobState.QUEUED}
    assert {job.state for job in (*b, *c)} == {JobState.FAILED}
    assert inspector.discard_failed(error="OSError") == 4
    left = list(inspector.failed())
    assert {letter.id for letter in left} == {job.id for job in b}
    assert all(isinstance(letter, DeadLetter) and letter.error == "ValueError" for letter in left)
    assert inspector.requeue_failed(task="nobody") == 0
    stage.worker("-p", "1")
    for job in a:
        assert job.result(timeout=30) == "x"


def test_what_fails_again_while_it_is_sent_back_is_not_sent_back_twice(stage: Stage) -> None:
    """A worker is faster than the operator: the call ends, and each job has run once more."""
    stage.worker("-p", "1")
    jobs = stage.many("fail", [("SystemExit",)] * 300)
    wait_until(lambda: all(job.state.terminal for job in jobs), 30, "the failures")
    assert Inspector(stage.quaff).requeue_failed() == 300
    wait_until(lambda: all(job.state.terminal for job in jobs), 30, "the failures again")
    assert {len(job.info().attempts) for job in jobs} == {2}
