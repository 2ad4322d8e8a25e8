"""Steps: what is done stays done, whatever ends the attempt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from quaff import JobFailed, JobState, Quaff, StepError
from quaff.store.keys import partition
from quaff.store.transitions import Verdict, release
from tests.helpers import wait_until
from tests.proxy import Proxy
from tests.worker import stepsapp
from tests.worker.support import Stage

APP = "tests.worker.stepsapp:quaff"


def tasks_of(stage: Stage) -> Quaff:
    """The application of stepsapp.py on a stage."""
    return stage.sends(stepsapp.quaff)


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker for the tests that kill nothing."""
    stage = Stage(server_url, tmp_path_factory.mktemp("steps"))
    tasks_of(stage)
    stage.worker("-p", "1", app=APP)
    yield stage
    stage.end()


@pytest.mark.parametrize(("name", "kills"), [("thirty", 30), ("athirty", 3)])
def test_a_job_that_is_killed_at_each_step_in_turn_runs_each_step_once(stage: Stage, name: str, kills: int) -> None:
    """Before it, in the middle, and after it: a step that came to its end is never begun again."""
    quaff = tasks_of(stage)
    stage.worker("-p", "3", app=APP, MAX_CRASHES="100")
    job = quaff.tasks[name].delay(str(stage.ledger))
    assert job.result(timeout=55) == list(range(30))
    runs = Counter(run.tag for run in stage.runs() if run.ended is not None)
    assert runs == {f"step {number}": 1 for number in range(30)}
    assert [each.outcome for each in job.info().attempts] == ["crashed"] * kills + ["succeeded"]
    assert stage.raw().exists(stage.key("steps")) == 0


@pytest.mark.parametrize(("name", "types"), [("typed", ["Receipt", "None"]), ("atyped", ["Receipt", "Receipt"])])
def test_a_remembered_value_is_of_the_type_that_the_function_says(shared: Stage, name: str, types: list[str]) -> None:
    """Of plain functions and of coroutine functions; None is a value like any other."""
    job = shared.quaff.tasks[name].delay()
    assert job.result(timeout=10) == types
    assert [run.tag for run in shared.runs() if run.job == job.id] == ["pay 7", "pay 8"][: types.count("Receipt")]


def test_a_step_may_be_anything_that_can_be_called(shared: Stage) -> None:
    """A task, a method, a partial, a lambda: its own annotation counts, if it has one."""
    assert shared.quaff.tasks["calls"].delay().result(timeout=10) == [
        "Receipt(order=7, paid=1.5)",
        "'1-2'",
        "Receipt(order=8, paid=1.0)",
        "(1, 2)",
    ]


@pytest.mark.parametrize(
    ("how", "type", "text"),
    [
        ("twice", "StepError", r"'charge' is used twice in one attempt, by step of noted at .*stepsapp.py:\d+ and by"),
        ("unencodable", "EncodeError", "the value of step 'charge' cannot be remembered: an object cannot be sent"),
        ("large", "EncodeError", r"step 'charge' is 2,000,005 bytes, the limit is 1,048,576 \(MAX_RESULT\)"),
        ("together", "StepError", "step 'part 3' cannot be remembered: a job has room for 1,048,576 bytes of steps"),
        ("many", "StepError", "'step 1000' would be step 1001 of job .*iterate"),
        ("name", "StepError", "'' is no name: give a text of 1 to 200 bytes"),
        ("coroutine", "TypeError", r"step 'charge': .*coroutine is a coroutine function: use `await current_job.astep"),
        ("inside", "StepError", r"sleep at .* is inside an iteration.*give it a name of its own for each item"),
        ("cursor", "StepError", "the cursor of iteration 'iterate' is 5,0.. bytes, the limit is 4,096"),
        ("kind", "StepError", "'charge' is remembered as a step and now used as a sleep: an older version"),
        ("called", "TypeError", r"step 'charge': 0 is no function\. Give the function and its arguments"),
        ("set", "StepError", r"iteration 'iterate': a set has another order in another process.*sorted"),
        ("no time", "ConfigurationError", r"current_job.sleep\(\): -1 is no time to wait"),
    ],
)
def test_a_wrong_use_is_an_error_that_says_what_to_do(shared: Stage, how: str, type: str, text: str) -> None:
    """And the job fails with it."""
    with pytest.raises(JobFailed, match=text) as caught:
        shared.quaff.tasks["wrong"].delay(how).result(timeout=20)
    assert caught.value.type == type


def test_a_step_that_would_hold_up_the_event_loop_is_refused(shared: Stage) -> None:
    """With the name of its twin."""
    with pytest.raises(JobFailed, match=r"hold up the event loop: in a coroutine use `await current_job.astep"):
        shared.quaff.tasks["awrong"].delay().result(timeout=10)


def test_a_batch_has_no_steps(shared: Stage) -> None:
    """They would belong to no one job."""
    with pytest.raises(JobFailed, match="together is called with many jobs at once"):
        shared.quaff.tasks["together"].delay(1).result(timeout=10)


def test_a_job_that_failed_goes_on_where_it_failed(shared: Stage) -> None:
    """The steps of a dead letter are shown and kept; ``requeue`` goes on with them, and at the end they are gone."""
    gate = shared.file()
    job = shared.quaff.tasks["resumes"].delay(str(gate))
    with pytest.raises(JobFailed, match="no gate"):
        job.result(timeout=10)
    assert [(each.name, each.kind, each.state, each.attempt) for each in job.info().steps] == [
        ("first", "step", "done", 1),
        ("second", "step", "done", 1),
    ]
    assert all(each.at is not None and each.at.tzinfo for each in job.info().steps)
    gate.touch()
    assert job.requeue()
    job.result(timeout=10)
    assert [run.tag for run in shared.runs() if run.job == job.id] == ["first", "second", "third"]
    assert job.info().steps == []


def test_a_job_is_run_again_from_a_step_or_from_the_first(shared: Stage) -> None:
    """It and the later ones are forgotten; a wrong name changes nothing; what has not failed is left alone."""
    gate = shared.file()
    job = shared.quaff.tasks["resumes"].delay(str(gate))
    for forgotten in ("second", ""):
        with pytest.raises(JobFailed):
            job.result(timeout=10)
        with pytest.raises(StepError, match="remembers no step 'secnd'"):
            job.rerun("secnd")
        assert job.state is JobState.FAILED
        assert job.rerun(from_step=forgotten)
        wait_until(lambda: job.state is JobState.FAILED, 10)
    gate.touch()
    assert job.rerun("second")
    job.result(timeout=10)
    assert not job.rerun()
    tags = [run.tag for run in shared.runs() if run.job == job.id]
    assert tags == ["first", "second", "second", "first", "second", "second", "third"]


@pytest.mark.parametrize("name", ["gated", "agated"])
def test_an_attempt_that_lost_its_job_ends_at_its_next_step(stage: Stage, name: str) -> None:
    """Another one has taken over: the first writes nothing, and does nothing more."""
    quaff = tasks_of(stage)
    worker = stage.worker("-p", "1", app=APP)
    gate = stage.file()
    job = quaff.tasks[name].delay(str(gate))
    stage.started("begun")
    raw, home = stage.raw(), partition(stage.namespace, "default")
    (member,) = raw.zrange(home.key("held"), 0, -1)
    id = member[8:]
    call = release(home, process=member[:8], items=[(id, raw.hget(home.key("active"), id), 0, b"")])
    assert stage.quaff.store.run(call) == [Verdict.OK]
    stage.started("begun", 2)
    gate.touch()
    job.result(timeout=10)
    worker.wait_for("this run came too late")
    tags = Counter(run.tag for run in stage.runs())
    assert (tags["first"], tags["begun"], tags["end"]) == (1, 2, 1)


@pytest.mark.parametrize("name", ["gated", "agated"])
def test_a_step_waits_for_a_server_that_is_away(stage: Stage, proxy: Proxy, name: str) -> None:
    """What it came to is remembered when the server is back; it is not run a second time."""
    quaff = tasks_of(stage)
    gate = stage.file()
    worker = stage.worker("-p", "1", app=APP, URL=proxy.url, DEADLINE="0.3")
    job = quaff.tasks[name].delay(str(gate))
    stage.started("begun")
    proxy.swallow()
    gate.touch()
    worker.wait_for("a step waits for the server")
    proxy.swallow_no_more()
    job.result(timeout=20)
    assert Counter(run.tag for run in stage.runs()) == dict.fromkeys(("first", "begun", "second", "end"), 1)
