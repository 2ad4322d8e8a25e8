"""Priorities, turns, limits and unique keys under any order of calls: every dump shows the invariants, and all drains.

Who is next is shown by ``test_placement.py``; here it is what must never happen: a job in two places or none, a limit
exceeded or leaked (I15), a lane that waits at a limit with room, a unique key held by nobody or by two (I11), and at
the end, with one worker alive, a job that nobody is handed any more (I17).
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from quaff.model.limits import Concurrency, FairBy, RateLimit, Unique
from quaff.model.placement import Placement, Wishes, placement
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.keys import NAMES
from quaff.store.transitions import Lease
from tests.store.engine import HOUR, Desk, process_id

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


@st.composite
def placements(draw: st.DrawFn) -> Placement:
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
    return placement("task", wishes, {"a": draw(st.integers(0, 2)), "b": draw(st.integers(0, 1))})


class Lanes(RuleBasedStateMachine):
    """Producers and workers with three processes, in any order."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(self.url, f"p{uuid4().hex[:12]}")
        self.processes = [process_id() for _ in range(3)]
        self.leases: list[tuple[bytes, Lease]] = []
        self.ids: list[bytes] = []

    @rule(jobs=st.lists(placements(), min_size=1, max_size=4))
    def place(self, jobs: list[Placement]) -> None:
        """With wishes."""
        answers = self.desk.place(*((b"\x01m", each) for each in jobs))
        assert all(isinstance(each, bytes) and len(each) == 16 for each in answers)
        self.ids += answers

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

    def _one(self, pick: int) -> tuple[bytes, Lease] | None:
        return self.leases.pop(pick % len(self.leases)) if self.leases else None

    @rule(pick=st.integers(0, 50), state=st.sampled_from(STATES), wait=st.sampled_from([0, HOUR]))
    def settle(self, pick: int, state: JobState, wait: int) -> None:
        """One attempt ends."""
        if one := self._one(pick):
            self.desk.settle(one[0], one[1], state=state, ttl_ms=wait)

    @rule(pick=st.integers(0, 50), park=st.sampled_from([0, 0, HOUR]))
    def release(self, pick: int, park: int) -> None:
        """One goes back."""
        if one := self._one(pick):
            self.desk.release(one[0], one[1], park_ms=park)

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
        """All that one dump can show."""
        self.desk.dump()

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
@pytest.mark.timeout(240)  # thousands of calls, and other tests beside them
def test_any_order_of_calls_keeps_limits_turns_and_unique_keys(server_url: str) -> None:
    """I1, I11, I15, I17, with retries, crashes, lapses, cancellations and changed priorities."""
    Lanes.url = server_url
    plan = settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Lanes, settings=plan)  # type: ignore[no-untyped-call]
