"""One run: servers, workers and producers, card after card, a probe after each, and what there is to judge."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from quaff import QuaffError
from tests.chaos import ledger, state
from tests.chaos.deck import DECK, OUTAGES
from tests.chaos.fleet import Fleet, marked
from tests.chaos.servers import Pair
from tests.chaos.verdict import Deed, Evidence, Verdict, Window, judge
from tests.chaos.witness import Witness
from tests.helpers import wait_until

WORKERS, PROCESSES, PRODUCERS = 3, 2, 2
#: Seconds: of a lease, of a call, for running jobs at a stop, for a job after a fault, and for the drain.
LEASE, DEADLINE, GRACE, PROBE, DRAIN = 5.0, 1.0, 0.5, 5.0, 40.0
#: Starts of an interpreter that a job after a fault may have to wait for besides, as long as they take by then.
STARTS = 4
ROOT = Path(__file__).parents[2]


def within(seconds: float, predicate: Callable[[], object]) -> bool:
    """Whether something became true in time."""
    with suppress(AssertionError):
        return bool(wait_until(predicate, seconds))
    return False


def interpreter() -> float:
    """Seconds that a program with the application takes to start at this moment."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import quaff.worker.process, tests.chaos.app"], check=True, cwd=ROOT)
    return time.monotonic() - began


@dataclass(frozen=True)
class Plan:
    """What the command line asks for; ``cards``: the only ones, in any order."""

    duration: float
    seed: int
    rate: float
    cards: Sequence[str]
    source: Path


class Run:
    """One run of the harness.

    Args:
        plan: the command line.
        home: a directory of its own.

    Attributes:
        met: what happened that a run should meet.
        without: what could not be done here, and why.
        faults: what was seen to be wrong while it went on.
        probes: seconds of the job after each card.
    """

    namespace, lease, deadline = "chaos", LEASE, DEADLINE

    def __init__(self, plan: Plan, home: Path) -> None:
        self.plan, self.home = plan, home
        self.random = random.Random(plan.seed)
        self.ledger = home / "ledger"
        self.ledger.mkdir()
        self.met: Counter[str] = Counter()
        self.without: list[str] = []
        self.faults: list[str] = []
        self.probes: list[tuple[str, float]] = []
        self.outages: list[Window] = []
        self.witness = Witness()
        self.servers = Pair(self.witness.watch)
        env = {
            "QUAFF_URL": self.servers.proxy.url,
            "QUAFF_NAMESPACE": self.namespace,
            "QUAFF_LEASE": f"{LEASE}",
            "QUAFF_DEADLINE": f"{DEADLINE}",
            "QUAFF_GRACE": f"{GRACE}",
            "QUAFF_RESULT_TTL": "36000",
            "QUAFF_KEY_WINDOW": "36000",
            ledger.FOLDER: str(self.ledger),
        }
        os.environ.update(env)
        from tests.chaos.app import QUEUES, quaff

        self.queues, self.quaff = QUEUES, quaff
        self.mark = f"CHAOS={uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self._env = env | {name: value, "PYTHONPATH": os.pathsep.join([str(plan.source), str(ROOT)])}
        # One serves a single queue, which is claimed from in another way.
        served = [QUEUES] * (WORKERS - 1) + [["alpha"]]
        commands = [["-A", "tests.chaos.app:quaff", "-Q", ",".join(each), "-p", str(PROCESSES)] for each in served]
        self.fleet = Fleet(commands, self._env, self.mark, home)
        self._producers: list[subprocess.Popen[bytes]] = []
        self._names = iter(range(1_000_000))

    def client(self) -> Any:
        """Of the primary, past the proxy."""
        return self.servers.client()

    # Producers

    def start_producers(self) -> None:
        """Start those that are missing."""
        self._producers = [each for each in self._producers if each.poll() is None]
        while len(self._producers) < PRODUCERS:
            arguments = (f"p{next(self._names)}", str(self.plan.seed), str(self.plan.rate / PRODUCERS))
            with (self.home / "producers.log").open("ab") as log:
                self._producers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.chaos.producer", *arguments],
                        env=os.environ | self._env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=ROOT,
                    )
                )

    def kill_a_producer(self) -> None:
        """SIGKILL to one of them."""
        self._producers[0].kill()
        self._producers[0].wait()

    # The course

    def rage(self) -> None:
        """Card after card, all of them at least once, until the time is over."""
        wait_until(lambda: self.fleet.said("ready: ") >= WORKERS, 30, "workers that are ready")
        self.start_producers()
        until = time.monotonic() + self.plan.duration
        while True:
            deck = list(self.plan.cards)
            self.random.shuffle(deck)
            for name in deck:
                self.play(name)
                if time.monotonic() > until and len(self.probes) >= len(deck):
                    return

    def play(self, name: str) -> None:
        """One card, and a job that has to run after it. F69."""
        since = ledger.now()
        try:
            DECK[name](self)
        except (AssertionError, redis.RedisError) as error:
            self.faults.append(f"{name}: {error}")
        self.fleet.tend()
        self.start_producers()
        seconds = self.probe(name)
        if name in OUTAGES:
            self.outages.append(Window(since, ledger.now()))
        self.probes.append((name, seconds))

    def probe(self, card: str) -> float:
        """How long a job takes that is sent now."""
        from tests.chaos.producer import send

        began, tag = time.monotonic(), f"probe-{uuid4().hex[:8]}"
        try:
            outcome = send(self.quaff, tag, "alpha", "nap", 0.0)
            assert outcome == "accepted", f"{tag} was {outcome}"
            if not within(PROBE, lambda: ledger.starts(self.ledger, tag)):
                # Who was killed has to start again, and may be killed once more before it has.
                wait_until(lambda: ledger.starts(self.ledger, tag), STARTS * interpreter(), f"a start of {tag}")
        except (AssertionError, QuaffError) as error:
            self.faults.append(f"stuck: after {card}: {error}")
        return time.monotonic() - began

    def heal(self) -> None:
        """Nothing is done any more; what has been sent ends."""
        for each in self._producers:
            each.terminate()
        codes = [each.wait(10) for each in self._producers]
        self.faults += [f"a producer ended with {code}" for code in codes if code not in (0, -signal.SIGTERM)]
        until = time.monotonic() + DRAIN
        while there := state.left(self.client(), self.namespace, self.queues):
            self.fleet.tend()
            if time.monotonic() > until:
                self.faults.append(f"stuck: {there} jobs had not ended after {DRAIN:g} s")
                break
            time.sleep(0.1)
        self.fleet.stop(20)
        self.faults += [f"a worker ended with {code}" for code in self.fleet.ended if code]
        if not within(6, lambda: not marked(self.mark)):
            self.faults += [f"left behind: {each.pid} {each.command}" for each in marked(self.mark)]
        self.servers.note_reloads()

    # The end

    def judge(self) -> Verdict:
        """Everything that can be said about the run."""
        runs, sendings = ledger.runs(self.ledger), ledger.sendings(self.ledger)
        deaths = [
            Deed(line["pid"], "itself", line["at"], line["at"])
            for line in ledger.lines(self.ledger)
            if line.get("event") == "dies"
        ]
        began = Counter(run.job for run in runs)
        jobs = sorted({each.job for each in sendings if each.job} | began.keys())
        found = state.endings(self.quaff, jobs, [job for job, times in began.items() if times > 1])
        evidence = Evidence([*self.fleet.deeds, *deaths], self.fleet.parents, self.servers.windows, self.outages, LEASE)
        verdict = judge(sendings, found, runs, evidence)
        verdict.faults += self.faults
        counted = state.ended(self.client(), self.namespace, self.queues)
        known = sum(each.state != "unknown" for each in found.values())
        if counted != known:
            verdict.faults.append(f"counted: {counted} endings, and {known} jobs that are known")
        verdict.faults += state.leftovers(self.client(), self.namespace, self.queues)
        verdict.faults += state.audit(self.quaff)
        return verdict

    def sometimes(self, verdict: Verdict) -> Mapping[str, int]:
        """What a run has to meet, or it proves little."""
        kinds = Counter(line.get("kind", "") for line in ledger.lines(self.ledger) if line.get("event") == "refusal")
        return {
            "a late run was refused (FENCED)": self.fleet.said("this run came too late"),
            "a claim was sent again": self.witness.again["claim"],
            "a settle was sent again": self.witness.again["settle"],
            "an enqueue without an answer": verdict.counts["unknown"],
            "an enqueue refused for want of memory": kinds["QueueFull"],
            "a poison job given up": verdict.counts["poison"],
            "a dead process's jobs given back": self.fleet.said("gave back"),
            "a silent worker's jobs reaped": self.fleet.said("from workers that fell silent"),
            "a job given back at a stop": verdict.causes["stopped"],
            "a job tried again after an error": verdict.causes["failed"],
            "scripts loaded again": self.servers.reloads,
            "nothing reaped after an outage": self.met["nothing reaped after an outage"],
            "a failover": self.met["a failover"],
            **({} if self.without else {"a clock that jumped": self.met["a clock that jumped"]}),
        }

    def keep(self) -> None:
        """Gather what tells why: logs, what was done, and the state. The primary is gone then."""
        with (self.home / "deeds.txt").open("w") as file:
            print(*self.fleet.deeds, *self.servers.windows, *self.outages, sep="\n", file=file)
        self.servers.keep(self.home)

    def end(self) -> None:
        """Nothing stays but the directory."""
        for each in self._producers:
            each.kill()
        for process in marked(self.mark):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.servers.end()
