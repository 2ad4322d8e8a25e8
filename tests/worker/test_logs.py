"""Logs of jobs: what a task logs is kept with its job, in bounds, the last line before it has ended."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quaff import Job, JobFailed, LogLine, Quaff
from quaff.store.transitions import Verdict, release
from tests.helpers import wait_until
from tests.worker import logapp
from tests.worker.support import Stage, children, kill

APP = "tests.worker.logapp:quaff"


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """The application of logapp.py on this stage."""
    return stage.sends(logapp.quaff)


@pytest.fixture(scope="module")
def shared(shared_stage: Stage) -> Quaff:
    """The same on the stage of the file, which has a worker."""
    return shared_stage.sends(logapp.quaff)


def texts(job: Job[Any]) -> list[str]:
    """What is kept."""
    return [line.text for line in job.info().logs]


def test_what_a_task_logs_is_there_while_it_runs_and_afterwards(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """Whoever logs it; with time, level, logger and attempt on each line, and nothing in the worker's own log."""
    gate = tmp_path / "gate"
    job = quaff.tasks["talk"].delay(str(gate))
    worker = stage.worker("-p", "1", app=APP)
    wait_until(lambda: len(texts(job)) == 4, 10)
    lines = job.info().logs
    assert [(line.logger, line.level, line.text.split("\n")[0][:20]) for line in lines] == [
        ("talk", "INFO", "by itself"),
        ("library.deep", "INFO", "of a library"),
        ("library.deep", "ERROR", "it failed"),
        ("library.deep", "INFO", "surrogate \\ud800 and"),
    ]
    assert lines[2].text.endswith("ValueError: inside")
    assert len(lines[3].text) < 4100
    gate.touch()
    job.result(timeout=10)
    info = job.info()
    assert info.logs[:4] == lines
    assert (info.logs[4].level, info.logs[4].text) == ("ERROR", "the last")
    assert [line.position for line in info.logs] == list(range(5))
    (attempt,) = info.attempts
    assert attempt.started_at is not None
    assert attempt.ended_at is not None
    for line in info.logs:
        assert line.attempt == 1
        assert attempt.started_at <= line.at <= attempt.ended_at
    assert not any("of a library" in each for each in worker.stderr)


def test_lines_come_to_whoever_watches(stage: Stage, quaff: Quaff) -> None:
    """In their order, all before the end."""
    job = quaff.tasks["atalk"].delay("solo")
    with ThreadPoolExecutor(2) as pool:
        watching = [pool.submit(lambda: list(job.watch(20))) for _ in range(2)]
        stage.worker("-p", "1", app=APP)
        for each in watching:
            events = each.result(30)
            lines = [event.log.text for event in events if event.log]
            assert lines == [*(f"solo {number}" for number in range(5)), "solo in a thread"]
            assert (events[-1].kind, events[-1].state) == ("state", "succeeded")


def test_each_coroutine_has_its_own(shared: Quaff) -> None:
    """Fifty in one loop."""
    jobs = shared.tasks["atalk"].map([(f"job{number}",) for number in range(50)])
    shared.wait_all(jobs, 30)
    for number, job in enumerate(jobs):
        assert texts(job) == [*(f"job{number} {each}" for each in range(5)), f"job{number} in a thread"]


def test_threads_of_a_task_log_for_it(shared: Quaff) -> None:
    """None is lost."""
    job = shared.tasks["threads"].delay()
    job.result(timeout=20)
    assert sorted(texts(job)) == sorted(f"thread {number}" for number in range(200))


def test_short_jobs_lose_no_line(stage: Stage, quaff: Quaff) -> None:
    """Hundreds that end at once, each line of each."""
    jobs = quaff.tasks["many"].map([(3,)] * 500)
    stage.worker("-p", "2", app=APP)
    quaff.wait_all(jobs, 30)
    assert [texts(job) for job in jobs] == [["line 0", "line 1", "line 2"]] * 500


def test_a_million_lines_keep_the_newest_and_slow_nobody(shared_stage: Stage, shared: Quaff) -> None:
    """A tail in its bounds, in order, and few calls."""
    shared.tasks["many"].delay(1).result(timeout=10)
    raw = shared_stage.raw()
    raw.config_resetstat()
    count = 1_000_000 if os.environ.get("FULL") else 200_000
    job = shared.tasks["many"].delay(count)
    other = shared.tasks["atalk"].delay("beside")
    other.result(timeout=20)
    job.result(timeout=60)
    lines = job.info().logs
    # The clock of each line is the worker's; positions tell what is missing.
    numbers = [int(line.text.split()[1]) for line in lines]
    assert numbers[-1] == count - 1
    assert numbers == [line.position for line in lines]
    assert numbers == list(range(numbers[0], count))
    assert 500 <= len(lines) <= 17 * 64
    (attempt,) = job.info().attempts
    assert attempt.ended_at is not None
    assert attempt.started_at is not None
    seconds = (attempt.ended_at - attempt.started_at).total_seconds()
    assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] < 20 * seconds + 60
    kept = raw.hgetall(shared_stage.key("logs"))
    assert sum(len(piece) for field, piece in kept.items() if field.startswith(job._id.raw)) < 80 * 1024


def test_a_retry_keeps_the_lines_before(shared: Quaff) -> None:
    """Each says which attempt it is of; so does one of a job that failed and is sent back."""
    job = shared.tasks["again"].delay()
    failing = shared.tasks["broken"].delay()
    job.result(timeout=20)
    assert [(line.attempt, line.text) for line in job.info().logs] == [(n, f"attempt {n}") for n in (1, 2, 3)]
    with pytest.raises(JobFailed):
        failing.result(timeout=20)
    assert texts(failing) == ["the last word"]
    failing.requeue()
    wait_until(lambda: texts(failing) == ["the last word"] * 2, 10)
    wait_until(lambda: failing.state == "failed", 10)
    failing.discard()
    assert failing.info().logs == []


def test_a_crash_keeps_what_was_sent(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """And the next attempt goes on."""
    gate = tmp_path / "gate"
    job = quaff.tasks["talk"].delay(str(gate))
    worker = stage.worker("-p", "1", app=APP)
    wait_until(lambda: len(texts(job)) == 4, 10)
    for pid in children(worker):
        kill(pid)
    wait_until(lambda: len(texts(job)) == 8, 20)
    gate.touch()
    job.result(timeout=20)
    assert [line.attempt for line in job.info().logs] == [1] * 4 + [2] * 5


def test_nothing_stays_of_a_job_whose_result_is_not_kept(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """At the moment of its end."""
    gate = tmp_path / "gate"
    job = quaff.tasks["unkept"].delay(str(gate))
    stage.worker("-p", "1", app=APP)
    wait_until(lambda: texts(job) == ["gone soon"], 10)
    gate.touch()
    wait_until(lambda: job.state == "succeeded", 10)
    assert texts(job) == []
    assert stage.raw().exists(stage.key("logs")) == 0


def test_a_batch_logs_for_its_first_job(shared: Quaff) -> None:
    """One run, one log."""
    jobs = shared.tasks["together"].map([(number,) for number in range(3)])
    shared.wait_all(jobs, 10)
    assert sorted(text for job in jobs for text in texts(job)) == ["3 calls"]


@pytest.mark.parametrize(
    ("environment", "level", "kept"),
    [
        ({}, "error", ["by itself", "it failed", "the last"]),
        ({}, "off", ["by itself", "the last"]),
        ({"OWN_LOGGING": "WARNING"}, "info", ["by itself", "it failed", "the last"]),
    ],
)
def test_the_level_is_a_setting_and_the_applications_own_logging_stays(
    stage: Stage, quaff: Quaff, environment: dict[str, str], level: str, kept: list[str]
) -> None:
    """What the application does not let through is not kept either; its own words always are."""
    job = quaff.tasks["talk"].delay()
    stage.worker("-p", "1", app=APP, environment=environment, JOB_LOG_LEVEL=level)
    job.result(timeout=20)
    assert [text.split("\n")[0] for text in texts(job)] == kept


def test_a_line_is_data(shared: Quaff) -> None:
    """Typed, and the same from wherever it is read."""
    job = shared.tasks["many"].delay(1)
    job.result(timeout=20)
    (line,) = shared.job(job.id).info().logs
    assert line == LogLine(0, line.at, "INFO", "library.deep", 1, "line 0")


def test_an_applications_own_log_can_name_the_job(stage: Stage, quaff: Quaff) -> None:
    """By a filter on its handler; outside of jobs there is none."""
    worker = stage.worker("-p", "1", app=APP, environment={"OWN_LOGGING": "INFO"})
    job = quaff.tasks["many"].delay(1)
    job.result(timeout=20)
    worker.wait_for(f"{job.id} many 1 line 0")
    worker.wait_for("- - 0 outside of jobs")


def test_an_attempt_that_was_fenced_says_nothing_more(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """Its job was taken from it, and is another one's now."""
    gate = tmp_path / "gate"
    job = quaff.tasks["talk"].delay(str(gate))
    worker = stage.worker("-p", "1", app=APP)
    wait_until(lambda: len(texts(job)) == 4, 10)
    raw = stage.raw()
    (member,), token = raw.zrange(stage.key("held"), 0, -1), raw.hget(stage.key("active"), job._id.raw)
    back = release(job._home, process=member[:8], items=[(job._id.raw, token, 60_000, b"")])
    assert quaff.store.run(back) == [Verdict.OK]
    gate.touch()
    worker.wait_for("came too late")
    assert len(texts(job)) == 4
    assert job.info().parked


def test_what_is_no_level_is_an_error_that_says_so(shared: Quaff) -> None:
    """Where it was said."""
    job = shared.tasks["odd"].delay()
    with pytest.raises(JobFailed, match=r"logging\.ERROR"):
        job.result(timeout=20)
    assert texts(job) == []
