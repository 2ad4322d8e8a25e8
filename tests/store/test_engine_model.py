"""The scripts against a small model of them: any order of calls, repeated and late ones too, and every invariant.

The model is what engine.md promises, in Python: where each job is, who holds it, how it ended. After every step its
picture and the server's are the same, and the dump shows the invariants that one dump can show. At the end of each
story one worker brings all to its end. That each of these looks can fail is shown by ``test_engine_plants.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from quaff.model import ids
from quaff.model.states import JobState
from quaff.model.tail import LINES, VALUES, Packet, framed
from quaff.store import transitions as t
from quaff.store.keys import NAMES
from quaff.store.operations import pause
from quaff.store.queries import EVENTS, follow
from quaff.store.queries import VALUES as FOLLOW_VALUES
from quaff.store.transitions import Call, Lease, Verdict
from tests.store.engine import HOUR, RULES, Desk, keyed, without_clock
from tests.store.engine_model import CANCELLED, GHOST, LETTER, Job, Process, World, drain
from tests.store.exploring import TIMEOUT, explore

OK, ALREADY, FENCED, GONE, _ = Verdict
STATES = [*LETTER, JobState.RETRYING, JobState.SCHEDULED]


class Engine(World, RuleBasedStateMachine):
    """Producers, workers, supervisors and sweeps, in any order."""

    url = ""
    jobs_known: ClassVar[Bundle[bytes]] = Bundle("jobs")
    leases: ClassVar[Bundle[tuple[Process, Lease]]] = Bundle("leases")

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        World.__init__(self)
        self.desk = Desk(self.url, f"m{uuid4().hex[:12]}")
        self.paused = False

    def teardown(self) -> None:
        """One worker that lives gets all done; then nothing of it stays."""
        try:
            drain(self.desk)
        finally:
            self.clear()

    def clear(self) -> None:
        """Nothing of it stays."""
        self.desk.redis.delete(*(self.desk.key(name) for name in NAMES))
        self.desk.close()

    # Enqueue

    @rule(target=jobs_known, digests=st.lists(st.sampled_from([b"", b"one", b"two"]), min_size=1, max_size=4))
    def enqueue_some(self, digests: list[bytes]) -> object:
        """New jobs, in one call."""
        return self.enqueue(digests)

    def enqueue(self, digests: list[bytes]) -> object:
        """A job for each digest."""
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

    @initialize(target=jobs_known)
    def begin(self) -> object:
        """Some jobs, so that every rule has something to do."""
        return self.enqueue([b"", b"one", b"two", b"one"])

    @rule(target=leases, who=st.integers(0, 2), want=st.integers(1, 3))
    def claim_if_idle(self, who: int, want: int) -> object:
        """As a worker that has no backlog: after all it holds has ended."""
        return self.claim(who, want, idle=True)

    @rule(target=leases, who=st.integers(0, 2), want=st.integers(0, 4), idle=st.booleans())
    def claim_some(self, who: int, want: int, idle: bool) -> object:
        """As one that has room for so many."""
        return self.claim(who, want, idle=idle)

    def claim(self, who: int, want: int, *, idle: bool) -> object:
        """A new claim; it is idle only if it says so truly."""
        process = self.processes[who]
        idle = idle and not self.held(process)
        process.claims += 1
        claim_id = b"%d/%d" % (who, process.claims) + process.id  # a number is not used twice, so neither is this
        answer = self.desk.claim(process.id, process.claims, claim_id, want, idle=idle)
        assert not answer.closed
        process.last = (process.claims, claim_id, want)
        if want and idle and not self.paused:
            while self.solo and self.solo[0].endswith(GHOST):
                del self.solo[0]
        if self.paused:
            taken, alone = [], False
        elif want and idle and self.solo:
            taken, alone = [self.solo.pop(0)], True
        elif answer.empty_yourself:
            assert self.solo
            assert not idle
            taken, alone = [], False
        else:
            taken, alone = self.ready[:want], False
            del self.ready[:want]
        expected = [entry for entry in taken if not entry.endswith(GHOST)]
        found = [lease.id for lease in answer.leases]
        complaint = "I14: a paused queue hands out" if self.paused else "I16: another job was next than"
        assert found == expected, f"{complaint} {found}, and not {expected}"
        assert answer.alone == (alone and bool(expected))
        for lease in answer.leases:
            job = self.jobs[lease.id]
            assert lease.token not in self.tokens, "I7: a token is handed out twice"
            assert lease.message == job.message, f"I9: {lease.message!r} is handed out, and {job.message!r} was sent"
            assert lease.attempt == job.attempts + 1, f"I8: it is called attempt {lease.attempt}"
            self.tokens.add(lease.token)
            job.where, job.process, job.token = "active", process.id, lease.token
        return multiple(*((process, lease) for lease in answer.leases))

    @rule(who=st.integers(0, 2), want=st.integers(0, 4), idle=st.booleans())
    def claim_while_paused(self, who: int, want: int, idle: bool) -> None:
        """Somebody holds the queue up: nothing is handed out."""
        for self.paused in (True, False):
            self.desk.store.run(pause(self.desk.home, on=self.paused, lasts_ms=0, who="me"))
            if self.paused:
                self.claim(who, want, idle=idle)

    @rule(given=leases, what=st.sampled_from([LINES, VALUES]), before=st.integers(0, 3), many=st.integers(0, 2))
    def say(self, given: tuple[Process, Lease], what: bytes, before: int, many: int) -> None:
        """Lines and values: of whoever holds the job, at any time, and twice."""
        process, lease = given
        packet = Packet(what, before, many, framed(b"said") * many)
        for _ in range(2):
            answer = self.desk.store.run(t.append(self.desk.home, [(lease.id, lease.token, packet)]))
            assert answer == [1 if self.holds(process, lease) else 3]

    @rule(id=jobs_known, what=st.sampled_from([EVENTS, FOLLOW_VALUES]))
    def follow(self, id: bytes, what: bytes) -> None:
        """Whoever follows a job is told of its end: the dump must not have it then."""
        found = self.desk.store.run(follow(self.desk.home, id, what, 0, lasts_ms=HOUR))
        assert (found is None) == (id not in self.jobs)

    @rule(who=st.integers(0, 2))
    def claim_again(self, who: int) -> None:
        """The reply was lost: the same jobs, less those settled or given back since."""
        process = self.processes[who]
        if process.last is None:
            return
        number, claim_id, want = process.last
        answer = self.desk.claim(process.id, number, claim_id, want)
        assert not answer.closed
        of_it = [id for id in self.held(process) if self.jobs[id].token.startswith(claim_id + b".")]
        assert [lease.id for lease in answer.leases] == of_it
        assert [lease.token for lease in answer.leases] == [self.jobs[id].token for id in of_it]

    @rule(who=st.integers(0, 2), back=st.integers(0, 3))
    def claim_late(self, who: int, back: int) -> None:
        """A copy of an old claim arrives, or one that lies about its number: nothing."""
        process = self.processes[who]
        if process.last is not None:
            assert self.desk.claim(process.id, max(0, process.last[0] - back), b"late", 4).leases == []

    # Settle, release

    @rule(
        chosen=st.lists(leases, min_size=1, max_size=4),
        wrong=st.booleans(),
        state=st.sampled_from(STATES),
        ttl=st.sampled_from([0, HOUR, 2 * HOUR]),
    )
    def settle(self, chosen: list[tuple[Process, Lease]], wrong: bool, state: JobState, ttl: int) -> None:
        """Leases of any age, some twice in the batch; or with a token that nobody was given."""
        process = chosen[0][0]
        pairs = [(lease.id, lease.token + b"0" * wrong) for owner, lease in chosen if owner is process]
        self.settled(process, pairs, state, ttl)

    @rule(who=st.integers(0, 2), count=st.integers(1, 4), state=st.sampled_from(STATES))
    def finish(self, who: int, count: int, state: JobState) -> None:
        """The first of what a process holds ends, as most jobs do."""
        process = self.processes[who]
        pairs = [(id, self.jobs[id].token) for id in self.held(process)[:count]]
        if pairs:
            self.settled(process, pairs, state, HOUR)

    def settled(self, process: Process, pairs: list[tuple[bytes, bytes]], state: JobState, ttl: int) -> None:
        """One call of settle."""
        expected = []
        for id, token in pairs:
            job = self.jobs.get(id)
            if job is not None and job.where == "active" and (job.process, job.token) == (process.id, token):
                self.answered_ok.append(token)
                if state is JobState.CANCELLED and job.asked:
                    self.end(id, "c", CANCELLED)  # why, whoever has asked knows
                elif state in LETTER:
                    self.end(id, LETTER[state], b"record of " + token, kept=ttl > 0)
                else:
                    self.come_back(id, state, ttl)
                expected.append(OK)
            else:
                expected.append(self.verdict(id, token))
        digests = {id: job.message[1:17] for id, job in self.jobs.items() if job.message != b"plain"}
        items = [
            (id, token, state, ttl, digests.get(id, b"") if state.terminal else b"", b"record of " + token)
            for id, token in pairs
        ]
        found = self.desk.store.run(t.settle(self.desk.home, process=process.id, window_ms=HOUR, items=items))
        assert found == expected, f"I4: a settle is answered {found}, and not {expected}"

    def come_back(self, id: bytes, state: JobState, delay: int) -> None:
        """An attempt is over, and its job is not."""
        job = self.jobs[id]
        if not job.asked:
            job.before = job.token
            if state is JobState.RETRYING:
                job.attempts, job.failures = job.attempts + 1, job.failures + 1
            self.count["retried" if state is JobState.RETRYING else "snoozed"] += 1
        self.back(id, "sched" if delay else job.line, tail=True)

    @rule(chosen=st.lists(leases, min_size=1, max_size=4, unique_by=lambda each: each[1].token), park=st.booleans())
    def release(self, chosen: list[tuple[Process, Lease]], park: bool) -> None:
        """Given back at no cost, or parked; a lease that is over gives nothing back."""
        process = chosen[0][0]
        mine = [lease for owner, lease in chosen if owner is process]
        good = [self.holds(process, each) for each in mine]
        answer = self.desk.release(process.id, *mine, park_ms=HOUR if park else 0)
        assert answer == [OK if each else FENCED for each in good]
        for lease, given in reversed(list(zip(mine, good, strict=True))):
            if given:
                self.back(lease.id, "parked" if park else "solo" if lease.token.endswith(b"!") else "ready")

    # The ends of processes

    def replace(self, who: int) -> None:
        """A process is gone, perhaps not knowing it; a new one takes its place."""
        self.gone.append(self.processes[who])
        self.processes[who] = Process()

    @rule(data=st.data())
    def claim_of_the_dead(self, data: st.DataObject) -> None:
        """Somebody who was given up asks for more, and for what he had: he is told."""
        if self.gone:
            process = data.draw(st.sampled_from(self.gone))
            for number, claim_id, want in filter(None, [process.last, (process.claims + 1, b"more", 3)]):
                answer = self.desk.claim(process.id, number, claim_id, want)
                assert (answer.closed, answer.leases) == (True, [])
            assert self.desk.heartbeat(process.id) == [0]

    def reap(self, who: int, some: int) -> None:
        """Its supervisor saw it die; the bits of ``some`` say which of its jobs had been started."""
        process = self.processes[who]
        held = self.held(process)
        started = [id for n, id in enumerate(held) if some >> n & 1]
        going = [id for id in held if not self.jobs[id].asked]
        dead = sum(self.jobs[id].crashes == RULES.max_crashes - 1 for id in started if id in going)
        assert self.desk.reap(process.id, *started) == (len(going) - dead, dead, False)
        # What was not started costs nothing and goes to the head of its line, the oldest first.
        for id in reversed([each for each in held if each not in started]):
            self.back(id, "solo" if self.jobs[id].token.endswith(b"!") else "ready")
        for id in started:
            self.charge(id)
        self.replace(who)

    @rule(who=st.integers(0, 2), times=st.integers(1, 4))
    def crash(self, who: int, times: int) -> None:
        """A poison job: whoever takes it dies of it, one after the other."""
        for _ in range(times):
            if not self.held(self.processes[who]):
                self.claim(who, 1, idle=True)
                self.reap(who, 1)

    @rule(who=st.integers(0, 2), some=st.integers(0, 7))
    def reap_some(self, who: int, some: int) -> None:
        """A process dies; some of its jobs had been started."""
        self.reap(who, some)

    @rule(who=st.integers(0, 2))
    def lapse(self, who: int) -> None:
        """Its lease runs out and a sweep sees it: the first time is free."""
        process = self.processes[who]
        if process.last is None:  # it never claimed, and so has no lease
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
        self.replace(who)

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
        asked = sum(job.asked for job in self.jobs.values())
        swept = self.desk.sweep(unpark=unpark)
        expected = (0, len(parked) if unpark else 0, 0, False, asked, len(self.desk.dump().lease), None, None, 1)
        assert swept == expected
        if unpark:
            for id in sorted(parked, key=lambda id: (parked[id], id)):
                self.back(id, self.jobs[id].line, tail=True)

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def fall_due(self, chosen: list[bytes]) -> None:
        """What waits for its time comes to the tail of its line, in the order of these times."""
        due = [id for id in chosen if id in self.jobs and self.jobs[id].where == "sched"]
        if due:
            self.desk.let_be_due(*due)
        self.desk.sweep()
        for id in due:
            self.back(id, self.jobs[id].line, tail=True)

    # What people do

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def cancel_some(self, chosen: list[bytes]) -> None:
        """Wherever they are."""
        assert self.desk.cancel(*chosen) == [self.cancel(id) for id in chosen]

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def requeue(self, chosen: list[bytes]) -> None:
        """Dead letters wait again; nothing else does."""
        expected = []
        for id in chosen:
            job = self.jobs.get(id)
            ended = job is not None and job.where == "ended"
            if job is None or not ended or not job.letter_kept:
                expected.append(b"" if job is None else job.letter.encode() if ended else b"n")
                continue
            expected.append(b"q")
            self.count["requeued"] += 1
            del self.ended[id]
            job.letter_kept = job.kept = False
            self.back(id, "ready", tail=True)
        assert self.desk.store.run(t.requeue(self.desk.home, chosen)) == expected

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def discard(self, chosen: list[bytes]) -> None:
        """Dead letters go, their tombstones stay."""
        expected = []
        for id in chosen:
            job = self.jobs.get(id)
            if job is None or job.letter != "f" or job.where != "ended":
                expected.append(0)
                continue
            expected.append(1 if job.letter_kept else 2)
            job.kept = job.letter_kept = False
        assert self.desk.store.run(t.discard(self.desk.home, chosen)) == expected

    @rule(chosen=st.lists(jobs_known, min_size=1, max_size=3, unique=True))
    def forget(self, chosen: list[bytes]) -> None:
        """Their results go at once, their tombstones stay."""
        kept = [id in self.jobs and self.jobs[id].kept for id in chosen]
        assert self.desk.store.run(t.forget(self.desk.home, after_ms=-1, ids=chosen)) == [int(each) for each in kept]
        assert self.desk.sweep().expired == sum(kept)
        for id in chosen:
            if id in self.jobs and self.jobs[id].kept:
                self.jobs[id].kept = self.jobs[id].letter_kept = False

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
        """The dump shows what the model says, and what any dump has to."""
        self.agrees(self.desk.dump())


@pytest.mark.early
@pytest.mark.timeout(TIMEOUT)
def test_any_order_of_calls_keeps_every_invariant(server_url: str) -> None:
    """The real scripts on a real server and the model agree after every step, and in the end all is done.

    F2, F28, F32, F54, F61, F66. I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I12, I13, I14, I16, I17.
    """
    Engine.url = server_url
    explore(Engine, stories=80, steps=50)


#: What is no transition, and is written down each time: who steered a queue.
NOTED = ("pause",)


class Careful(Engine):
    """As ``Engine``; each call is sent twice, and the times that are kept are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self._once = self.desk.store.run
        self.desk.store.run = self.twice  # type: ignore[method-assign]

    def twice(self, call: Call[Any]) -> Any:
        """The answer to a call, which changes nothing when it is sent again."""
        answer = self._once(call)
        if call.harmless or call.script.name in NOTED:
            return answer
        before = without_clock(self.desk.dump())
        self._once(call)
        try:
            after = without_clock(self.desk.dump())
        except AssertionError as error:
            raise AssertionError(f"I19: {call.script.name}, sent again, breaks something: {error}") from error
        assert after == before, f"I19: {call.script.name}, sent again, changes something"
        return answer

    @invariant()
    def the_same_world(self) -> None:
        """And no lease reaches further than a lease, and no clock goes back."""
        dump = self.desk.dump()
        self.agrees(dump)
        seconds, micros = self.desk.redis.time()
        furthest = max(seconds * 1000 + micros // 1000, dump.number("clock")) + self.desk.lease_ms
        assert max(dump.lease.values(), default=0) <= furthest, f"I22: a lease beyond {furthest}: {dump.lease}"
        assert dump.number("clock") >= self.clock, "I22: the clock that scripts go by went back"
        self.clock = dump.number("clock")


@pytest.mark.timeout(TIMEOUT)
def test_a_call_that_is_sent_again_changes_nothing(server_url: str) -> None:
    """F28, F33, I19, I22: whatever the call, and whatever came before it."""
    Careful.url = server_url
    explore(Careful, stories=12, steps=30)
