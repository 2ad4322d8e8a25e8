"""The scripts against a small model of them: any order of calls, repeated and late ones too, and every invariant.

The model is what engine.md promises, in Python: where each job is, who holds it, how it ended. After every step its
picture and the server's are the same, and the dump shows the invariants 1, 4, 6, 7, 8, 10, 12, 13 and 16 of §9.
"""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from quaff.model import ids
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.keys import NAMES
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import HOUR, RULES, Desk, keyed
from tests.store.engine_model import Job, Process

OK, ALREADY, FENCED, GONE = Verdict
LETTER = {JobState.SUCCEEDED: "s", JobState.FAILED: "f", JobState.CANCELLED: "c"}


class Engine(RuleBasedStateMachine):
    """Producers, workers, supervisors and sweeps, in any order."""

    url = ""
    jobs_known: ClassVar[Bundle[bytes]] = Bundle("jobs")
    leases: ClassVar[Bundle[tuple[int, Lease]]] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(self.url, f"m{uuid4().hex[:12]}")
        self.jobs: dict[bytes, Job] = {}
        self.ready: list[bytes] = []  # the head first
        self.solo: list[bytes] = []
        self.processes = [Process() for _ in range(3)]
        self.count = dict.fromkeys(("enqueued", "succeeded", "failed", "cancelled"), 0)
        self.tokens: set[bytes] = set()
        self.settled: list[bytes] = []  # tokens that were answered OK
        self.ended: dict[bytes, str] = {}

    def teardown(self) -> None:
        """Nothing of it stays."""
        keys = [self.desk.key(name) for name in NAMES]
        self.desk.redis.delete(*keys)
        self.desk.close()

    # Enqueue

    @rule(target=jobs_known, digests=st.lists(st.sampled_from([b"", b"one", b"two"]), min_size=1, max_size=4))
    def enqueue(self, digests: list[bytes]) -> object:
        """New jobs, in one call."""
        batch = [(ids.new_raw(), keyed(d) if d else b"plain") for d in digests]
        assert self.desk.enqueue(batch) == [0] * len(batch)
        for id, message in batch:
            self.jobs[id] = Job(message)
            self.ready.append(id)
        self.count["enqueued"] += len(batch)
        return multiple(*(id for id, _ in batch))

    @rule(again=st.lists(jobs_known, min_size=1, max_size=4), other=st.sampled_from([b"", b"one", b"two"]))
    def enqueue_again(self, again: list[bytes], other: bytes) -> None:
        """Ids that are there, or were, with the same digest or another."""
        message = keyed(other) if other else b"plain"
        expected = []
        for id in again:
            job = self.jobs.get(id)
            if job is None:  # its tombstone is gone: it is a new job
                self.jobs[id] = Job(message)
                self.ready.append(id)
                self.count["enqueued"] += 1
                expected.append(0)
            elif job.where == "ended":
                known = job.message == message or not other
                expected.append(job.letter.encode() if known else b"x")
            else:
                expected.append(1 if job.message == message else b"x")
        assert self.desk.enqueue([(id, message) for id in again]) == expected

    # Claim

    def held(self, process: Process) -> list[bytes]:
        """What it holds, by id."""
        return sorted(id for id, job in self.jobs.items() if job.where == "active" and job.process == process.id)

    @rule(target=leases, who=st.integers(0, 2), want=st.integers(0, 4), idle=st.booleans())
    def claim(self, who: int, want: int, idle: bool) -> object:
        """A new claim; it is idle only if it says so truly."""
        process = self.processes[who]
        idle = idle and not self.held(process)
        process.claims += 1
        claim_id = b"%d/%d" % (who, process.claims) + process.id
        answer = self.desk.claim(process.id, process.claims, claim_id, want, idle=idle)
        assert answer.closed == process.closed
        if process.closed:
            assert answer.leases == []
            return multiple()
        process.last, process.seen = (process.claims, claim_id, want), True
        if want and idle and self.solo:
            expected, alone = [self.solo.pop(0)], True
        elif answer.empty_yourself:
            assert self.solo
            assert not idle
            expected, alone = [], False
        else:
            expected, alone = self.ready[:want], False
            del self.ready[:want]
        assert ([lease.id for lease in answer.leases], answer.alone) == (expected, alone)
        for lease in answer.leases:
            job = self.jobs[lease.id]
            assert lease.token not in self.tokens
            assert (lease.message, lease.attempt) == (job.message, job.attempts + 1)
            self.tokens.add(lease.token)
            job.where, job.process, job.token = "active", process.id, lease.token
        return multiple(*((who, lease) for lease in answer.leases))

    @rule(who=st.integers(0, 2))
    def claim_again(self, who: int) -> None:
        """The reply was lost: the same jobs, less those settled or given back since."""
        process = self.processes[who]
        if process.last is None:
            return
        number, claim_id, want = process.last
        answer = self.desk.claim(process.id, number, claim_id, want)
        assert answer.closed == process.closed
        of_it = [id for id in self.held(process) if self.jobs[id].token.startswith(claim_id + b".")]
        assert [lease.id for lease in answer.leases] == of_it
        assert [lease.token for lease in answer.leases] == [self.jobs[id].token for id in of_it]

    @rule(who=st.integers(0, 2), back=st.integers(0, 3))
    def claim_late(self, who: int, back: int) -> None:
        """A copy of an old claim arrives, or one that lies about its number: nothing."""
        process = self.processes[who]
        number = process.claims - back
        if process.last is not None and number > 0:
            assert self.desk.claim(process.id, number, b"late", 4).leases == []

    # Settle, release

    def verdict(self, id: bytes, token: bytes) -> Verdict:
        """What a settle with a token that does not hold the job is told."""
        job = self.jobs.get(id)
        if job is None:
            return GONE
        return ALREADY if job.where == "ended" and job.token == token else FENCED

    @rule(
        chosen=st.lists(leases, min_size=1, max_size=4),
        wrong=st.booleans(),
        state=st.sampled_from(list(LETTER)),
        ttl=st.sampled_from([0, HOUR, 2 * HOUR]),
    )
    def settle(self, chosen: list[tuple[int, Lease]], wrong: bool, state: JobState, ttl: int) -> None:
        """Leases of any age, some twice in the batch; or with a token that nobody was given."""
        process = self.processes[chosen[0][0]]
        pairs = [(lease.id, lease.token + b"0" * wrong) for who, lease in chosen if who == chosen[0][0]]
        expected = []
        for id, token in pairs:
            job = self.jobs.get(id)
            if job is not None and job.where == "active" and (job.process, job.token) == (process.id, token):
                self.settled.append(token)
                self.end(id, LETTER[state], kept=ttl > 0)
                expected.append(OK)
            else:
                expected.append(self.verdict(id, token))
        digests = {id: job.message[1:17] for id, job in self.jobs.items() if job.message != b"plain"}
        items = [(id, token, state, ttl, digests.get(id, b""), b"record") for id, token in pairs]
        assert (
            self.desk.store.run(t.settle(self.desk.home, process=process.id, window_ms=HOUR, items=items)) == expected
        )

    def end(self, id: bytes, letter: str, *, kept: bool) -> None:
        """A job ends, once."""
        job = self.jobs[id]
        assert id not in self.ended
        self.ended[id] = letter
        job.where, job.letter, job.kept = "ended", letter, kept
        self.count[{"s": "succeeded", "f": "failed", "c": "cancelled"}[letter]] += 1

    @rule(chosen=st.lists(leases, min_size=1, max_size=4, unique_by=lambda each: each[1].token), park=st.booleans())
    def release(self, chosen: list[tuple[int, Lease]], park: bool) -> None:
        """Given back at no cost, or parked; a lease that is over gives nothing back."""
        process = self.processes[chosen[0][0]]
        mine = [lease for who, lease in chosen if who == chosen[0][0]]
        good = [self.holds(process, each) for each in mine]
        answer = self.desk.release(process.id, *mine, park_ms=HOUR if park else 0)
        assert answer == [OK if each else FENCED for each in good]
        for lease, given in reversed(list(zip(mine, good, strict=True))):
            if given:
                self.back(lease.id, "parked" if park else "solo" if lease.token.endswith(b"!") else "ready")

    def holds(self, process: Process, lease: Lease) -> bool:
        """Whether a lease is in force."""
        job = self.jobs.get(lease.id)
        return job is not None and job.where == "active" and (job.process, job.token) == (process.id, lease.token)

    def back(self, id: bytes, where: str, *, tail: bool = False) -> None:
        """A job waits again; at the head of its line unless ``tail``."""
        self.jobs[id].where = where
        if where in ("ready", "solo"):
            line = self.ready if where == "ready" else self.solo
            line.insert(len(line) if tail else 0, id)

    # The ends of processes

    def charge(self, id: bytes) -> None:
        """One crash."""
        job = self.jobs[id]
        job.attempts += 1
        job.crashes += 1
        if job.crashes < RULES.max_crashes:
            self.back(id, "solo", tail=True)
        else:
            job.attempts = job.crashes = job.lapses = 0
            self.end(id, "f", kept=True)

    @rule(who=st.integers(0, 2))
    def born(self, who: int) -> None:
        """A new process for one that was closed."""
        if self.processes[who].closed:
            self.processes[who] = Process()

    @rule(who=st.integers(0, 2), some=st.integers(0, 7))
    def reap(self, who: int, some: int) -> None:
        """Its supervisor saw it die; some of its jobs had been started."""
        process = self.processes[who]
        held = self.held(process)
        started = [id for n, id in enumerate(held) if some >> n & 1]
        dead = sum(self.jobs[id].crashes == RULES.max_crashes - 1 for id in started)
        assert self.desk.reap(process.id, *started) == (len(held) - dead, dead, False)
        # What was not started costs nothing and goes to the head of its line, the oldest first.
        for id in reversed([each for each in held if each not in started]):
            self.back(id, "solo" if self.jobs[id].token.endswith(b"!") else "ready")
        for id in started:
            self.charge(id)
        process.closed = True

    @rule(who=st.integers(0, 2))
    def lapse(self, who: int) -> None:
        """Its lease runs out and a sweep sees it: the first time is free."""
        process = self.processes[who]
        if not process.seen or process.closed:
            return
        held = self.held(process)
        self.desk.let_lapse(process.id)
        self.desk.heartbeat(*(each.id for each in self.processes if each is not process))
        assert self.desk.sweep().taken == len(held)
        for id in held:
            job = self.jobs[id]
            job.lapses += 1
            if job.lapses == 1:
                self.back(id, "solo", tail=True)
            else:
                self.charge(id)
        process.closed = True
        assert self.desk.heartbeat(process.id) == [0]

    @rule()
    def outage(self) -> None:
        """All leases are over and no sweep came for long: the next one takes nothing."""
        for process in self.processes:
            self.desk.redis.zadd(self.desk.key("lease"), {process.id: 1}, xx=True)
        self.desk.redis.hset(self.desk.key("meta"), mapping={"last_tick": 1, "reap_from": 0})
        assert self.desk.sweep().taken == 0
        self.desk.heartbeat(*(process.id for process in self.processes))

    # Time

    @rule(unpark=st.booleans())
    def sweep(self, unpark: bool) -> None:
        """One that has only parked jobs to bring back, in the order of their time."""
        parked = self.desk.dump().parked
        assert self.desk.sweep(unpark=unpark) == (0, len(parked) if unpark else 0, 0, False)
        if unpark:
            for id in sorted(parked, key=lambda id: (parked[id], id)):
                self.back(id, self.jobs[id].line, tail=True)

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def forget(self, chosen: list[bytes]) -> None:
        """Their results go at once, their tombstones stay."""
        kept = [id in self.jobs and self.jobs[id].kept for id in chosen]
        assert self.desk.store.run(t.forget(self.desk.home, after_ms=-1, ids=chosen)) == [int(each) for each in kept]
        assert self.desk.sweep().expired == sum(kept)
        for id in chosen:
            if id in self.jobs:
                self.jobs[id].kept = False

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def expire(self, chosen: list[bytes]) -> None:
        """Their tombstones go, and the ids are free again."""
        over = [id for id in chosen if id in self.jobs and self.jobs[id].where == "ended"]
        if over:
            self.desk.let_tombstones_expire(*over)
        assert self.desk.sweep().expired == len(over)
        for id in over:
            del self.jobs[id], self.ended[id]

    # After every step

    @invariant()
    def the_same_world(self) -> None:
        """The dump shows what the model says; its own checks are the invariants 1, 6, 7, 8, 10, 12 and 13."""
        dump = self.desk.dump()
        at: dict[str, set[bytes]] = {name: set() for name in ("ready", "solo", "parked", "active", "ended")}
        for id, job in self.jobs.items():
            at[job.where].add(id)
        assert (dump.ready, dump.solo) == (self.ready, self.solo)  # I16, and what comes back comes back in order
        assert set(self.ready) == at["ready"]
        assert set(self.solo) == at["solo"]
        assert (set(dump.parked), set(dump.active), set(dump.tomb)) == (at["parked"], at["active"], at["ended"])
        assert dump.active == {id: self.jobs[id].token for id in at["active"]}
        assert set(dump.held) == {self.jobs[id].process + id for id in at["active"]}
        assert set(dump.res) == {id for id, job in self.jobs.items() if job.kept}
        for id, tomb in dump.tomb.items():
            assert tomb[:1].decode() == self.jobs[id].letter == self.ended[id]
            assert tomb[14:].startswith(self.jobs[id].token + b"|")  # I4: the run that was recorded is the one told OK
        tried = {id: job for id, job in self.jobs.items() if job.crashes + job.lapses and job.where != "ended"}
        assert dump.tries == {id: b"%d %d %d" % (j.attempts, j.crashes, j.lapses) for id, j in tried.items()}
        assert {name: dump.number(name) for name in self.count} == self.count
        assert len(set(self.settled)) == len(self.settled)  # I4
        for id in at["ready"] | at["solo"] | at["parked"] | at["active"]:
            assert dump.msg[id] == self.jobs[id].message
        assert dump.wake or not dump.ready  # nobody blocks here, so no hint is under way


def test_any_order_of_calls_keeps_every_invariant(server_url: str) -> None:
    """The real scripts on a real server and the model agree after every step (F2, F28, F32, F54, F61, F66)."""
    plan = settings(max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    Engine.url = server_url
    run_state_machine_as_test(Engine, settings=plan)  # type: ignore[no-untyped-call]
