"""Whether a run kept the promise: arithmetic over the ledger, the deeds and what the server recorded. No I/O."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.ledger import Run, Sending

#: Seconds that a signal takes to arrive on a busy machine.
SLACK = 0.1
#: Seconds from the end of a run until the server knows of it: a deed that comes later is no reason to run again.
SETTLED = 1.0
#: Seconds until a process that was cut off has told what it could not tell.
RECOVERED = 5.0
#: Seconds after which a process without supervisor starts nothing more, and the longest for which its pid is its own;
#: and a crash limit as in the settings.
ORPHAN_STARTS, OWN_PID, MAX_CRASHES = 2.0, 60.0, 3

KILLS = ("child", "supervisor", "orphan", "itself")


@dataclass(frozen=True)
class Deed:
    """What was done to a process between two instants.

    ``kind``: ``supervisor``, ``child``, ``orphan`` (its supervisor was gone already) or ``itself`` for a SIGKILL,
    ``stopped`` for a SIGTERM, ``silent`` for one that stood still all that time.
    """

    pid: int
    kind: str
    before: float
    after: float


@dataclass(frozen=True)
class Window:
    """A stretch of time; what for, its owner says."""

    since: float
    until: float


@dataclass(frozen=True)
class Ending:
    """What the server says of a job.

    Attributes:
        state: also ``unknown``, if it knows none of that id.
        reason: why it failed.
        crashed: the pids of the attempts charged as crashed.
        lapses: the attempts whose lease ran out.
        pid: the process whose run is recorded; 0 where nobody asked.
    """

    state: str
    reason: str = ""
    crashed: tuple[int, ...] = ()
    lapses: int = 0
    pid: int = 0


@dataclass
class Evidence:
    """What was done to whom and when.

    Attributes:
        deeds: to processes.
        parents: the supervisor of each worker process that was seen.
        losses: windows in which a server may have lost what it had acknowledged.
        outages: windows in which not everybody reached the server.
        lease: seconds.
    """

    deeds: Sequence[Deed] = ()
    parents: Mapping[int, int] = field(default_factory=dict)
    losses: Sequence[Window] = ()
    outages: Sequence[Window] = ()
    lease: float = 30.0

    def __post_init__(self) -> None:
        self._of: dict[int, list[Deed]] = defaultdict(list)
        for deed in self.deeds:
            self._of[deed.pid].append(deed)

    def killed(self, pid: int) -> bool:
        """Whether a process met a SIGKILL."""
        return any(deed.kind in KILLS for deed in self._of.get(pid, ()))

    def kills(self, pid: int) -> list[Deed]:
        """The SIGKILLs of a process."""
        return [deed for deed in self._of.get(pid, ()) if deed.kind in KILLS]

    def told_by(self, ended: float | None) -> float:
        """When the server knew of a run's end at the latest; never, if it had none."""
        if ended is None:
            return math.inf
        told = ended + SETTLED
        for outage in self.outages:
            if outage.since <= told and ended <= outage.until:
                told = max(told, outage.until + RECOVERED)
        return told

    def lost(self, since: float, until: float) -> bool:
        """Whether what was acknowledged at some moment between the two may be gone."""
        return any(window.since <= until and since <= window.until for window in self.losses)

    def may_count(self, run: Run, ran: Sequence[Run]) -> bool:
        """Whether the server may have recorded a run: it came to its end, and no other one had the job by then."""
        if run.ended is None or run.raised:
            return False
        if self.lost(run.started, self.told_by(run.ended)):
            return True  # it may have forgotten the other one

        def was_silent(other: Run) -> bool:  # it had the job before, and began it when it came back
            return any(d.kind == "silent" and d.before < run.started for d in self._of.get(other.pid, ()))

        return not any(run.started < each.started < run.ended and not was_silent(each) for each in ran)

    def cause(self, run: Run, later: Run) -> str:
        """Why a job ran again; empty if nothing explains it."""
        if run.raised:
            return "failed"
        told = self.told_by(run.ended)
        own = {run.pid, run.parent, self.parents.get(run.pid, 0)}
        near = [deed for pid in own for deed in self._of.get(pid, ())]
        for deed in near:
            if run.started <= deed.after + SLACK and deed.before <= min(told, later.started):
                if deed.kind != "silent":
                    return "stopped" if deed.kind == "stopped" else "killed"
                if later.started - deed.before > self.lease / 2:
                    return "silent"
        # What a process held but had not begun when it fell silent, it begins when it comes back, and so does another.
        for pid in {later.pid, later.parent, self.parents.get(later.pid, 0)}:
            for deed in self._of.get(pid, ()):
                if deed.kind == "silent" and deed.before <= run.started <= later.started <= deed.after + self.lease:
                    return "silent"
        if any(run.started <= each.until + self.lease and each.since <= told for each in self.losses):
            return "forgotten"
        return ""


@dataclass
class Verdict:
    """What went wrong, one line each, and what happened, counted."""

    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)


def judge(
    sendings: Sequence[Sending], endings: Mapping[str, Ending], runs: Sequence[Run], evidence: Evidence
) -> Verdict:
    """Compare what was sent, what ran, what was done and what was recorded.

    Args:
        sendings: every call of every producer.
        endings: what the server knows of each job that was accepted, may have been stored, or ran.
        runs: the ledger of the tasks, oldest first.
        evidence: what was done.
    """
    verdict = Verdict()
    by_job: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_job[run.job].append(run)
    accepted = {each.job: each for each in sendings if each.outcome == "accepted"}
    unknown = {each.tag for each in sendings if each.outcome == "unknown"}
    unsure = {each.job for each in sendings if each.outcome == "unknown" and each.job} - accepted.keys()
    for job, sending in accepted.items():
        ending = endings.get(job, Ending("unknown"))
        may_be_lost = evidence.lost(sending.began, sending.ended)
        if ending.state == "unknown" and may_be_lost:
            verdict.counts["lost in a window"] += 1
        else:
            verdict.faults += _job(job, ending, by_job.get(job, []), evidence, verdict.counts)
    for job in sorted(by_job.keys() - accepted.keys() | unsure):
        ran, ending = by_job.get(job, []), endings.get(job, Ending("unknown"))
        if ran and ran[0].tag not in unknown:
            verdict.faults.append(f"unexpected: {job} ran as {ran[0].tag}, which nobody sent or was refused")
        elif ending.state != "unknown":
            verdict.counts["recovered"] += 1
            verdict.faults += _job(job, ending, ran, evidence, verdict.counts)
        elif ran and not evidence.lost(ran[0].started, ran[-1].ended or math.inf):
            verdict.faults.append(f"lost: {job} ran and is unknown")
    for job, ran in by_job.items():
        verdict.counts["second runs"] += len(ran) - 1
        for run, later in pairwise(ran):
            cause = evidence.cause(run, later)
            verdict.causes[cause or "nothing"] += 1
            if not cause:
                verdict.faults.append(
                    f"unexplained: {job} ran in {run.pid} from {run.started:.3f} to {run.ended} and again in "
                    f"{later.pid} at {later.started:.3f}, and nothing was done to {run.pid} or its supervisor"
                )
    verdict.faults += _orphans(runs, evidence)
    verdict.counts.update(each.outcome for each in sendings)
    verdict.counts["starts"] = len(runs)
    verdict.counts["starts cut short"] = sum(run.ended is None for run in runs)
    verdict.counts.update(f"{deed.kind} deeds" for deed in evidence.deeds)
    return verdict


def _job(job: str, ending: Ending, ran: Sequence[Run], evidence: Evidence, counts: Counter[str]) -> list[str]:
    """What is wrong with one that the server is to know."""
    counts[ending.state] += 1
    counts["lapsed"] += ending.lapses
    if ending.state == "succeeded":
        if not any(run.ended is not None and not run.raised for run in ran):
            return [f"lost: {job} is recorded as succeeded and never ran to its end"]
        if ending.pid and not any(evidence.may_count(run, ran) for run in ran if run.pid == ending.pid):
            return [f"overwritten: {job} is recorded as it ran in {ending.pid}, and it had been given to another one"]
        return []
    if ending.state == "failed" and ending.reason == "poison":
        counts["poison"] += 1
        return _poison(job, ending, ran, evidence)
    if ending.state == "failed":
        return [f"failed: {job} for the reason {ending.reason!r}, and its task never fails for good"]
    return [f"lost: {job} is {ending.state}; it ran {len(ran)} times"]


def _poison(job: str, ending: Ending, ran: Sequence[Run], evidence: Evidence) -> list[str]:
    # Each start of its own, seen by the task itself, and each process killed: none dies twice. The first lapse is free.
    killed = {run.pid for run in ran if run.pid in ending.crashed and evidence.killed(run.pid)}
    charged = len(ending.crashed) + max(0, ending.lapses - 1)
    if len(killed) == len(ending.crashed) and charged == MAX_CRASHES:
        return []
    return [f"poison: {job} after crashes in {ending.crashed}, of which {sorted(killed)} had begun it and been killed"]


def _orphans(runs: Sequence[Run], evidence: Evidence) -> list[str]:
    return [
        f"late: {run.job} began in {run.pid}, {run.started - kill.after:.1f} s after its supervisor's death"
        for run in runs
        for kill in evidence.kills(evidence.parents.get(run.pid, 0))
        if kill.after + ORPHAN_STARTS < run.started < kill.after + OWN_PID
    ]
