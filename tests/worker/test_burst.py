"""``--burst``: a worker that does what there is to do, and ends."""

from __future__ import annotations

from tests.worker.support import Stage, after
from tests.worker.test_stopping import nothing_left


def test_a_burst_does_all_that_waits_and_ends_with_0(stage: Stage) -> None:
    """What its jobs put in line too; not what is due later, parked, or in a queue that is paused."""
    jobs = stage.many("mark", [(f"job {number}",) for number in range(300)])
    slow = [stage.send("nap", f"nap {number}", 0.3) for number in range(6)]
    again = stage.send("flaky", "again", 1)
    later = stage.send("mark", "later", delay=600)
    held = stage.send("mark", "held", queue="mail")
    stage.quaff.queue("mail").pause()
    worker = stage.worker("-b", "-p", "2", "-c", "2", "-Q", "default,mail", ready=False)
    assert worker.wait(30) == 0
    assert "draining: nothing waits in its queues" in worker.output
    assert {job.state for job in [*jobs, *slow]} == {"succeeded"}
    assert again.state in ("succeeded", "retrying"), "that is due later"
    assert (later.state, held.state) == ("scheduled", "queued")
    nothing_left(stage)


def test_a_burst_waits_for_its_long_jobs_and_not_for_those_of_others(stage: Stage) -> None:
    """Another worker may have some for hours."""
    path, own = stage.file(), stage.file()
    other = stage.worker("-p", "1", "-c", "1")
    theirs = stage.send("gate", "theirs", str(path))
    stage.started("theirs")
    mine = stage.send("gate", "mine", str(own))
    burst = stage.worker("-b", "-p", "1", ready=False)
    stage.started("mine")
    after(1.5)
    assert burst.process.poll() is None
    own.touch()
    assert burst.wait(15) == 0
    assert (mine.state, theirs.state) == ("succeeded", "running")
    path.touch()
    assert theirs.result(timeout=10) == "theirs"
    assert other.stop() == 0


def test_a_burst_without_a_server_is_three_and_without_an_application_two(stage: Stage) -> None:
    """It does not wait: whoever has started it will do so again."""
    away = stage.worker("-b", "-p", "1", ready=False, environment={"QUAFF_URL": "redis://127.0.0.1:1"})
    nonsense = stage.worker("-b", "-p", "1", app="no_such_module", ready=False)
    assert away.wait(20) == 3
    assert "127.0.0.1:1" in away.output
    assert nonsense.wait(20) == 2
