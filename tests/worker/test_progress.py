"""Progress: what a task says of itself arrives soon, costs little, and goes with the attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from quaff import Job, JobFailed, Progress, Quaff
from quaff.flask import Quaff as FlaskQuaff
from quaff.store.faults import NoAnswer
from quaff.store.keys import partition
from quaff.store.transitions import note
from quaff.worker.telling import Telling
from tests.chaos import fleet
from tests.helpers import wait_until
from tests.worker import progressapp
from tests.worker.support import Stage, kill

APP = "tests.worker.progressapp:quaff"


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """The application of progressapp.py on this stage."""
    return stage.sends(progressapp.quaff)


@pytest.fixture(scope="module")
def shared(shared_stage: Stage) -> Quaff:
    """The same on the stage of the file, which has a worker."""
    return shared_stage.sends(progressapp.quaff)


def said(job: Job[Any]) -> Progress | None:
    """As the server knows it."""
    return job.info().progress


@pytest.mark.parametrize("name", ["steps", "asteps"])
def test_what_a_task_says_is_seen_while_it_runs_and_stays_with_the_result(
    shared_stage: Stage, shared: Quaff, tmp_path: Path, name: str
) -> None:
    """The last word within a second, also where the task is silent after it."""
    gate = tmp_path / "gate"
    assert said(shared.tasks[name].options(delay=600).delay(str(gate))) is None
    job = shared.tasks[name].delay(str(gate))
    wait_until(lambda: said(job) == Progress(3, 10, "step 3"), 10)
    assert Progress(3, 10).fraction == 0.3
    gate.touch()
    assert job.result(timeout=10) == 10
    assert said(job) == Progress(10, 10, "done")
    assert shared_stage.raw().exists(shared_stage.key("prog")) == 0


def test_a_million_words_are_a_few_calls(shared_stage: Stage, shared: Quaff) -> None:
    """The server hears of it a few times a second."""
    shared.tasks["chatty"].delay(1).result(timeout=10)
    raw = shared_stage.raw()
    raw.config_resetstat()
    job = shared.tasks["chatty"].delay(1_000_000)
    job.result(timeout=60)
    (attempt,) = job.info().attempts
    assert attempt.ended_at is not None
    assert attempt.started_at is not None
    seconds = (attempt.ended_at - attempt.started_at).total_seconds()
    scripts = raw.info("commandstats")["cmdstat_evalsha"]["calls"]
    # Besides those of an idle worker, and of waiting for the result: six a second.
    assert scripts < 12 * seconds + 30
    assert said(job) == Progress(999_999, 1_000_000)


def test_it_goes_with_the_attempt(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """A retry and a crash begin from nothing; what is no text that UTF-8 can hold fails no task."""
    stage.worker("-p", "1", app=APP)
    job = quaff.tasks["twice"].delay()
    assert job.result(timeout=10) == "there"
    assert said(job) is None
    gate = tmp_path / "gate"
    held = quaff.tasks["steps"].delay(str(gate))
    wait_until(lambda: said(held), 10)
    stage.worker("-p", "1", app=APP)
    for process in stage.processes():
        # Those of the shared worker, too: whichever has it.
        if fleet.is_child(process):
            kill(process.pid)
    wait_until(lambda: held.info().attempts[0].outcome != "running", 10, "the end of the first attempt")
    gate.touch()
    assert held.result(timeout=20) == 10


@pytest.mark.parametrize("how", ["below", "nan", "text", "total", "huge"])
def test_what_is_no_progress_is_an_error_that_says_so(shared: Quaff, how: str) -> None:
    """Where it was said."""
    with pytest.raises(JobFailed, match="progress") as caught:
        shared.tasks["wrong"].delay(how).result(timeout=10)
    assert caught.value.type == "ValueError"


def test_a_batch_says_it_for_all_of_its_jobs(shared: Quaff) -> None:
    """One run, one progress."""
    jobs = shared.tasks["together"].map([(number,) for number in range(3)])
    shared.wait_all(jobs, 10)
    assert [said(job) for job in jobs] == [Progress(3)] * 3


def test_a_browser_sees_it(stage: Stage, tmp_path: Path) -> None:
    """In the answer of the status URL."""
    app = Flask("shop")
    app.config.update(QUAFF_URL=stage.url, QUAFF_NAMESPACE=stage.namespace, SECRET_KEY="x")
    quaff = FlaskQuaff(app)
    steps = quaff.task(progressapp.steps.fn, name="steps")
    client = app.test_client()
    with app.app_context():
        job = steps.delay(str(tmp_path / "gate"))
        url = quaff.ticket(job)["url"]
    assert url is not None
    assert client.get(url).get_json()["progress"] is None
    stage.worker("-p", "1", app=APP)
    seen = wait_until(lambda: client.get(url).get_json()["progress"], 10)
    assert set(seen) == {"done", "total", "note"}
    assert repr(seen["total"]) == "10"


def test_what_waits_for_a_node_that_is_away_outlives_the_rounds_in_between() -> None:
    """F40, F42: those in which none of it is sent, and of which none of it can be answered."""
    telling = Telling("shop", lambda: None)
    call = note(partition("shop", "mail"), [(b"i" * 16, b"token", b"text")])
    telling._calls = [call]
    telling.answered([NoAnswer("away")])
    assert telling.calls() == []
    telling.answered([])
    assert telling._calls == [call]
