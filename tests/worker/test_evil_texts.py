"""S26: objects that do their worst when they are made a text, in a real worker: in errors, results, lines, backoffs."""

from __future__ import annotations

import pytest

from quaff import JobFailed, Quaff
from tests.helpers import Program, wait_until
from tests.worker import evilapp
from tests.worker.support import Stage, children

APP = "tests.worker.evilapp:quaff"
#: What is kept of one text, in characters.
LONGEST = 20_000


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """Sends these tasks."""
    return stage.sends(evilapp.quaff)


@pytest.fixture(params=["alone", "watched"])
def worker(request: pytest.FixtureRequest, stage: Stage) -> Program:
    """A worker with one process; the second time with OpenTelemetry and Sentry, which look at errors, too."""
    exports = {"SPANS": str(stage.file()), "ENVELOPES": str(stage.file())}
    return stage.worker("-p", "1", "-c", "4", app=APP, environment=exports if request.param == "watched" else {})


@pytest.mark.parametrize("task", ["raises", "araises", "carries", "gives", "logs", "backs_off"])
def test_whatever_a_text_does_its_job_ends_and_the_worker_goes_on(
    stage: Stage, quaff: Quaff, worker: Program, task: str
) -> None:
    """S26: each is an error of its job alone, cut short; no thread and no process ends for it."""
    before = children(worker)
    jobs = {how: quaff.tasks[task].delay(how) for how in evilapp.TEXTS}
    for how, job in jobs.items():
        wait_until(lambda job=job: job.state.terminal, 20, f"the end of {task} of what {how}: {worker.output[-2000:]}")
        info = job.info()
        if info.state == "failed":
            assert info.error is not None, how
            assert info.error.reason == "error", how
            assert len(info.error.message) < LONGEST, how
            assert len(info.error.traceback) < LONGEST, how
        else:
            assert task == "logs", how
    assert [job.result(timeout=10) for job in quaff.tasks["good"].map([(n,) for n in range(40)])] == [*range(40)]
    assert children(worker) == before
    assert worker.stop() == 0
    assert not [line for line in worker.stderr if not line.isprintable() and "quaff.worker" in line]


@pytest.mark.parametrize("how", evilapp.FOR_EVER)
@pytest.mark.parametrize("task", ["takes_for_ever", "atakes_for_ever"])
def test_a_text_that_takes_for_ever_is_bounded_by_the_limit_of_its_job(
    stage: Stage, quaff: Quaff, task: str, how: str
) -> None:
    """S26: it is the job's own code, so ``timeout=`` counts it: failed for that, in a process that is replaced."""
    worker = stage.worker("-p", "1", "-c", "4", app=APP)
    before = children(worker)
    job = quaff.tasks[task].delay(how)
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=20)
    assert (caught.value.reason, caught.value.type) == ("timeout", "TimeLimit")
    (attempt,) = job.info().attempts
    assert attempt.started_at is not None
    assert attempt.ended_at is not None
    assert 0.9 < (attempt.ended_at - attempt.started_at).total_seconds() < 8
    assert quaff.tasks["good"].delay(1).result(timeout=15) == 1
    assert children(worker) != before
    assert worker.stop() == 0


def test_a_text_that_takes_for_ever_can_be_called_off(stage: Stage, quaff: Quaff) -> None:
    """S26: where nothing else ends it, an operator does."""
    worker = stage.worker("-p", "1", "-c", "4", app=APP, GRACE="1")
    job = quaff.tasks["raises"].delay("step by step")
    wait_until(lambda: job.state == "running", 20, "its start")
    assert job.cancel("enough")
    wait_until(lambda: job.state == "cancelled", 20, "its end")
    assert quaff.tasks["good"].delay(1).result(timeout=15) == 1
    assert worker.stop() == 0
