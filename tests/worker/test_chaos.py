"""F1, F3, F4, F54: five thousand jobs while somebody is killed five times a second, and whether the judge is sharp."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from tests import helpers
from tests.chaos.fleet import Kill
from tests.chaos.ledger import Run
from tests.chaos.verdict import Ending, judge
from tests.helpers import Program

JOBS, SECONDS = 5000, 30

SUPERVISOR, CHILD, OTHER = 100, 101, 102
PARENTS = {CHILD: SUPERVISOR, OTHER: SUPERVISOR}
DONE = Ending("succeeded")


@pytest.mark.alone
@pytest.mark.timeout(200)  # thirty seconds of killing, then up to a whole lease of thirty until the last job has ended
def test_nothing_is_lost_while_workers_are_killed_five_times_a_second(running: Callable[[Program], Program]) -> None:
    """5,000 jobs of 0 to 50 ms over four queues and three workers; every second run has its kill.

    F1, F69, I3, I5, I17, I20.
    """
    run = running(
        helpers.python("-m", "tests.chaos", "--duration", str(SECONDS), "--jobs", str(JOBS), cwd=helpers.SRC.parent)
    )
    code = run.wait(180)
    print(run.output)
    assert code == 0, run.output
    assert run.stderr == []
    # One more is the probe after the healing. F69.
    assert f"chaos: {JOBS + 1} jobs, 0 lost, 0 faults" in run.stdout[-1]
    found = re.search(r"kills: +(\d+): child (\d+), supervisor (\d+)", run.output)
    assert found is not None
    kills, children, supervisors = map(int, found.groups())
    assert kills > SECONDS * 2
    assert children > SECONDS
    assert supervisors > 3
    ended = re.search(r"jobs: +(\d+) succeeded, (\d+) poison, (\d+) second runs", run.output)
    assert ended is not None
    succeeded, poison, second = map(int, ended.groups())
    assert succeeded + poison == JOBS + 1
    assert second > 20, "a run in which nothing was cut short proves nothing"


# The judge


def ran(job: str, started: float, ended: float | None, pid: int = CHILD, attempt: int = 1) -> Run:
    """A line of the ledger."""
    return Run(job, "", attempt, pid, SUPERVISOR, started, ended)


def killed(pid: int, at: float, kind: str = "child") -> Kill:
    """A SIGKILL."""
    return Kill(pid, kind, at, at + 0.001)


def faults(
    endings: Mapping[str, Ending],
    runs: Sequence[Run],
    kills: Sequence[Kill] = (),
    sent: Sequence[str] = ("a",),
    parents: Mapping[int, int] = PARENTS,
) -> list[str]:
    """The first word of each fault that the judge finds."""
    return [fault.partition(":")[0] for fault in judge(sent, endings, runs, kills, parents).faults]


def test_a_job_that_ran_once_and_succeeded_is_no_fault() -> None:
    """The plain case, so that the others mean something."""
    assert faults({"a": DONE}, [ran("a", 1, 1.05)]) == []


def test_the_judge_misses_a_job() -> None:
    """Lost: the server does not know it, still holds it, or says it succeeded and nobody saw it."""
    assert faults({}, []) == ["lost"]
    assert faults({}, [ran("a", 1, 1.05)]) == ["lost"]
    assert faults({"a": Ending("unknown")}, [ran("a", 1, 1.05)]) == ["lost"]
    for state in ("queued", "running"):
        assert faults({"a": Ending(state)}, [ran("a", 1, 1.05)]) == ["lost"]
    assert faults({"a": DONE}, []) == ["lost"]


def test_the_judge_does_not_take_a_run_cut_short_for_a_success() -> None:
    """Lost: recorded as succeeded, and its only run never came to its end."""
    assert faults({"a": DONE}, [ran("a", 1, None)], [killed(CHILD, 1.02)]) == ["lost"]


def test_the_judge_asks_for_the_kill_of_each_second_run() -> None:
    """Unexplained: nobody was killed, somebody else, before the run or after its second start."""
    again = [ran("a", 1, None), ran("a", 2, 2.05, OTHER, 2)]
    assert faults({"a": DONE}, again, [killed(CHILD, 1.02)]) == []
    assert faults({"a": DONE}, again, [killed(SUPERVISOR, 1.02, "supervisor")]) == []
    assert faults({"a": DONE}, again) == ["unexplained"]
    assert faults({"a": DONE}, again, [killed(OTHER, 1.02)]) == ["unexplained"]
    assert faults({"a": DONE}, again, [killed(CHILD, 0.5)]) == ["unexplained"]
    assert faults({"a": DONE}, again, [killed(CHILD, 2.5)]) == ["unexplained"]
    third = [*again, ran("a", 3, 3.05, OTHER, 3)]
    assert faults({"a": DONE}, third, [killed(CHILD, 1.02)]) == ["unexplained"]


def test_a_kill_long_after_the_end_of_a_run_explains_nothing() -> None:
    """Unexplained: what had ended and was settled ran again because its process died much later."""
    again = [ran("a", 1, 1.05), ran("a", 9, 9.05, OTHER, 2)]
    assert faults({"a": DONE}, again, [killed(CHILD, 1.06)]) == []
    assert faults({"a": DONE}, again, [killed(CHILD, 8.5)]) == ["unexplained"]


def test_poison_needs_three_starts_that_were_killed() -> None:
    """Fewer crashes, a process nobody killed, the same one three times, or a start that the task never saw."""
    pids = (101, 102, 103)
    parents = dict.fromkeys(pids, SUPERVISOR)
    runs = [ran("a", at, None, pid, at) for at, pid in enumerate(pids, 1)]
    kills = [killed(pid, at + 0.02) for at, pid in enumerate(pids, 1)]
    poison = Ending("failed", "poison", pids)

    def found(ending: Ending, runs: Sequence[Run] = runs, kills: Sequence[Kill] = kills) -> list[str]:
        return faults({"a": ending}, runs, kills, parents=parents)

    assert found(poison) == []
    assert found(replace(poison, crashed=pids[:2])) == ["poison"]
    assert found(replace(poison, crashed=())) == ["poison"]
    assert found(replace(poison, crashed=(101, 101, 101))) == ["poison"]
    assert found(replace(poison, crashed=(101, 102, 999))) == ["poison"]
    assert found(poison, runs[:2]) == ["poison"]
    assert found(poison, runs, kills[:2]) == ["poison"]


def test_a_job_that_failed_for_any_other_reason_is_a_fault() -> None:
    """The tasks of the run never raise."""
    assert faults({"a": Ending("failed", "error")}, [ran("a", 1, 1.05)]) == ["failed"]
    assert faults({"a": Ending("failed", "corrupt")}, []) == ["failed"]


def test_a_job_that_nobody_sent_is_a_fault() -> None:
    """Unexpected."""
    assert faults({"a": DONE}, [ran("a", 1, 1.05), ran("b", 1, 1.05)]) == ["unexpected"]


def test_an_orphan_that_still_starts_jobs_is_a_fault() -> None:
    """A process starts nothing from two seconds after its supervisor's death."""
    kills = [killed(SUPERVISOR, 1, "supervisor")]
    assert faults({"a": DONE}, [ran("a", 2.5, 2.55)], kills) == []
    assert faults({"a": DONE}, [ran("a", 3.5, 3.55)], kills) == ["late"]


def test_the_judge_names_every_fault_of_many() -> None:
    """One job right and two wrong, each with its id."""
    verdict = judge(["a", "b", "c"], {"a": DONE, "c": DONE}, [ran("a", 1, 1.05), ran("c", 1, None)], [], PARENTS)
    assert len(verdict.faults) == 2
    assert all(any(f" {job} " in fault for fault in verdict.faults) for job in "bc")
    assert verdict.counts["starts"] == 2
    assert verdict.counts["starts cut short"] == 1
