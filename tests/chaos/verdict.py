"""Whether a run kept the promise: arithmetic over the ledger, the kills and what the server recorded. No I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.fleet import Kill
from tests.chaos.ledger import Run

#: Seconds that a SIGKILL takes to arrive on a busy machine.
SLACK = 0.1
#: Seconds from the end of a run until the server knows of it: a kill that comes later is no reason to run again.
SETTLED = 1.0
#: Seconds after which a process without supervisor starts nothing more, and a crash limit as in the settings.
ORPHAN_STARTS, MAX_CRASHES = 2.0, 3


@dataclass(frozen=True)
class Ending:
    """What the server says of a job: its state, why it failed, and the pids of the attempts charged as crashed."""

    state: str
    reason: str = ""
    crashed: tuple[int, ...] = ()
    lapses: int = 0


@dataclass
class Verdict:
    """What went wrong, one line each, and what happened, counted."""

    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def judge(
    sent: Collection[str],
    endings: Mapping[str, Ending],
    runs: Sequence[Run],
    kills: Sequence[Kill],
    parents: Mapping[int, int],
) -> Verdict:
    """Compare what was sent, what ran, what was killed and what was recorded.

    Args:
        sent: the ids whose enqueue returned.
        endings: what the server knows of each.
        runs: the ledger, oldest first.
        kills: the SIGKILLs sent.
        parents: the supervisor of each worker process that was seen.
    """
    verdict = Verdict()
    by_job: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_job[run.job].append(run)
    kills_of: dict[int, list[Kill]] = defaultdict(list)
    for kill in kills:
        kills_of[kill.pid].append(kill)

    def killed_between(run: Run, until: float) -> bool:
        pids = {run.pid, run.parent, parents.get(run.pid, 0)}
        near = [kill for pid in pids for kill in kills_of[pid]]
        last = until if run.ended is None else min(until, run.ended + SETTLED)
        return any(run.started <= kill.after + SLACK and kill.before <= last for kill in near)

    for job in sent:
        ran, ending = by_job.get(job, []), endings.get(job, Ending("unknown"))
        verdict.counts[ending.state] += 1
        verdict.counts["second runs"] += max(0, len(ran) - 1)
        verdict.counts["lapsed"] += ending.lapses
        if ending.state == "succeeded":
            if not any(run.ended is not None for run in ran):
                verdict.faults.append(f"lost: {job} is recorded as succeeded and never ran to its end")
        elif ending.state == "failed" and ending.reason == "poison":
            verdict.counts["poison"] += 1
            verdict.faults += _poison(job, ending, ran, kills_of)
        elif ending.state == "failed":
            verdict.faults.append(f"failed: {job} for the reason {ending.reason!r}, and its task never fails")
        else:
            verdict.faults.append(f"lost: {job} is {ending.state}; it ran {len(ran)} times")
        for run, later in pairwise(ran):
            if not killed_between(run, later.started):
                verdict.faults.append(
                    f"unexplained: {job} ran in {run.pid} from {run.started:.3f} to {run.ended} and again in "
                    f"{later.pid} at {later.started:.3f}, and nobody killed {run.pid} or its supervisor"
                )
    verdict.faults += [f"unexpected: {job} ran and nobody sent it" for job in by_job.keys() - set(sent)]
    verdict.faults += _orphans(runs, kills_of, parents)
    verdict.counts["starts"] = len(runs)
    verdict.counts["starts cut short"] = sum(run.ended is None for run in runs)
    verdict.counts.update(f"{kill.kind} kills" for kill in kills)
    return verdict


def _poison(job: str, ending: Ending, ran: Sequence[Run], kills_of: Mapping[int, list[Kill]]) -> list[str]:
    # Each start of its own, seen by the task itself, and each process killed: none dies twice.
    killed = {run.pid for run in ran if run.pid in ending.crashed and kills_of.get(run.pid)}
    if len(killed) == len(ending.crashed) == MAX_CRASHES:
        return []
    return [f"poison: {job} after crashes in {ending.crashed}, of which {sorted(killed)} had begun it and been killed"]


def _orphans(runs: Sequence[Run], kills_of: Mapping[int, list[Kill]], parents: Mapping[int, int]) -> list[str]:
    return [
        f"late: {run.job} began in {run.pid}, {run.started - kill.after:.1f} s after its supervisor's death"
        for run in runs
        for kill in kills_of.get(parents.get(run.pid, 0), [])
        if run.started > kill.after + ORPHAN_STARTS
    ]
