"""Priorities, turns, limits and unique keys under any order of calls: every dump shows the invariants, and all drains.

Who is next is shown by ``test_placement.py``; here it is what must never happen: a job in two places or none, a limit
exceeded or leaked (I15), a lane that waits at a limit with room, a unique key held by nobody or by two (I11), and at
the end, with one worker alive, a job that nobody is handed any more (I17). What was sent, what it asked for and what
is held is known here besides, so that no word of the server is believed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quaff.model.limits import Concurrency, FairBy, RateLimit, Unique
from quaff.model.placement import Placement, Wishes, placement
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.keys import NAMES
from quaff.store.transitions import Lease
from tests.store.engine import HOUR, Desk, Dump, process_id
from tests.store.exploring import TIMEOUT, explore

STATES = [
    *(JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED),
    *(JobState.RETRYING, JobState.SCHEDULED),
]
LIMITS = [
    Concurrency(1, key="all"),
    Concurrency(2, key="{a}"),
    Concurrency(3, key="{b}", cost=2),
    RateLimit(1, per=600, key="{a}"),  # so slow that the time a test takes makes no difference
    RateLimit(1, per=600, burst=3, key="all", cost=2),
]
CONFLICTS = ["keep", "replace", "reschedule", "cancel_running"]


class Asked(NamedTuple):
    """What a call asks for: as the scripts are told, the limits by their keys with what it costs, the unique key."""

    placement: Placement
    limits: dict[tuple[int, str], int]
    unique: int | None  # of those that are held until the job has ended


def asked(wishes: Wishes, a: int, b: int) -> Asked:
    """With these arguments."""
    limits = {(LIMITS.index(each), _key(each, a, b)): each.cost for each in wishes.limits}
    own = wishes.unique
    held = own is not None and own.until == "done" and own.for_ is None
    return Asked(placement("task", wishes, {"a": a, "b": b}), limits, a if held else None)


def _key(limit: Concurrency | RateLimit, a: int, b: int) -> str:
    return str(limit.key).format(a=a, b=b)


@st.composite
def placements(draw: st.DrawFn) -> Asked:
    """What a call may ask for."""
    unique = None
    if draw(st.booleans()):
        until = draw(st.sampled_from(["done", "done", "start", "time"]))
        for_ = 600 if until == "time" or draw(st.booleans()) else None
        unique = Unique(by=("a",), until=until, for_=for_, on_conflict=draw(st.sampled_from(CONFLICTS)))
    wishes = Wishes(
        due_ms=0,
        delay_ms=draw(st.sampled_from([0, 0, 0, HOUR])),
        priority=draw(st.sampled_from([0, 0, -1, 1])),
        unique=unique,
        limits=draw(st.lists(st.sampled_from(LIMITS), max_size=3, unique_by=id)),
        fair_by=draw(st.sampled_from([None, FairBy("{a}"), FairBy("{b}", weights={"1": 2}, cap=2)])),
        fair_key=None,
    )
    return asked(wishes, draw(st.integers(0, 2)), draw(st.integers(0, 1)))


class Lanes(RuleBasedStateMachine):
    """Producers and workers with three processes, in any order."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(self.url, f"p{uuid4().hex[:12]}")
        self.processes = [process_id() for _ in range(3)]
        self.leases: list[tuple[bytes, Lease]] = []
        self.ids: list[bytes] = []
        self.wanted: dict[bytes, Asked] = {}
        self.started = Counter[tuple[int, str]]()  # of what begins at once, what it costs of each limit

    @rule(jobs=st.lists(placements(), min_size=1, max_size=4))
    def place(self, jobs: Sequence[Asked]) -> None:
        """With wishes; who is told of another job has not sent a new one."""
        for each in jobs:
            (id,) = self.desk.place((b"\x01m", each.placement))
            assert len(id) == 16
            self.ids.append(id)
            self.wanted.setdefault(id, each)

    @rule()
    def put(self) -> None:
        """A plain one."""
        self.ids += self.desk.put(b"\x01plain")

    @rule(who=st.integers(0, 2), count=st.integers(1, 5), free=st.integers(0, 5), idle=st.booleans())
    def claim(self, who: int, count: int, free: int, idle: bool) -> None:
        """Some jobs; a process that holds none says so."""
        process = self.processes[who]
        idle = idle and all(owner != process for owner, _ in self.leases)
        answer = self.desk.claim(process, next(self.desk._numbers), uuid4().hex.encode(), count, idle=idle, free=free)
        self.leases += [(process, lease) for lease in answer.leases]
        for lease in answer.leases:
            self.started.update(self._limits(lease.id))

    def _limits(self, id: bytes) -> dict[tuple[int, str], int]:
        return self.wanted[id].limits if id in self.wanted else {}

    def _not_begun(self, *held: bytes) -> None:
        for id in held:
            self.started.subtract(self._limits(id))

    def _one(self, pick: int) -> tuple[bytes, Lease] | None:
        return self.leases.pop(pick % len(self.leases)) if self.leases else None

    @rule(pick=st.integers(0, 50), state=st.sampled_from(STATES), wait=st.sampled_from([0, HOUR]))
    def settle(self, pick: int, state: JobState, wait: int) -> None:
        """One attempt ends."""
        if one := self._one(pick):
            self.desk.settle(one[0], one[1], state=state, ttl_ms=wait)
            if state is JobState.EXPIRED:
                self._not_begun(one[1].id)

    @rule(pick=st.integers(0, 50), park=st.sampled_from([0, 0, HOUR]))
    def release(self, pick: int, park: int) -> None:
        """One goes back."""
        if one := self._one(pick):
            self.desk.release(one[0], one[1], park_ms=park)
            self._not_begun(one[1].id)

    @rule(pick=st.integers(0, 200))
    def cancel(self, pick: int) -> None:
        """Any job, in any state."""
        if self.ids:
            self.desk.cancel(self.ids[pick % len(self.ids)])

    @rule(pick=st.integers(0, 200))
    def requeue(self, pick: int) -> None:
        """Those that failed come back."""
        if self.ids:
            self.desk.store.run(t.requeue(self.desk.home, [self.ids[pick % len(self.ids)]]))

    @rule(pick=st.integers(0, 200), priority=st.sampled_from([-1, 0, 1]))
    def prioritize(self, pick: int, priority: int) -> None:
        """Wherever it is."""
        if self.ids:
            self.desk.store.run(t.prioritize(self.desk.home, priority, [self.ids[pick % len(self.ids)]]))

    @rule(who=st.integers(0, 2), charged=st.booleans())
    def die(self, who: int, charged: bool) -> None:
        """A process dies; what it ran is charged, or not."""
        process = self.processes[who]
        held = [lease.id for owner, lease in self.leases if owner == process]
        self.leases = [each for each in self.leases if each[0] != process]
        self.desk.reap(process, *(held if charged else ()))
        self._not_begun(*(() if charged else held))
        self.processes[who] = process_id()

    @rule(who=st.integers(0, 2))
    def lapse(self, who: int) -> None:
        """A process falls silent."""
        process = self.processes[who]
        self.leases = [each for each in self.leases if each[0] != process]
        self.desk.let_lapse(process)
        self.desk.sweep()
        self.processes[who] = process_id()

    @rule()
    def sweep(self) -> None:
        """As every two seconds."""
        self.desk.sweep(unpark=True)

    @invariant()
    def the_invariants_hold(self) -> None:
        """All that one dump can show, and what is known here besides."""
        self.agrees(self.desk.dump())

    def agrees(self, dump: Dump) -> None:
        """What runs is what was handed out; nothing is lost, made up, or more than its limit and its key let be."""
        assert dump.active == {lease.id: lease.token for _, lease in self.leases}
        assert set(dump.held) == {process + lease.id for process, lease in self.leases}
        assert set(self.ids) == set(dump.msg) | set(dump.tomb)  # I3, I5
        running = Counter[tuple[int, str]]()
        for _, lease in self.leases:
            running.update(self._limits(lease.id))
        for (number, key), cost in (self.started + running).items():
            limit = LIMITS[number]
            if isinstance(limit, Concurrency):
                assert running[number, key] <= limit.n, f"more runs than {limit} lets"
            else:
                # What one start costs beyond a burst it owes: then it was the only one.
                assert self.started[number, key] <= max(limit.burst, limit.cost), (
                    f"more began than {limit} lets: {cost}"
                )
        waiting = {heir[13:] for heir in dump.heirs.values()}
        alive = Counter(
            each.unique
            for id, each in self.wanted.items()
            if each.unique is not None and id not in dump.tomb and id not in waiting
        )
        assert all(count == 1 for count in alive.values()), "two jobs of one unique key"

    def teardown(self) -> None:
        """One worker that lives gets all done; then nothing of it stays."""
        try:
            self._drain()
        finally:
            self.desk.redis.delete(*(self.desk.key(name) for name in NAMES))
            self.desk.close()

    def _drain(self) -> None:
        for process in self.processes:
            self.desk.reap(process)
        me: Any = process_id()
        self.desk.let_patience_end()
        for _ in range(400):
            dump = self.desk.dump()
            if not set(dump.msg) - set(dump.tomb):
                return
            for name in ("sched", "rates", "opens", "lapses"):  # time goes by
                if waiting := getattr(dump, name):
                    self.desk.redis.zadd(self.desk.key(name), dict.fromkeys(waiting, 1), xx=True)
            self.desk.sweep(unpark=True)
            leases = self.desk.take(me, 3, idle=True)
            if leases:
                self.desk.settle(me, *leases)
        dump = self.desk.dump()
        places = {name: getattr(dump, name) for name in NAMES[3:] if getattr(dump, name)}
        raise AssertionError(f"jobs that nobody is handed: {places}")


@pytest.mark.early
@pytest.mark.timeout(TIMEOUT)
def test_any_order_of_calls_keeps_limits_turns_and_unique_keys(server_url: str) -> None:
    """I1, I11, I15, I17, with retries, crashes, lapses, cancellations and changed priorities."""
    Lanes.url = server_url
    explore(Lanes, stories=100, steps=40)


# It can fail: a story, and one thing in it that is not as it was left.


def wants(*limits: Concurrency | RateLimit, unique: Unique | None = None) -> Asked:
    """A job with these."""
    return asked(Wishes(0, 0, 0, unique, limits, None, None), 1, 1)


def add_to(machine: Lanes, name: str, field: bytes, number: int) -> None:
    """To what is counted there."""
    machine.desk.redis.hincrby(machine.desk.key(name), field, number)


def hand_out_too_early(machine: Lanes) -> None:
    """The time of the last start is forgotten."""
    machine.desk.redis.delete(machine.desk.key("rates"))
    opens = machine.desk.key("opens")
    machine.desk.redis.zadd(opens, dict.fromkeys(machine.desk.redis.zrange(opens, 0, -1), 1))
    machine.claim(0, 5, 5, idle=False)


def make_up(machine: Lanes) -> None:
    """A job that nobody sent."""
    machine.desk.put(b"\x01stranger")


PLANTS: dict[str, Callable[[Lanes], object]] = {
    "a limit counts one too many": lambda m: add_to(m, "slots", m.desk.redis.hkeys(m.desk.key("slots"))[0], 1),
    "what is taken of a limit is forgotten": lambda m: m.desk.redis.delete(m.desk.key("slots")),
    "a rate is forgotten": hand_out_too_early,
    "those that wait at a limit are forgotten": lambda m: m.desk.redis.delete(m.desk.key("waits")),
    "a unique key is forgotten": lambda m: m.desk.redis.delete(m.desk.key("uniq")),
    "a unique key is that of another job": lambda m: m.desk.redis.hset(m.desk.key("uniq"), b"t" * 16, m.ids[0]),
    "what a job asks for is forgotten": lambda m: m.desk.redis.delete(m.desk.key("route")),
    "a job is in no line": lambda m: m.desk.redis.delete(m.desk.key("ready")),
    "a job is made up": make_up,
    "a job runs that nobody was handed": lambda m: m.leases.pop(),
    "one that was handed out runs no more": lambda m: m.desk.settle(*m.leases[0]),
    "a counter is wrong": lambda m: add_to(m, "meta", b"enqueued", 1),
}


@pytest.fixture
def machine(server_url: str) -> Iterator[Lanes]:
    """Two of each limit, of which one runs; a job with a unique key, and a plain one, wait."""
    Lanes.url = server_url
    machine = Lanes()
    machine.place([wants(LIMITS[0]), wants(LIMITS[0]), wants(LIMITS[3]), wants(LIMITS[3])])
    machine.claim(0, 5, 5, idle=False)
    assert len(machine.leases) == 2
    machine.place([wants(unique=Unique(by=("a",)))])
    machine.put()
    machine.the_invariants_hold()
    yield machine
    machine.desk.redis.delete(*(machine.desk.key(name) for name in NAMES))
    machine.desk.close()


@pytest.mark.parametrize("what", PLANTS)
def test_what_is_not_as_it_was_left_is_seen(machine: Lanes, what: str) -> None:
    """I3, I5, I11, I12, I15: each look at the invariants can fail."""
    PLANTS[what](machine)
    with pytest.raises(AssertionError):
        machine.the_invariants_hold()
