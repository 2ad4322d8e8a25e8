"""Jobs that ask for more than the end of the line: later, sooner, by turns, within limits."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from quaff.model.limits import Concurrency, FairBy, Limit, RateLimit, Unique
from quaff.model.placement import Placement, Wishes, limit_name, placement
from quaff.model.states import JobState
from quaff.store.operations import limit
from tests.store.engine import HOUR, Desk, fifo, process_id

ME, OTHER = process_id(), process_id()


def at(
    *,
    delay_ms: int = 0,
    due_ms: int = 0,
    priority: int = 0,
    unique: Unique | None = None,
    limits: tuple[Limit, ...] = (),
    fair_by: FairBy | None = None,
    **arguments: Any,
) -> Placement:
    """The placement of a call with these arguments."""
    return placement("task", Wishes(due_ms, delay_ms, priority, unique, limits, fair_by, None), arguments)


def state_of(desk: Desk, id: bytes) -> JobState | None:
    """Where it is."""
    return desk.look(id).state


# Later


def test_a_delayed_job_waits_for_its_time_and_then_comes(desk: Desk) -> None:
    """Scheduled until then, by the server's clock; the claim says when to ask again."""
    (id,) = desk.place((b"later", at(delay_ms=1000)))
    assert state_of(desk, id) is JobState.SCHEDULED
    answer = desk.claim(ME, 1, b"c1")
    assert answer.leases == []
    assert answer.again_ms is not None
    assert 0 < answer.again_ms <= 1000
    time.sleep(answer.again_ms / 1000)
    assert fifo(desk.claim(ME, 2, b"c2").leases) == [b"later"]


def test_a_moment_that_is_over_is_now(desk: Desk) -> None:
    """An eta of yesterday queues at once."""
    (id,) = desk.place((b"x", at(due_ms=1000)))
    assert state_of(desk, id) is JobState.QUEUED


def test_a_new_earliest_job_wakes_somebody(desk: Desk) -> None:
    """Who sleeps until the next due time must learn that it is another one now; a later one wakes nobody."""
    desk.place((b"a", at(delay_ms=HOUR)))
    assert desk.dump().wake
    assert desk.claim(ME, 1, b"c1").leases == []
    desk.redis.delete(desk.key("wake"))
    desk.place((b"b", at(delay_ms=2 * HOUR)))
    assert not desk.dump().wake
    desk.place((b"c", at(delay_ms=1000)))
    assert desk.dump().wake


def test_a_delayed_job_is_stored_once_however_often_it_is_sent(desk: Desk) -> None:
    """I19: the same id again."""
    from quaff.model import ids
    from quaff.store import transitions as t

    raw, place = ids.new_raw(), at(delay_ms=HOUR)
    call = t.enqueue_routed(
        desk.home, outcome=b"", ttl_ms=0, window_ms=HOUR, jobs=[(raw, b"\x01m", place.route, place.terms)]
    )
    assert [desk.store.run(call), desk.store.run(call)] == [[0], [1]]


# Priority


def test_higher_priorities_come_first_and_each_in_its_order(desk: Desk) -> None:
    """I16: plain ones are those of priority 0."""
    desk.put(b"plain 1")
    desk.place(*((f"{p} {n}".encode(), at(priority=p)) for n in range(2) for p in (-5, 3, 100, -100, 1)))
    desk.put(b"plain 2")
    got = fifo(desk.take(ME, 50))
    assert got == [
        *(b"100 0", b"100 1", b"3 0", b"3 1", b"1 0", b"1 1", b"plain 1", b"plain 2"),
        *(b"-5 0", b"-5 1", b"-100 0", b"-100 1"),
    ]


def test_one_at_a_time_gives_the_same_order(desk: Desk) -> None:
    """The bounds of a claim do not change who is next."""
    desk.put(b"plain")
    desk.place((b"low", at(priority=-1)), (b"high", at(priority=1)))
    assert [fifo(desk.take(ME))[0] for _ in range(3)] == [b"high", b"plain", b"low"]


def test_what_is_given_back_comes_before_its_equals(desk: Desk) -> None:
    """At the head of its priority, in the old order."""
    desk.place(*((b"%d" % n, at(priority=7)) for n in range(4)))
    leases = desk.take(ME, 2)
    desk.release(ME, *leases)
    assert fifo(desk.take(ME, 4)) == [b"0", b"1", b"2", b"3"]


def test_a_retry_keeps_its_priority(desk: Desk) -> None:
    """Its route stays with it."""
    desk.place((b"high", at(priority=7)))
    desk.put(b"plain")
    (lease,) = desk.take(ME)
    desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=0)
    assert fifo(desk.take(ME, 2)) == [b"high", b"plain"]


def test_a_job_with_a_priority_is_cancelled_without_a_trace(desk: Desk) -> None:
    """No ghost: it can be found where it is."""
    (id,) = desk.place((b"high", at(priority=7)))
    assert desk.cancel(id) == [b"c"]
    dump = desk.dump()
    assert (dump.prio, dump.ghosts, dump.route) == ({}, {}, {})


# Turns


def by(tenant: str, **options: Any) -> Placement:
    """Of one tenant."""
    return at(fair_by=FairBy("{tenant}", **options), tenant=tenant)


def test_keys_take_turns(desk: Desk) -> None:
    """Whoever has one job waits for one job of each other key, not for all of them."""
    desk.place(*((b"a%d" % n, by("a")) for n in range(6)))
    desk.place(*((b"b%d" % n, by("b")) for n in range(2)))
    desk.place((b"c0", by("c")))
    assert fifo(desk.take(ME, 20)) == [b"a0", b"b0", b"c0", b"a1", b"b1", b"a2", b"a3", b"a4", b"a5"]
    dump = desk.dump()
    assert (dump.turn, dump.backlog, dump.spot) == ({}, {}, {})


def test_a_new_key_waits_for_no_more_starts_than_there_are_keys(desk: Desk) -> None:
    """However the claims are cut, and also where a key comes back again and again."""
    for key in "abcd":
        desk.place(*((f"{key}".encode(), by(key)) for _ in range(50)))
    desk.take(ME, 7)
    for round in range(10):
        desk.place((b"new", by("new")))
        starts = []
        for _ in range(6):
            starts += fifo(desk.take(ME))
        assert starts.index(b"new") <= 4, (round, starts)


def test_weights_give_more_of_a_turn(desk: Desk) -> None:
    """Also where each claim takes one job."""
    place = lambda key: by(key, weights={"big": 3})  # noqa: E731
    for key in ("big", "small"):
        desk.place(*((key.encode(), place(key)) for _ in range(12)))
    assert Counter(fifo(desk.take(ME))[0] for _ in range(8)) == {b"big": 6, b"small": 2}
    assert Counter(fifo(desk.take(ME, 8))) == {b"big": 6, b"small": 2}


def test_plain_jobs_and_lanes_share_a_queue(desk: Desk) -> None:
    """By halves, so that neither waits for all of the other."""
    desk.put(*[b"plain"] * 20)
    desk.place(*((b"lane", by("a")) for _ in range(20)))
    assert Counter(fifo(desk.take(ME, 10))) == {b"plain": 5, b"lane": 5}
    assert Counter(fifo(desk.take(ME))[0] for _ in range(10)) == {b"plain": 5, b"lane": 5}
    assert Counter(fifo(desk.take(ME, 100))) == {b"plain": 10, b"lane": 10}


def test_a_cancelled_job_leaves_its_lane(desk: Desk) -> None:
    """And an empty lane its turn."""
    first, second = desk.place((b"a", by("a")), (b"b", by("b")))
    assert desk.cancel(first) == [b"c"]
    dump = desk.dump()
    assert (list(dump.spot), len(dump.turn)) == ([second], 1)
    assert fifo(desk.take(ME, 5)) == [b"b"]


def test_within_a_key_priorities_count(desk: Desk) -> None:
    """The order of a lane."""
    place = lambda p: at(priority=p, fair_by=FairBy("{tenant}"), tenant="a")  # noqa: E731
    desk.place((b"low", place(-1)), (b"mid", place(0)), (b"high", place(1)))
    assert fifo(desk.take(ME, 5)) == [b"high", b"mid", b"low"]


# Concurrency


def two_per(host: str, n: int = 2, cost: int = 1) -> Placement:
    """At most ``n`` of one host."""
    return at(limits=(Concurrency(n, key="{host}", cost=cost),), host=host)


def test_no_more_run_than_the_limit_allows_and_others_are_not_held_up(desk: Desk) -> None:
    """Those over it wait, take no slot and burn no attempt; a finished job lets the next one in."""
    desk.place(*((b"a%d" % n, two_per("a")) for n in range(4)))
    desk.place(*((b"b%d" % n, two_per("b")) for n in range(3)))
    leases = desk.take(ME, 10)
    assert sorted(fifo(leases)) == [b"a0", b"a1", b"b0", b"b1"]
    assert desk.take(ME, 10) == []
    assert not desk.dump().wake
    a0 = next(lease for lease in leases if lease.message == b"a0")
    desk.settle(ME, a0)
    assert desk.dump().wake
    (a2,) = desk.take(ME, 10)
    assert (a2.message, a2.attempt) == (b"a2", 1)


@pytest.mark.parametrize("how", ["retry", "snooze", "fail", "cancel", "release", "park", "reap", "lapse"])
def test_however_a_job_leaves_its_slot_is_free(desk: Desk, how: str) -> None:
    """Slots of dead workers return with the lease, or at once where their supervisor saw them die."""
    desk.place((b"first", two_per("a", 1)), (b"second", two_per("a", 1)))
    (lease,) = desk.take(ME, 10)
    match how:
        case "retry":
            desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=HOUR)
        case "snooze":
            desk.settle(ME, lease, state=JobState.SCHEDULED, ttl_ms=HOUR)
        case "fail":
            desk.settle(ME, lease, state=JobState.FAILED)
        case "cancel":
            desk.cancel(lease.id)
            desk.release(ME, lease)
        case "release":
            desk.release(ME, lease)
        case "park":
            desk.release(ME, lease, park_ms=HOUR)
        case "reap":
            desk.reap(ME, lease.id)
        case "lapse":
            desk.heartbeat(ME)
            desk.let_lapse(ME)
            desk.sweep()
    assert desk.dump().slots == {}
    expected = b"first" if how == "release" else b"second"
    assert fifo(desk.take(OTHER, 10)) == [expected]


def test_strict_order_per_key(desk: Desk) -> None:
    """``Concurrency(1)`` with a key: one at a time, each key in its order."""
    desk.place(*((f"{key}{n}".encode(), two_per(key, 1)) for n in range(3) for key in "ab"))
    for n in range(3):
        leases = desk.take(ME, 10)
        assert fifo(leases) == [b"a%d" % n, b"b%d" % n]
        desk.settle(ME, *leases)


def test_several_limits_count_together(desk: Desk) -> None:
    """Nothing is taken of one where another one says no."""
    limits = (Concurrency(3, key="all"), Concurrency(1, key="{user}"))
    place = lambda user: at(limits=limits, user=user)  # noqa: E731
    desk.place(*((f"{user}{n}".encode(), place(user)) for user in "abcd" for n in range(2)))
    first = desk.take(ME, 10)
    assert fifo(first) == [b"a0", b"b0", b"c0"]
    desk.settle(ME, first[0])
    assert fifo(desk.take(ME, 10)) in ([b"d0"], [b"a1"])
    assert sum(int(each) for each in desk.dump().slots.values()) == 6


def test_a_costly_job_takes_more_and_one_over_the_limit_all_of_it(desk: Desk) -> None:
    """Weights; a cost above the limit does not wait for ever."""
    desk.place((b"three", two_per("a", 4, 3)), (b"one", two_per("a", 4)), (b"two", two_per("a", 4, 2)))
    leases = desk.take(ME, 10)
    assert sorted(fifo(leases)) == [b"one", b"three"]
    desk.settle(ME, leases[0])
    assert fifo(desk.take(ME, 10)) == [b"two"]


def test_what_costs_much_is_not_passed_for_ever_by_what_costs_little(desk: Desk) -> None:
    """Who is first in line at a limit is next, and room is kept for it."""
    desk.place(*((b"little", two_per("a", 4)) for _ in range(4)))
    running = desk.take(ME, 10)
    desk.place((b"much", two_per("a", 4, 4)), *((b"little", two_per("a", 4)) for _ in range(20)))
    starts: list[bytes] = []
    for _ in range(4):
        desk.settle(ME, running.pop())
        desk.dump()
        starts += fifo(desk.take(ME, 10))
    assert starts == [b"much"]


def test_the_line_goes_on_when_its_first_is_cancelled(desk: Desk) -> None:
    """The room that was kept for it is for those behind it."""
    desk.place(*((b"little", two_per("a", 4)) for _ in range(3)))
    running = desk.take(ME, 10)
    (much,) = desk.place((b"much", two_per("a", 4, 4)))
    desk.place((b"next", two_per("a", 4)))
    assert desk.take(ME, 10) == []
    assert desk.cancel(much) == [b"c"]
    assert desk.dump().wake
    assert fifo(desk.take(ME, 10)) == [b"next"]
    desk.settle(ME, *running)


def test_of_two_lanes_at_a_limit_the_one_that_came_first_goes_first(desk: Desk) -> None:
    """Whether it stands in line already, or had no turn yet."""
    limits = (Concurrency(1, key="all"),)
    place = lambda user: at(limits=limits, fair_by=FairBy("{user}"), user=user)  # noqa: E731
    desk.place(*((f"{user}".encode(), place(user)) for user in "abcd"))
    (running,) = desk.claim(ME, 1, b"c1", 1).leases
    assert fifo([running]) == [b"a"]
    starts: list[bytes] = []
    for number in range(2, 6):
        # The others are looked at while there is no room, but for the last ones, which come later.
        assert desk.claim(ME, number * 2, b"x%d" % number, 1).leases == []
        desk.place((b"late", place(f"late {number}")))
        desk.settle(ME, running)
        (running,) = desk.claim(ME, number * 2 + 1, b"c%d" % number, 1).leases
        starts += fifo([running])
    assert starts == [b"b", b"c", b"d", b"late"]


def test_one_claim_looks_at_a_hundred_lanes(desk: Desk) -> None:
    """However many it asks for: each costs the server more than a plain job."""
    for at_once in range(3):
        desk.place(*((b"%d" % n, at(fair_by=FairBy("{key}"), key=(at_once, n))) for n in range(100)))
    assert [len(desk.take(ME, 500)) for _ in range(4)] == [100, 100, 100, 0]


def test_jobs_with_limits_are_for_free_slots_only(desk: Desk) -> None:
    """Claim and start are one moment: nothing of them is claimed in advance, and the answer says so."""
    desk.place(*((b"%d" % n, two_per("a", 100)) for n in range(5)))
    answer = desk.claim(ME, 1, b"c1", 10, free=2)
    assert len(answer.leases) == 2
    answer = desk.claim(ME, 2, b"c2", 10, free=0)
    assert (answer.leases, answer.for_slots, answer.left) == ([], True, 1)
    desk.put(*[b"plain"] * 3)
    answer = desk.claim(ME, 3, b"c3", 10, free=1)
    assert fifo(answer.leases) == [b"2", b"plain", b"plain", b"plain"]


def test_a_lane_that_empties_lets_the_next_one_know(desk: Desk) -> None:
    """Its last job is cancelled between the wake-up and the claim: no room is left unused."""
    one = lambda user: at(limits=(Concurrency(1, key="all"), Concurrency(9, key="{user}")), user=user)  # noqa: E731
    _, b0, _ = desk.place((b"a0", one("a")), (b"b0", one("b")), (b"c0", one("c")))
    (a0,) = desk.take(ME, 10)
    assert desk.take(ME, 10) == []
    desk.settle(ME, a0)
    assert desk.cancel(b0) == [b"c"]
    assert fifo(desk.take(ME, 10)) == [b"c0"]


def test_a_job_that_must_run_alone_keeps_to_its_limits_too(desk: Desk) -> None:
    """After a crash it is no longer in its lane, and waits for room all the same."""
    desk.place(*((b"%d" % n, two_per("a", 1)) for n in range(2)))
    (crashed,) = desk.take(ME)
    desk.reap(ME, crashed.id)
    (running,) = desk.take(OTHER)
    assert running.message == b"1"
    third = process_id()
    assert desk.take(third, idle=True) == []
    desk.settle(OTHER, running)
    desk.let_be_due(crashed.id)
    (again,) = desk.take(third, idle=True)
    assert (again.message, again.attempt) == (b"0", 2)


@pytest.mark.parametrize("only", [None, "a"])
def test_the_cap_of_a_fair_key_has_other_numbers_at_run_time(desk: Desk, only: str | None) -> None:
    """It is a limit as others are, by the name that the documentation gives; for all keys, or for one."""
    desk.place(*((key.encode(), by(key, cap=1)) for key in "ab" for _ in range(3)))
    assert fifo(desk.take(ME, 10)) == [b"a", b"b"]
    name = limit_name("c", "task/cap", only or "")
    numbers = "2 1 1"
    desk.store.run(limit(desk.home, name=name if only else name[17:], numbers=numbers, who="me", after=b""))
    assert sorted(fifo(desk.take(ME, 10))) == ([b"a"] if only else [b"a", b"b"])


# Rates


def rate(n: int, per: float, burst: int = 1, cost: int = 1, key: str = "k") -> Placement:
    """So many in a time."""
    return at(limits=(RateLimit(n, per=per, burst=burst, key="{key}", cost=cost),), key=key)


def test_starts_are_spread_over_time_and_the_next_one_comes_in_its_millisecond(desk: Desk) -> None:
    """The claim says when; nobody polls."""
    desk.place(*((b"%d" % n, rate(20, 1)) for n in range(4)))
    began = time.monotonic()
    for number in range(1, 40):
        answer = desk.claim(ME, number, b"c%d" % number, 10)
        if not answer.leases and not desk.dump().backlog:
            break
        if not answer.leases:
            assert answer.again_ms is not None
            assert answer.again_ms <= 51
            time.sleep(answer.again_ms / 1000)
    taken = time.monotonic() - began
    assert len(desk.dump().active) == 4
    assert 0.145 <= taken < 2


@pytest.mark.parametrize("count", [1, 10])
def test_a_claim_that_comes_to_a_limit_says_when_it_opens(desk: Desk, count: int) -> None:
    """Also the one that finds so first: nobody else knows, and until somebody looks the next one waits."""
    desk.place(*((b"%d" % n, rate(2, 1)) for n in range(3)))
    began = time.monotonic()
    answer = desk.claim(ME, 1, b"c0", count)
    if answer.left:  # it took what it wanted, and has not come to the limit yet
        answer = desk.claim(ME, 2, b"c1", count)
    assert (len(desk.dump().active), answer.left) == (1, 0)
    assert answer.again_ms is not None
    assert 0 < answer.again_ms <= 500
    time.sleep(answer.again_ms / 1000)
    assert fifo(desk.claim(ME, 3, b"c2", count).leases) == [b"1"]
    assert time.monotonic() - began < 5


def test_the_claim_that_meets_a_limit_says_when_it_opens(desk: Desk) -> None:
    """Also where it hands something out: nobody may have a reason to ask again before that."""
    desk.place(*((b"%d" % n, rate(1, 2)) for n in range(2)))
    answer = desk.claim(ME, 1, b"c1", 10)
    assert fifo(answer.leases) == [b"0"]
    assert answer.again_ms is not None
    assert 1000 < answer.again_ms <= 2000
    assert desk.dump().wake


def test_a_burst_may_start_at_once(desk: Desk) -> None:
    """After a pause; a costly one takes more of it."""
    desk.place(*((b"%d" % n, rate(1, 60, 3)) for n in range(5)), *((b"x", rate(1, 60, 3, 2, "x")) for _ in range(3)))
    assert sorted(fifo(desk.take(ME, 10))) == [b"0", b"1", b"2", b"x"]
    assert desk.take(ME, 10) == []


def test_a_rate_that_is_raised_holds_at_once(desk: Desk) -> None:
    """What was to wait for an hour by the old numbers waits as long as the new ones say."""
    desk.place(*((b"%d" % n, rate(1, 3600)) for n in range(3)))
    assert fifo(desk.take(ME, 10)) == [b"0"]
    assert desk.take(ME, 10) == []
    desk.store.run(limit(desk.home, name=limit_name("r", "{key}", "")[17:], numbers="100 1000 1", who="me", after=b""))
    deadline = time.monotonic() + 10
    got: list[bytes] = []
    while len(got) < 2 and time.monotonic() < deadline:
        got += fifo(desk.take(ME, 10))
    assert got == [b"1", b"2"]


def test_a_start_that_cost_more_than_the_burst_is_owed_for(desk: Desk) -> None:
    """It waits for a full bucket, and the next one for all that it took."""
    desk.place((b"much", rate(10, 1, 1, 1)), (b"next", rate(10, 1)))
    name = limit_name("r", "{key}", "k")
    dear = at(limits=(RateLimit(10, per=1, key="{key}", cost=lambda key: 50),), key="k")
    desk.place((b"dear", dear))
    assert fifo(desk.take(ME, 1)) == [b"much"]
    desk.redis.zadd(desk.key("rates"), {name: 1})
    desk.redis.zadd(desk.key("opens"), {name: 1}, xx=True)
    assert fifo(desk.take(ME, 1)) == [b"dear"]
    assert desk.take(ME, 1) == []
    wait = desk.dump().rates[name.encode()] - float(desk.redis.time()[0] * 1000)
    assert 3000 < wait <= 6000


@pytest.mark.parametrize("park_ms", [0, HOUR])
def test_a_job_that_did_not_begin_takes_nothing_of_a_rate(desk: Desk, park_ms: int) -> None:
    """Blocked, unknown here, or given back: those behind it do not wait for it."""
    desk.place(*((b"%d" % n, rate(1, 600, 2)) for n in range(3)))
    (lease,) = desk.take(ME)
    desk.release(ME, lease, park_ms=park_ms)
    assert len(desk.take(ME, 10)) == 2


def test_a_job_that_has_expired_takes_nothing_of_a_rate(desk: Desk) -> None:
    """After an outage what nobody wants any more does not hold up what came since."""
    desk.place(*((b"%d" % n, rate(1, 600)) for n in range(5)))
    for number in range(4):
        (lease,) = desk.take(ME)
        assert lease.message == b"%d" % number
        desk.settle(ME, lease, state=JobState.EXPIRED)
    assert fifo(desk.take(ME)) == [b"4"]
    assert desk.take(ME) == []


def test_a_job_that_may_have_begun_keeps_what_it_took_of_a_rate(desk: Desk) -> None:
    """Else a worker that is stopped would let more start than the rate allows."""
    desk.place(*((b"%d" % n, rate(1, 600, 2)) for n in range(3)))
    (lease,) = desk.take(ME)
    desk.release(ME, lease, park_ms=-1)
    assert fifo(desk.take(ME, 10)) == [b"0"]


def test_a_limit_that_is_full_again_leaves_nothing_behind(desk: Desk) -> None:
    """Idle keys: the sweep takes what is over."""
    desk.place(*((b"%d" % n, rate(1000, 1, 1, 1, f"key {n}")) for n in range(20)))
    leases = desk.take(ME, 50)
    assert len(leases) == 20
    desk.settle(ME, *leases)
    time.sleep(0.01)
    desk.sweep()
    dump = desk.dump()
    assert (dump.rates, dump.slots, dump.turn, dump.backlog, dump.stalled, dump.opens, dump.route) == ({},) * 7


def test_one_global_limit_over_many_keys_wakes_one_lane_at_a_time(desk: Desk) -> None:
    """A hundred tenants at a limit: each round of claims touches few of them, and they take turns."""
    limits = (RateLimit(1000, per=1, key="all"),)
    place = lambda tenant: at(limits=limits, fair_by=FairBy("{tenant}"), tenant=tenant)  # noqa: E731
    for tenant in range(30):
        desk.place(*((b"%d" % tenant, place(f"{tenant}")) for _ in range(2)))
    got: list[bytes] = []
    for number in range(1, 1000):
        got += fifo(desk.claim(ME, number, b"c%d" % number, 10).leases)
        if len(got) == 60:
            break
        time.sleep(0.001)
    assert Counter(got[:30]) == Counter(b"%d" % tenant for tenant in range(30))
    assert Counter(got) == Counter({b"%d" % tenant: 2 for tenant in range(30)})
