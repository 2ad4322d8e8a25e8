"""Jobs: what their handles answer, whatever became of them, and from wherever one asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from quaff import Job, JobError, JobFailed, JobNotFound, JobState, Quaff, ResultExpired, ResultTimeout
from quaff.info import AttemptInfo
from tests import taskapp
from tests.helpers import Program, in_loop, python, wait_until
from tests.taskapp import Mishap, add, afail, brief, fail, forgotten, give, hold

NOBODY = "default-0-" + "0" * 32

Ask = Callable[[Job[Any], float | None], Any]


@pytest.fixture(scope="module", autouse=True)
def worker(server_url: str) -> Iterator[Program]:
    """One worker for all."""
    with taskapp.served(server_url) as worker:
        yield worker


def ask(job: Job[Any], timeout: float | None = 10) -> Any:
    """The result, in a thread."""
    return job.result(timeout)


def ask_in_a_coroutine(job: Job[Any], timeout: float | None = 10) -> Any:
    """The same with ``aresult``."""
    return in_loop(taskapp.quaff, lambda: job.aresult(timeout))


both = pytest.mark.parametrize("ask", [ask, ask_in_a_coroutine])


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Job[str]]:
    """A job that runs until the test is over."""
    gate = tmp_path / "gate"
    job = hold.delay(str(gate))
    wait_until(lambda: job.state == "running", what="the job to run")
    yield job
    gate.touch()
    assert job.result(10) == "held"


# Success


@both
def test_a_result_is_there_for_whoever_asks_however_often(ask: Ask) -> None:
    """The handle keeps nothing: each time the server is asked."""
    job = add.delay(1, 2)
    assert [ask(job, 10), ask(job, 0), ask(taskapp.quaff.job(job.id), None)] == [3, 3, 3]
    assert job.state == "succeeded"


@both
@pytest.mark.parametrize("value", [None, 0, "", False, [], {}, b"", 0.0], ids=repr)
def test_an_empty_result_is_a_result(value: object, ask: Ask) -> None:
    """F59: nothing is taken for "not there yet"."""
    result = ask(give.delay(value), 10)
    assert (result, type(result)) == (value, type(value))


def test_a_state_is_a_text_and_knows_whether_it_is_final(held: Job[str]) -> None:
    """It compares with plain words, and is asked of the server at each access."""
    assert held.state == "running"
    assert isinstance(held.state, str)
    assert (held.state is JobState.RUNNING, held.state.terminal) == (True, False)
    done = add.delay(1)
    done.result(10)
    assert (f"{done.state}", done.state.terminal) == ("succeeded", True)


def test_the_info_of_a_success_has_its_attempt_and_its_times(worker: Program) -> None:
    """All times are aware, in UTC and in order."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    job = add.options(key=uuid4().hex).delay(1)
    job.result(10)
    info = job.info()
    assert (info.id, info.key, info.task, info.queue) == (job.id, job.key, "tests.taskapp.add", "default")
    assert (info.state, info.parked, info.error) == ("succeeded", False, None)
    [attempt] = info.attempts
    assert (attempt.number, attempt.outcome, attempt.error) == (1, "succeeded", None)
    assert attempt.worker.endswith(f"-{worker.pid}")
    assert attempt.pid not in (0, worker.pid)
    times = [info.created_at, info.started_at, attempt.started_at, attempt.ended_at, info.ended_at]
    known = [before, *(time for time in times if time is not None), datetime.now(UTC)]
    assert len(known) == 7
    assert sorted(known) == known
    assert {time.utcoffset() for time in known} == {timedelta(0)}


def test_the_info_of_a_running_job_has_an_open_attempt(held: Job[str]) -> None:
    """It has begun and not ended."""
    info = held.info()
    assert (info.state, info.ended_at, info.error) == ("running", None, None)
    # No server knows more of it before it ends.
    assert info.attempts == [AttemptInfo(1, None, None, "", 0, "running", None)]
    assert info.started_at is None
    assert info.created_at is not None


def test_the_info_of_a_queued_job_has_no_attempt(server_url: str, namespace: str) -> None:
    """It knows its task all the same."""
    with taskapp.twin(server_url, namespace) as quaff:
        info = taskapp.own(quaff, "add").delay(1).info()
    assert (info.state, info.task, info.attempts) == ("queued", "tests.taskapp.add", [])
    assert (info.started_at, info.ended_at) == (None, None)


# Failure


@both
@pytest.mark.parametrize("task", [fail, afail], ids=lambda task: task.__name__)
def test_a_failure_is_told_as_data(task: Any, ask: Ask) -> None:
    """S3: type, text and traceback are texts; the user's exception is never made again from the wire."""
    made = Mishap.made
    job = task.delay("out of ink: 100 %s")
    with pytest.raises(JobFailed) as caught:
        ask(job, 10)
    error = caught.value
    assert (error.id, error.reason, error.type, error.message) == (job.id, "error", "Mishap", "out of ink: 100 %s")
    assert str(error) == f"job {job.id} failed (error): Mishap: out of ink: 100 %s [QF032]"
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "in " + task.__name__ in error.traceback
    assert "raise Mishap(message)" in error.traceback
    assert "quaff/worker" not in error.traceback
    assert (error.__cause__, error.__context__, Mishap.made) == (None, None, made)
    assert isinstance(error, JobError)
    assert job.state == "failed"


def test_the_info_of_a_failure_has_its_error() -> None:
    """The job's and the attempt's."""
    job = fail.delay("no")
    with pytest.raises(JobFailed):
        job.result(10)
    info = job.info()
    assert info.state == "failed"
    assert info.error is not None
    assert (info.error.reason, info.error.type, info.error.message) == ("error", "Mishap", "no")
    assert [(each.outcome, each.error) for each in info.attempts] == [("failed", info.error)]


# Neither


@both
@pytest.mark.parametrize("timeout", [0, 0.05])
def test_waiting_ends_with_the_timeout_and_the_job_goes_on(timeout: float, held: Job[str], ask: Ask) -> None:
    """ResultTimeout is a TimeoutError and names the job; None and a new call wait on."""
    before = time.monotonic()
    with pytest.raises(
        ResultTimeout, match=rf"^job {held.id} had not ended after {timeout:g} s; it goes on \(running\)\."
    ) as caught:
        ask(held, timeout)
    assert timeout <= time.monotonic() - before < timeout + 2
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.id == held.id
    assert held.state == "running"


@both
def test_waiting_in_vain_says_what_may_be_missing(ask: Ask) -> None:
    """A worker for the queue, or one that knows the task: without, the job would wait for ever."""
    job = add.options(queue="misspelt").delay(1, 2)
    with pytest.raises(
        ResultTimeout,
        match=r"; it is still queued at \S+ \(from .*\)\. Is there a worker for queue 'misspelt' there, with a",
    ):
        ask(job, 0.05)
    job = taskapp.quaff.task(lambda: None, name="stranger").delay()
    del taskapp.quaff.tasks["stranger"]
    wait_until(lambda: job.info().parked)
    with pytest.raises(ResultTimeout, match=r"; no worker that saw it knows its task \(job\.info\(\)\.task\)"):
        ask(job, 0.05)


def test_many_wait_for_one_job_and_one_coroutine_for_many() -> None:
    """In one event loop, nobody blocks the others."""

    async def main() -> list[int]:
        jobs = await add.amap((number,) for number in range(20))
        return await asyncio.gather(*(job.aresult(10) for job in jobs for _ in range(3)))

    assert in_loop(taskapp.quaff, main) == [number for number in range(20) for _ in range(3)]


@both
def test_an_unknown_job_is_not_found(ask: Ask) -> None:
    """At once, however long one would wait; making the handle asks nobody."""
    job = taskapp.quaff.job(NOBODY)
    with pytest.raises(
        JobNotFound,
        match=r"is not known: it never was, the .* block or the database transaction that sends it has not ended",
    ) as caught:
        ask(job, None)
    assert caught.value.id == NOBODY
    assert isinstance(caught.value, LookupError)
    for look in (lambda: job.state, job.info):
        with pytest.raises(JobNotFound):
            look()


@both
def test_a_result_that_was_kept_long_enough_is_expired(ask: Ask) -> None:
    """The state stays, and so does what is known of the job without its record."""
    job = brief.delay()
    wait_until(lambda: job.state.terminal)

    def expired() -> str:
        try:
            return str(ask(job, 0))[:0]
        except ResultExpired as error:
            return str(error)

    text = wait_until(expired, 10, "the result to expire")
    assert text == f"job {job.id} ended as succeeded; its result is kept no longer (RESULT_TTL). [QF034]"
    assert job.state == "succeeded"
    assert job.info().state == "succeeded"


@both
def test_a_result_that_is_not_kept_at_all_is_expired_at_once(ask: Ask) -> None:
    """``result_ttl=0``: the job is known to have succeeded and no more."""
    job = forgotten.delay()
    with pytest.raises(ResultExpired) as caught:
        ask(job, 10)
    assert caught.value.id == job.id
    assert job.state == "succeeded"


# Handles

ELSEWHERE = """
import sys
from quaff import Quaff
quaff = Quaff()
job = quaff.job(sys.argv[1])
print(job.result(10), job.state, job.info().task, job.id)
"""


@pytest.mark.parametrize("by", ["id", "key"])
def test_another_process_finds_a_job_by_its_id_or_key(by: str, running: Callable[[Program], Program]) -> None:
    """Without the application's code."""
    settings = taskapp.quaff.settings
    job = add.options(key=uuid4().hex).delay(20, 22)
    env = {"QUAFF_URL": settings.url, "QUAFF_NAMESPACE": settings.namespace}
    client = running(python("-c", ELSEWHERE, str(getattr(job, by)), env=env))
    assert client.wait() == 0, client.output
    assert client.stdout == [f"42 succeeded tests.taskapp.add {job.id}"]


NO_IDS = [
    "",
    "7",
    "default-0-xyz",
    "default-0-" + "A" * 32,
    NOBODY + "0",
    NOBODY[:-1],
    NOBODY + "\n",
    "a b-0-" + "0" * 32,
]
NO_IDS += [
    "default-10000-" + "0" * 32,
    "/../",
    "default/task",
    "default/task/",
    "a b/task/key",
    "default//key",
    "\0",
    "💥",
]


@pytest.mark.parametrize("text", NO_IDS, ids=ascii)
def test_a_text_that_is_no_id_is_not_found(text: str) -> None:
    """S11: JobNotFound with the text, before any server is asked."""
    quaff = Quaff("redis://127.0.0.1:1", deadline=0.1)
    with pytest.raises(JobNotFound, match="is neither a job's id nor <queue>/<task>/<key>") as caught:
        quaff.job(text)
    assert caught.value.id == text


def test_a_handle_shows_its_id_and_not_its_value() -> None:
    """In logs and at the prompt; nothing is asked for that."""
    job: Job[Any] = Quaff("redis://127.0.0.1:1", deadline=0.1).job(NOBODY)
    assert repr(job) == f"<Job {NOBODY}>"
    assert (job.id, job.queue, job.key, job.existing) == (NOBODY, "default", None, False)


def test_handles_of_one_job_are_equal_and_others_are_not(server_url: str, namespace: str) -> None:
    """In sets and dicts too; the same id in another namespace is another job."""
    job = add.delay(1)
    assert {job, taskapp.quaff.job(job.id)} == {job}
    assert job != add.delay(1)
    assert job != job.id
    with taskapp.twin(server_url, namespace) as other:
        assert other.job(job.id) != job
        with pytest.raises(JobNotFound):
            _ = other.job(job.id).state
