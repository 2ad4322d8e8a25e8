"""Whether the judge of the chaos runs is sharp: each thing that may be wrong, planted, and each excuse, tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.chaos.ledger import Run, Sending
from tests.chaos.verdict import Deed, Ending, Evidence, Window, judge

SUPERVISOR, CHILD, OTHER = 100, 101, 102
PARENTS = {CHILD: SUPERVISOR, OTHER: SUPERVISOR}
LEASE = 5.0
DONE = Ending("succeeded")


def ran(job: str, started: float, ended: float | None, pid: int = CHILD, attempt: int = 1) -> Run:
    """A line of the ledger; a job is called as its sending."""
    return Run(job, job, attempt, pid, SUPERVISOR, started, ended)


def sent(job: str = "a", outcome: str = "accepted", began: float = 0.5, ended: float = 0.6) -> Sending:
    """A call of a producer; what became of it is known, and so is its id."""
    return Sending(job, outcome, "" if outcome == "refused" else job, began, ended)


def deed(pid: int, at: float, kind: str = "child", until: float = 0.0) -> Deed:
    """What was done to a process."""
    return Deed(pid, kind, at, until or at + 0.001)


def faults(
    endings: Mapping[str, Ending],
    runs: Sequence[Run],
    deeds: Sequence[Deed] = (),
    *,
    sendings: Sequence[Sending] = (sent(),),
    losses: Sequence[Window] = (),
    outages: Sequence[Window] = (),
    parents: Mapping[int, int] = PARENTS,
) -> list[str]:
    """The first word of each fault that the judge finds."""
    evidence = Evidence(deeds, parents, losses, outages, LEASE)
    return [fault.partition(":")[0] for fault in judge(sendings, endings, runs, evidence).faults]


def test_a_job_that_ran_once_and_succeeded_is_no_fault() -> None:
    """The plain case, so that the others mean something."""
    assert faults({"a": DONE}, [ran("a", 1, 1.05)]) == []


def test_the_judge_misses_a_job() -> None:
    """Lost: the server does not know it, still holds it, or says it succeeded and nobody saw it. Planted: I3."""
    assert faults({}, []) == ["lost"]
    assert faults({}, [ran("a", 1, 1.05)]) == ["lost"]
    for state in ("unknown", "queued", "running"):
        assert faults({"a": Ending(state)}, [ran("a", 1, 1.05)]) == ["lost"]
    assert faults({"a": DONE}, []) == ["lost"]


def test_a_job_may_be_lost_only_if_it_was_accepted_in_a_window_of_loss() -> None:
    """A failover forgets what had not been copied, and nothing older or younger. F20."""
    assert faults({}, [], losses=[Window(0.55, 0.7)]) == []
    assert faults({}, [], losses=[Window(0.1, 0.5)]) == []
    assert faults({}, [], losses=[Window(0.1, 0.4)]) == ["lost"]
    assert faults({}, [], losses=[Window(0.7, 0.9)]) == ["lost"]
    assert faults({"a": Ending("queued")}, [], losses=[Window(0.55, 0.7)]) == ["lost"]


def test_the_judge_does_not_take_a_run_cut_short_or_failed_for_a_success() -> None:
    """Lost: recorded as succeeded, and its only run never came to its end."""
    assert faults({"a": DONE}, [ran("a", 1, None)], [deed(CHILD, 1.02)]) == ["lost"]
    assert faults({"a": DONE}, [replace(ran("a", 1, 1.05), raised=True)]) == ["lost"]


def test_the_judge_asks_for_the_cause_of_each_second_run() -> None:
    """Unexplained: nobody was killed, somebody else, before the run or after its second start. Planted: I20."""
    again = [ran("a", 1, None), ran("a", 2, 2.05, OTHER, 2)]
    assert faults({"a": DONE}, again, [deed(CHILD, 1.02)]) == []
    assert faults({"a": DONE}, again, [deed(SUPERVISOR, 1.02, "supervisor")]) == []
    assert faults({"a": DONE}, again, [deed(CHILD, 1.02, "stopped")]) == []
    assert faults({"a": DONE}, [replace(again[0], ended=1.5, raised=True), again[1]]) == []
    assert faults({"a": DONE}, again) == ["unexplained"]
    assert faults({"a": DONE}, again, [deed(OTHER, 1.02)]) == ["unexplained"]
    assert faults({"a": DONE}, again, [deed(CHILD, 0.5)]) == ["unexplained"]
    assert faults({"a": DONE}, again, [deed(CHILD, 2.5)]) == ["unexplained"]
    third = [*again, ran("a", 3, 3.05, OTHER, 3)]
    assert faults({"a": DONE}, third, [deed(CHILD, 1.02)]) == ["unexplained"]


def test_silence_explains_a_second_run_only_when_a_lease_may_have_lapsed() -> None:
    """Also one of a job that the silent process had claimed and begins when it comes back."""
    again = [ran("a", 1, 8), ran("a", 7, 7.05, OTHER, 2)]
    assert faults({"a": DONE}, again, [deed(CHILD, 1.5, "silent", 7.5)]) == []
    assert faults({"a": DONE}, again, [deed(CHILD, 6, "silent", 7.5)]) == ["unexplained"]
    assert faults({"a": DONE}, again, [deed(CHILD, 8.5, "silent", 20)]) == ["unexplained"]
    late = [ran("a", 7, 7.05, OTHER, 2), ran("a", 9, 9.05, CHILD, 1)]
    assert faults({"a": DONE}, late, [deed(CHILD, 1.5, "silent", 8.5)]) == []
    assert faults({"a": DONE}, late, [deed(CHILD, 7.5, "silent", 8.5)]) == ["unexplained"]


def test_a_window_of_loss_explains_a_second_run_of_what_was_not_settled_before() -> None:
    """And of nothing that ended long before it, or began long after. F20."""
    again = [ran("a", 10, 10.05), ran("a", 12, 12.05, OTHER)]
    for window, expected in (
        (Window(10.5, 11), []),
        (Window(11.5, 12), ["unexplained"]),
        (Window(6, 9), []),
        (Window(1, 4), ["unexplained"]),
    ):
        assert faults({"a": DONE}, again, losses=[window]) == expected


def test_a_kill_long_after_the_end_of_a_run_explains_nothing() -> None:
    """Unexplained: what had ended and was settled ran again; unless it could not be settled for as long. F28."""
    again = [ran("a", 1, 1.05), ran("a", 9, 9.05, OTHER, 2)]
    assert faults({"a": DONE}, again, [deed(CHILD, 1.06)]) == []
    assert faults({"a": DONE}, again, [deed(CHILD, 8.5)]) == ["unexplained"]
    assert faults({"a": DONE}, again, [deed(CHILD, 8.5)], outages=[Window(1, 8)]) == []
    assert faults({"a": DONE}, again, [deed(CHILD, 8.5)], outages=[Window(1, 3)]) == ["unexplained"]


def test_a_late_run_that_is_recorded_over_another_one_is_a_fault() -> None:
    """Overwritten: the second one had begun when the first one ended. What was begun late may not count instead."""
    both = [ran("a", 1, 8, CHILD), ran("a", 7, 9, OTHER, 2)]
    silence = [deed(CHILD, 1.5, "silent", 7.5)]

    def recorded(pid: int, runs: Sequence[Run] = both, losses: Sequence[Window] = ()) -> list[str]:
        return faults({"a": replace(DONE, pid=pid)}, runs, silence, losses=losses)

    assert recorded(OTHER) == []
    assert recorded(CHILD) == ["overwritten"]
    assert recorded(999) == ["overwritten"]
    assert recorded(CHILD, losses=[Window(7.5, 8)]) == []
    # It was handed out twice; who began it later had lost it before.
    late = [ran("a", 7, 9, OTHER, 2), ran("a", 7.6, 8, CHILD)]
    assert recorded(OTHER, late) == []


def test_poison_needs_three_starts_that_were_killed() -> None:
    """Fewer crashes, a process nobody killed, the same one three times, or a start that the task never saw. F54."""
    pids = (101, 102, 103)
    parents = dict.fromkeys(pids, SUPERVISOR)
    runs = [ran("a", at, None, pid, at) for at, pid in enumerate(pids, 1)]
    kinds = ("child", "itself", "orphan")
    kills = [deed(pid, at + 0.02, kind) for at, (pid, kind) in enumerate(zip(pids, kinds, strict=True), 1)]
    poison = Ending("failed", "poison", pids)

    def found(ending: Ending, runs: Sequence[Run] = runs, kills: Sequence[Deed] = kills) -> list[str]:
        return faults({"a": ending}, runs, kills, parents=parents)

    assert found(poison) == []
    assert found(replace(poison, crashed=pids[:2])) == ["poison"]
    assert found(replace(poison, crashed=pids[:2], lapses=1)) == ["poison"]
    assert found(replace(poison, crashed=pids[:2], lapses=2)) == []
    assert found(replace(poison, crashed=())) == ["poison"]
    assert found(replace(poison, crashed=(101, 101, 101))) == ["poison"]
    assert found(replace(poison, crashed=(101, 102, 999))) == ["poison"]
    assert found(poison, runs[:2]) == ["poison"]
    assert found(poison, runs, kills[:2]) == ["poison"]


def test_a_job_that_failed_for_any_other_reason_is_a_fault() -> None:
    """The tasks of the run fail once at most."""
    assert faults({"a": Ending("failed", "error")}, [ran("a", 1, 1.05)]) == ["failed"]
    assert faults({"a": Ending("failed", "corrupt")}, []) == ["failed"]


def test_a_job_that_nobody_sent_or_that_was_refused_is_a_fault() -> None:
    """Unexpected: what is refused was refused for certain. Planted: I5."""
    other = {"a": DONE, "b": DONE}
    both = [ran("a", 1, 1.05), ran("b", 1, 1.05)]
    assert faults(other, both) == ["unexpected"]
    assert faults(other, both, sendings=[sent(), sent("b", "refused")]) == ["unexpected"]
    assert faults(other, both, sendings=[sent(), sent("b")]) == []


def test_a_job_that_nobody_can_say_anything_about_may_be_there_or_not() -> None:
    """If it is, it is recovered and held to the same promise, also where its producer died over it."""
    unknown = sent("a", "unknown")
    assert faults({}, [], sendings=[unknown]) == []
    assert faults({"a": DONE}, [ran("a", 1, 1.05)], sendings=[unknown]) == []
    assert faults({"a": Ending("queued")}, [], sendings=[unknown]) == ["lost"]
    assert faults({}, [ran("a", 1, 1.05)], sendings=[unknown]) == ["lost"]
    died = replace(unknown, job="", ended=math.inf)
    assert faults({"a": DONE}, [ran("a", 1, 1.05)], sendings=[died]) == []


def test_an_orphan_that_still_starts_jobs_is_a_fault() -> None:
    """A process starts nothing from two seconds after its supervisor's death; a minute later it is another process."""
    kills = [deed(SUPERVISOR, 1, "supervisor")]
    assert faults({"a": DONE}, [ran("a", 2.5, 2.55)], kills) == []
    assert faults({"a": DONE}, [ran("a", 3.5, 3.55)], kills) == ["late"]
    assert faults({"a": DONE}, [ran("a", 90, 90.05)], kills) == []


def test_the_judge_names_every_fault_of_many() -> None:
    """One job right and two wrong, each with its id."""
    jobs = [sent(each) for each in "abc"]
    runs = [ran("a", 1, 1.05), ran("c", 1, None)]
    verdict = judge(jobs, {"a": DONE, "c": DONE}, runs, Evidence(parents=PARENTS))
    assert len(verdict.faults) == 2
    assert all(any(f" {job} " in fault for fault in verdict.faults) for job in "bc")
    assert verdict.counts["starts"] == 2
    assert verdict.counts["starts cut short"] == 1
