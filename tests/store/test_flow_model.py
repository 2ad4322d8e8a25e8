"""Flows and durable jobs under any order of calls, repeated ones too, against the model of ``flow_model.py``.

Chains, groups and fan-ins with every policy, with undoing, with cases of failure; retries, crashes and cancellations;
steps, signals and waits. After every step the picture of the model and that of the server are the same, and the dump
shows the invariants that one dump can show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from quaff.model import ids, steps
from quaff.model.states import JobState
from quaff.model.steps import WAIT
from quaff.store import steps as s
from quaff.store.keys import NAMES
from quaff.store.steps import Heard, Kept
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import HOUR, Desk, process_id
from tests.store.engine_model import LETTER
from tests.store.exploring import TIMEOUT, explore
from tests.store.flow_model import Flow, Flows, Member
from tests.store.flows import Drawn, deliver, seeds_of, store
from tests.store.test_flows import flows

#: The shapes of ``chain``, ``group`` and a chord; hypothesis draws others.
SHAPES = (
    [Drawn({}, undone=True), Drawn({0: "fail"}, undone=True), Drawn({1: "fail"})],
    [Drawn({}), Drawn({}), Drawn({})],
    [Drawn({}), Drawn({}), Drawn({0: "fail", 1: "continue"}), Drawn({2: "ignore"}, case="failure")],
)
NAMES_OF_STEPS = ("one", "two")
PICKS = st.integers(0, 99)
SELDOM = st.sampled_from([False, False, False, True])
#: How most jobs end, and how others do.
ENDS = st.sampled_from([JobState.SUCCEEDED] * 4 + [*LETTER, JobState.RETRYING])


class Durable(Flows, RuleBasedStateMachine):
    """Whoever sends flows and signals, and two processes that run their jobs."""

    url = ""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        Flows.__init__(self)
        self.desk = Desk(self.url, f"d{uuid4().hex[:12]}")
        self.processes = [process_id() for _ in range(2)]

    def teardown(self) -> None:
        """Nothing of it stays."""
        self.desk.redis.delete(*(self.desk.key(name) for name in NAMES))
        self.desk.close()

    # Sending

    @initialize(which=st.integers(0, len(SHAPES) - 1), nodes=flows())
    def begin(self, which: int, nodes: Sequence[Drawn]) -> None:
        """One of the shapes that everybody draws, and another one."""
        self.plant(SHAPES[which])
        self.plant(nodes)

    @rule(nodes=flows())
    def plant_another(self, nodes: Sequence[Drawn]) -> None:
        """Any graph."""
        if len(self.flows) < 4:
            self.plant(nodes)

    def plant(self, nodes: Sequence[Drawn]) -> None:
        """Stored, and each part of it sent twice."""
        seeds = seeds_of(nodes)
        where = {"u": "unborn", "": "blocked"}
        by_place = {each.place: Member(each.id, each.message, where[each.spec.state]) for each in seeds}
        flow = Flow(store(self.desk, seeds), nodes, [by_place[place] for place in sorted(by_place)])
        for place, job in enumerate(flow.jobs):
            if job.where == "blocked" and not flow.parents[place]:
                job.where = "waits"
        self.add(flow)

    @rule(pick=PICKS, really=SELDOM)
    def cancel_a_flow(self, pick: int, really: bool) -> None:
        """All that waits in it ends, by and by."""
        if not really:
            return
        flow = self.flows[pick % len(self.flows)]
        for _ in range(2):
            assert self.desk.cancel(flow.id) == [flow.letter.encode() or b"r"]
        if not flow.letter and not flow.stopped:
            flow.stop()
        deliver(self.desk)

    @rule(pick=PICKS, really=SELDOM)
    def cancel_a_job(self, pick: int, really: bool) -> None:
        """Whatever it does."""
        job = self.jobs[pick % len(self.jobs)]
        if really and job.where != "unborn":
            assert self.desk.cancel(job.id) == [self.cancel(job)]

    # Running

    @rule(who=st.integers(0, 1), count=st.integers(1, 3))
    def claim(self, who: int, count: int) -> None:
        """What is handed out waited, and has the results it is for."""
        process = self.processes[who]
        idle = not any(job.process == process for job in self.running())
        for lease in self.desk.take(process, count, idle=idle):
            flow, place = self.places[lease.id]
            job = flow.jobs[place]
            assert job.where == "waits"
            assert lease.message == flow.handed(place)
            job.where, job.process, job.token = "runs", process, lease.token

    def running(self) -> list[Member]:
        """What runs."""
        return [job for job in self.jobs if job.where == "runs"]

    def one(self, pick: int) -> Member | None:
        """Something that runs, and if need be is claimed for that."""
        if not self.running():
            self.claim(pick % 2, 1 + pick % 3)
        found = self.running()
        return found[pick % len(found)] if found else None

    @rule(picks=st.lists(PICKS, min_size=1, max_size=3), state=ENDS)
    def settle_some(self, picks: Sequence[int], state: JobState) -> None:
        """As they do all the time."""
        for pick in picks:
            self.settle(pick, state)

    @rule(pick=PICKS, state=ENDS)
    def settle(self, pick: int, state: JobState) -> None:
        """An attempt ends, and says so twice."""
        job = self.one(pick)
        if job is None:
            return
        record = b"result of " + job.message
        process, token = job.process, job.token
        asked = job.asked
        answers = [
            self.desk.settle(
                process, (job.id, token), state=state, ttl_ms=0 if state is JobState.RETRYING else HOUR, record=record
            )
            for _ in range(2)
        ]
        assert answers == [[Verdict.OK], [Verdict.ALREADY]]
        if state is JobState.RETRYING:
            self.back(job)
        else:
            self.end(job, LETTER[state], record)
        assert not asked or job.where == "ended"

    @rule(pick=PICKS)
    def give_back(self, pick: int) -> None:
        """At no cost."""
        if job := self.one(pick):
            assert self.desk.release(job.process, Lease(job.id, b"", job.token)) == [Verdict.OK]
            self.back(job)

    @rule(who=st.integers(0, 1), charged=st.booleans())
    def die(self, who: int, charged: bool) -> None:
        """A process dies with all that it runs, begun or not."""
        process, self.processes[who] = self.processes[who], process_id()
        held = sorted((job for job in self.running() if job.process == process), key=lambda job: job.id)
        self.desk.reap(process, *([job.id for job in held] if charged else []))
        for job in held:
            if charged:
                self.crash(job)
            else:
                self.back(job)

    # Remembering

    @rule(pick=PICKS, name=st.sampled_from(NAMES_OF_STEPS), value=st.binary(max_size=3))
    def step(self, pick: int, name: str, value: bytes) -> None:
        """A step is done, and said to be twice."""
        if job := self.one(pick):
            untimed = steps.encode(name, steps.DONE, 1, value)
            for _ in range(2):
                assert self.desk.store.run(s.step(self.desk.home, [(job.id, job.token, untimed)])) == [Kept.OK]
            self.remember(job, name, value)

    @rule(pick=PICKS, name=st.sampled_from(["go", "stop"]), value=st.binary(max_size=3))
    def send_a_signal(self, pick: int, name: str, value: bytes) -> None:
        """To any job, in any state, and twice; often to one that waits for it, or may look for it soon."""
        some = [[job for job in self.jobs if job.where == "sleeps"], self.running(), self.jobs][pick % 3] or self.jobs
        job, signal_id = some[pick % len(some)], ids.new_raw()
        call = s.signal(self.desk.home, job.id, signal_id=signal_id, name=name.encode(), value=value)
        answer = self.signal(job, signal_id, name, value)
        assert [self.desk.store.run(call), self.desk.store.run(call)] == [answer, answer]

    @rule(pick=PICKS, name=st.sampled_from(["go", "stop"]))
    def wait_for(self, pick: int, name: str) -> None:
        """A job takes the signal that has come, the same one however often it asks, or waits for it."""
        job = self.one(pick)
        if job is None:
            return
        untimed = steps.encode(name, WAIT, 1, signal=name)
        expected = self.receive(job, name)
        for _ in range(2):
            heard = self.desk.store.run(s.receive(self.desk.home, job.id, job.token, untimed, HOUR))
            assert heard == ((Heard.NOT_YET, b"") if expected is None else (Heard.RECEIVED, expected))
        if expected is None:
            process, token = job.process, job.token
            self.desk.settle(process, (job.id, token), state=JobState.SCHEDULED, ttl_ms=HOUR, digest=untimed)
            self.suspend(job, name)

    @rule()
    def sweep(self) -> None:
        """As every two seconds: nothing is due."""
        self.desk.sweep()

    @invariant()
    def the_same_world(self) -> None:
        """All of it, after every step (I1, I2, I4, I6, I8, I10, I12, I13, I19)."""
        self.agrees(self.desk.dump())


@pytest.mark.early
@pytest.mark.timeout(TIMEOUT)
def test_any_order_of_calls_keeps_flows_and_what_their_jobs_remember(server_url: str) -> None:
    """The real scripts on a real server and the model agree after every step (F64, F66, F68)."""
    Durable.url = server_url
    explore(Durable, stories=80, steps=40)


# It can fail: a story, and one thing in it that is not as it was left.

Plant = Callable[[Durable, Flow], object]
PLANTS: dict[str, Plant] = {}


def plant(what: str) -> Callable[[Plant], Plant]:
    """Under this name."""

    def keep(function: Plant) -> Plant:
        PLANTS[what] = function
        return function

    return keep


def field(flow: Flow, place: int) -> bytes:
    """Where the server has a node."""
    return flow.id + place.to_bytes(4, "big")


def put_into(machine: Durable, name: str, field: bytes, old: bytes, new: bytes) -> None:
    """Other bytes in the place of some."""
    desk = machine.desk
    text = desk.redis.hget(desk.key(name), field)
    assert old in text
    desk.redis.hset(desk.key(name), field, text.replace(old, new, 1))


def drop(machine: Durable, name: str, field: bytes) -> None:
    """Something that was there."""
    assert machine.desk.redis.hdel(machine.desk.key(name), field) == 1


plant("a node that ran stands as waiting")(lambda m, f: put_into(m, "nodes", field(f, 1), b"\x9a\xa1q", b"\x9a\xa0"))
plant("a node that waits stands as ended")(lambda m, f: put_into(m, "nodes", field(f, 2), b"\x9a\xa0", b"\x9a\xa1s"))
plant("a node waits for one more")(lambda m, f: put_into(m, "nodes", field(f, 2), b"\x9a\xa0\x01", b"\x9a\xa0\x02"))
plant("a node waits for nobody")(lambda m, f: put_into(m, "nodes", field(f, 2), b"\x9a\xa0\x01", b"\x9a\xa0\x00"))
plant("an edge has another policy")(lambda m, f: put_into(m, "edges", field(f, 0), b"\xa4fail", b"\xa6ignore"))
plant("a result that others need is gone")(lambda m, f: drop(m, "values", field(f, 0)))
plant("a result that others need is another one")(lambda m, f: put_into(m, "values", field(f, 0), b"result", b"RESULT"))
plant("what another run needs is gone")(lambda m, f: drop(m, "drafts", field(f, 1)))
plant("a job is of no flow")(lambda m, f: drop(m, "member", f.jobs[1].id))
plant("a flow counts one too many")(lambda m, f: m.desk.redis.hincrby(m.desk.key("flows"), f.id + b"open", 1))
plant("a flow has failed by nothing")(lambda m, f: m.desk.redis.hset(m.desk.key("flows"), f.id + b"bad", 0))
plant("a flow would undo what is not done")(
    lambda m, f: m.desk.redis.hset(m.desk.key("flows"), f.id + b"undo", b"\0\0\0\1")
)
plant("a flow has ended too early")(lambda m, f: m.desk.redis.hset(m.desk.key("tomb"), f.id, b"s%013d|" % 1))
plant("one blocked job too many is counted")(lambda m, _: m.desk.redis.hincrby(m.desk.key("meta"), "blocked", 1))
plant("a blocked job has lost its message")(lambda m, f: drop(m, "msg", f.jobs[2].id))
plant("a step is forgotten")(lambda m, f: drop(m, "steps", f.jobs[1].id))
plant("a step has another value")(lambda m, f: put_into(m, "steps", f.jobs[1].id, b"kept", b"lost"))
plant("a signal is lost")(lambda m, f: drop(m, "signals", f.jobs[1].id))
plant("a signal is another one")(lambda m, f: put_into(m, "signals", f.jobs[1].id, b"now", b"NOW"))
plant("what runs is in line as well")(lambda m, f: m.desk.redis.rpush(m.desk.key("ready"), f.jobs[1].id))
plant("what runs has another token")(lambda m, f: m.desk.redis.hset(m.desk.key("active"), f.jobs[1].id, b"x.1.1"))
plant("what runs is nobody's")(lambda m, f: m.desk.redis.zrem(m.desk.key("held"), m.processes[0] + f.jobs[1].id))
plant("what has ended ends otherwise")(lambda m, f: put_into(m, "tomb", f.jobs[0].id, b"s", b"f"))
plant("a key that goes by itself")(lambda m, _: m.desk.redis.pexpire(m.desk.key("steps"), HOUR))


@pytest.fixture
def machine(server_url: str) -> Iterator[Durable]:
    """One flow in the middle of it: the first job is done, the second runs, remembers and was sent a signal."""
    Durable.url = server_url
    machine = Durable()
    machine.plant([Drawn({}), Drawn({}), Drawn({0: "fail", 1: "fail"})])
    machine.claim(0, 1)
    machine.settle(0, JobState.SUCCEEDED)
    machine.claim(0, 1)
    machine.step(0, "one", b"kept")
    (running,) = machine.running()
    machine.send_a_signal(machine.jobs.index(running), "go", b"now")
    machine.the_same_world()
    yield machine
    machine.teardown()


@pytest.mark.parametrize("what", PLANTS)
def test_what_is_not_as_it_was_left_is_seen(machine: Durable, what: str) -> None:
    """I1, I4, I6, I10, I12, I13: each look at the world can fail."""
    (flow,) = machine.flows
    PLANTS[what](machine, flow)
    with pytest.raises(AssertionError):
        machine.the_same_world()
