"""``python -m tests.chaos --duration 30 --seed 1``: real workers under SIGKILL, and the arithmetic afterwards.

The same seed chooses the same victims at the same moments, as far as the machine's timing lets it. Exit code 0: the
promise was kept; 1: it was not, and everything that tells why is left in the directory named at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from tests.chaos import ledger, state
from tests.chaos.fleet import Fleet, marked
from tests.chaos.verdict import Verdict, judge
from tests.matrix import plain

WORKERS, PROCESSES = 3, 2
#: The share of supervisors among the victims.
SUPERVISORS = 0.1
#: Seconds: between two kills, the longest job, for the drain beyond one lease, and for a job after the healing.
KILL_EVERY, LONGEST, DRAIN, PROBE = 0.2, 0.05, 30.0, 5.0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of killing")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--lease", type=float, default=30.0, help="seconds; the default of the settings")
    parser.add_argument("--keep", action="store_true", help="keep the directory of a run that passed, too")
    return parser.parse_args(arguments)


class Run:
    """One run of the harness.

    Args:
        options: the command line.
        home: a directory of its own, with a short path for the server's socket.
    """

    def __init__(self, options: argparse.Namespace, home: Path) -> None:
        self.options = options
        self.home = home
        self.random = random.Random(options.seed)
        self.ledger = home / "ledger"
        self.ledger.mkdir()
        self.mark = f"QUAFF_CHAOS={uuid4().hex}"
        url = f"embedded://{home}/server"
        env = {"QUAFF_URL": url, "QUAFF_NAMESPACE": "chaos", "QUAFF_LEASE": str(options.lease)}
        os.environ.update(env)
        from tests.chaos.app import QUEUES, quaff

        self.queues, self.quaff = QUEUES, quaff
        self.client = plain(url)
        self.sent: list[str] = []
        command = ["-A", "tests.chaos.app:quaff", "-Q", ",".join(QUEUES), "-p", str(PROCESSES)]
        name, _, value = self.mark.partition("=")
        own = {ledger.FOLDER: str(self.ledger), name: value, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.fleet = Fleet(WORKERS, command, env | own, self.mark, home)

    def enqueue(self) -> None:
        """Send the jobs so that they last all through the killing: a tenth at once, the rest evenly."""
        choice = random.Random(self.options.seed)
        calls = [
            (queue := choice.choice(list(self.queues)), choice.choice(self.queues[queue]), choice.uniform(0, LONGEST))
            for _ in range(self.options.jobs)
        ]
        began, first = time.monotonic(), len(calls) // 10
        for number, (queue, name, seconds) in enumerate(calls):
            due = began + self.options.duration * max(0, number - first) / max(1, len(calls) - first)
            time.sleep(max(0.0, due - time.monotonic()))
            self.sent.append(self.quaff.tasks[name].options(queue=queue).delay(number, seconds).id)

    def rage(self) -> None:
        """Kill somebody every now and then, and start the dead again."""
        until = time.monotonic() + self.options.duration
        due = time.monotonic()
        trees_from = due + self.options.duration / 3
        while due < until:
            if due > trees_from and self.kill_a_tree():
                trees_from = until  # one is enough: its jobs wait for a whole lease
            victim = self.choose()
            if victim is not None:
                self.fleet.kill(*victim)
            self.fleet.tend()
            due += KILL_EVERY
            time.sleep(max(0.0, due - time.monotonic()))

    def choose(self) -> tuple[int, str] | None:
        """A victim: mostly a process that runs jobs, else the run would be one of starting interpreters.

        None where there is none of its kind at the moment: on a slow machine the others would never come up.
        """
        kind = "supervisor" if self.random.random() < SUPERVISORS else "below"
        victims = [each for each in self.fleet.victims() if (each[1] == "supervisor") == (kind == "supervisor")]
        return self.random.choice(victims) if victims else None

    def kill_a_tree(self) -> bool:
        """Kill a supervisor and its processes; True if a job was cut short: then only its lapsed lease tells of it.

        Nobody is killed while none of them runs a job: one tree after the other would die before it has come up.
        """
        busy = {run.pid for run in ledger.runs(self.ledger) if run.ended is None}
        below = [pid for pid, kind in self.fleet.victims() if kind == "child"]
        if not busy.intersection(below):
            return False
        above = self.fleet.parents[self.random.choice([pid for pid in below if pid in busy])]
        self.fleet.kill(above, "supervisor")
        gone = [pid for pid in below if self.fleet.parents[pid] == above]
        for pid in gone:
            self.fleet.kill(pid, "orphan")
        return any(run.ended is None and run.pid in gone for run in ledger.runs(self.ledger))

    def ended(self) -> int:
        """How many endings the server has counted."""
        return state.ended(self.client, "chaos", self.queues)

    def heal(self) -> bool:
        """Start the dead, kill nobody, and wait until every job has ended."""
        until = time.monotonic() + self.options.lease + DRAIN
        while time.monotonic() < until and self.ended() < len(self.sent):
            self.fleet.tend()
            time.sleep(0.1)
        return self.ended() >= len(self.sent)

    def probe(self) -> float:
        """How long a new job takes after all that; it is not one of those that are counted. F69."""
        began = time.monotonic()
        job = self.quaff.tasks["nap"].options(queue="alpha").delay(-1, 0.0)
        self.sent.append(job.id)
        try:
            job.result(timeout=PROBE)
        except TimeoutError:
            return float("inf")
        return time.monotonic() - began

    def judge(self, probe: float, drained: bool, codes: list[int]) -> Verdict:
        """Everything that can be said about the run."""
        found = state.endings(self.quaff, self.sent)
        verdict = judge(self.sent, found, ledger.runs(self.ledger), self.fleet.kills, self.fleet.parents)
        counted = self.ended()
        if counted != len(self.sent):
            verdict.faults.append(f"counted: {counted} endings of {len(self.sent)} jobs")
        if drained:
            verdict.faults += state.leftovers(self.client, "chaos", self.queues)
        if probe > PROBE:
            verdict.faults.append(f"stuck: a job sent after the healing did not run within {PROBE:g} s")
        if any(codes):
            verdict.faults.append(f"exit codes at the end: {codes}")
        verdict.faults += [f"left behind: {each.pid} {each.command}" for each in marked(self.mark)]
        return verdict


def until(predicate: Callable[[], bool], seconds: float) -> bool:
    """Poll; whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


#: What a run should have met, or it proves little: words of the workers' log, beside the counts of the ledger.
SOMETIMES = {
    "a dead process's jobs given back at once": "gave back",
    "jobs taken back from a silent process": "from workers that fell silent",
    "a run that came too late": "this run came too late",
    "a process closed by the server": "this process was silent",
    "a process that did not start": "did not start",
}


def report(run: Run, verdict: Verdict, seconds: Sequence[float]) -> None:
    """The summary, on stdout."""
    counts = verdict.counts
    print("jobs:   " + ", ".join(f"{counts[each]} {each}" for each in ("succeeded", "poison", "second runs", "lapsed")))
    print(f"starts: {counts['starts']}, {counts['starts cut short']} of them cut short")
    kinds = ("child", "supervisor", "orphan")
    print(f"kills:  {len(run.fleet.kills)}: " + ", ".join(f"{kind} {counts[f'{kind} kills']}" for kind in kinds))
    for what, words in SOMETIMES.items():
        print(f"sometimes: {run.fleet.said(words):5d} × {what}")
    print("seconds: killing {:.1f}, draining {:.1f}, a job after it {:.3f}".format(*seconds))


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    print(
        f"chaos: seed {options.seed}, {options.duration:g} s, {options.jobs} jobs, lease {options.lease:g} s",
        flush=True,
    )
    home = Path(tempfile.mkdtemp(prefix="quaff-chaos", dir="/tmp"))
    run = Run(options, home)
    clock = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        sender = pool.submit(run.enqueue)
        run.rage()
        sender.result()  # what it raised ends the run: there would be less to judge than it says
    raged, clock = time.monotonic() - clock, time.monotonic()
    drained = run.heal()
    healed = time.monotonic() - clock
    probe = run.probe()
    codes = run.fleet.stop(30)
    until(lambda: not marked(run.mark), 6)
    verdict = run.judge(probe, drained, codes)
    report(run, verdict, (raged, healed, probe))
    for fault in verdict.faults[:50]:
        print(f"FAULT {fault}")
    if verdict.faults or options.keep:
        print(f"everything is kept in {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    lost = sum(fault.startswith("lost") for fault in verdict.faults)
    print(f"chaos: {len(run.sent)} jobs, {lost} lost, {len(verdict.faults)} faults, seed {options.seed}")
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
