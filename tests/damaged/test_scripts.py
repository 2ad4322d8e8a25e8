"""S8: what was damaged is refused in our words, and holds up nobody who has nothing to do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from quaff import Concurrency, FairBy, StoreError
from quaff.audit.picture import KINDS
from quaff.model import message
from quaff.model.placement import Wishes, placement
from quaff.model.states import JobState
from quaff.store import alerting, parcels, tallies, timetable
from quaff.store import transitions as t
from quaff.store.keys import NAMES
from quaff.store.operations import limit, purge
from quaff.store.queries import stats
from tests.damaged.world import QUEUES, World
from tests.store.engine import HOUR, Desk, process_id

FIRST = placement("value", Wishes(0, 0, 100, None, (), None, None), {})
Op = Callable[[Desk], object]
pytestmark = pytest.mark.only("valkey", why="scripts are the same on each")
NOISE = b"\xc1 nobody wrote this"
#: Numbers that the scripts change where they stand: whoever comes to that job, flow or limit is refused until they are
#: set right by hand; and what speaks of the whole queue.
HOLDS_UP = "meta flows ghosts slots".split()


@pytest.fixture(scope="module")
def world(world: World) -> World:
    """No queue of it is paused."""
    world.resume()
    world.keep()
    return world


@pytest.fixture(scope="module")
def desks(world: World, server_url: str) -> Iterator[list[Desk]]:
    """One for each queue."""
    several = [Desk(server_url, world.namespace, queue=queue) for queue in QUEUES]
    yield several
    for each in several:
        each.close()


def _run(desk: Desk) -> None:
    me = process_id()
    first, *others = desk.take(me, 4) or [None]
    if first is not None:
        desk.settle(me, first)
        desk.release(me, *others)


def _reap(desk: Desk) -> None:
    for process in desk.redis.zrange(desk.key("lease"), 0, -1):
        desk.reap(process)


def _deliver(desk: Desk) -> None:
    namespace = desk.home.namespace
    for call, _ in parcels.deliveries(namespace, desk.store.run(parcels.outgoing(desk.home, hold_ms=0)), window_ms=1):
        desk.store.run(call)


def _let_all_be_due(name: str) -> Op:
    def op(desk: Desk) -> None:
        if waiting := desk.redis.zrange(desk.key(name), 0, -1):
            desk.redis.zadd(desk.key(name), dict.fromkeys(waiting, 1), xx=True)
        desk.sweep(unpark=True)

    return op


def _tally(desk: Desk) -> None:
    desk.take(process := process_id())
    kinds = [tallies.Failed(b"kind", 1, 1, "[]", "x")]
    tasks = {name: {"s": 1} for name in ("value", "")}
    call = tallies.tally(desk.home, process=process, number=9, tasks=tasks, failures=kinds, recent=[])
    desk.store.run(call)


def _of_jobs(call: Callable[[Any, Sequence[bytes]], t.Call[Any]]) -> Op:
    def op(desk: Desk) -> None:
        for id in [id for name in ("msg", "tomb") for id in desk.redis.hkeys(desk.key(name))]:
            desk.store.run(call(desk.home, [id]))

    return op


#: In an order in which each still has something to do.
OPS: tuple[Op, ...] = (
    lambda desk: desk.heartbeat(*desk.redis.zrange(desk.key("lease"), 0, -1)),
    lambda desk: desk.sweep(unpark=True),
    _tally,
    lambda desk: desk.take(process_id(), 1, idle=True),
    *[_run] * 4,
    _deliver,
    lambda desk: desk.store.run(timetable.due(desk.home)),
    lambda desk: desk.store.run(alerting.alerts(desk.home, b"teller", alerting.Told(), lasts_ms=HOUR, most=5)),
    _reap,
    _let_all_be_due("sched"),
    _of_jobs(lambda home, some: t.prioritize(home, 3, some)),
    lambda desk: desk.store.run(limit(desk.home, name="9e869cc344ec9fcd", numbers="5 20000 1", who="x", after=b"")),
    _of_jobs(lambda home, some: t.cancel(home, outcome=b"x", ttl_ms=1, window_ms=1, ids=some)),
    lambda desk: desk.store.run(purge(desk.home, outcome=b"x", ttl_ms=1, window_ms=1, scheduled=True)),
    _of_jobs(t.requeue),
    _of_jobs(t.discard),
    _let_all_be_due("done"),
)


@pytest.mark.parametrize("name", [name for name in NAMES if KINDS[name] == "hash"])
def test_what_is_damaged_holds_up_nobody_else(world: World, desks: list[Desk], name: str) -> None:
    """S8, F45: every value of one kind is noise: scripts refuse as StoreError, and a new job runs all the same."""
    try:
        for desk in desks:
            if fields := world.redis.hkeys(desk.key(name)):
                world.redis.hset(desk.key(name), mapping=dict.fromkeys(fields, NOISE))
        refused = []
        for desk in desks:
            for op in OPS:
                try:
                    op(desk)
                except StoreError as error:
                    refused.append(str(error))
        assert name in HOLDS_UP or not refused, refused
        if name != "meta":
            for desk in desks:
                (new,) = desk.place((message.encode("value", [1], {}), FIRST))
                me = process_id()
                (lease,) = desk.take(me)
                assert lease.id == new
                assert desk.settle(me, lease) == [t.Verdict.OK]
    finally:
        world.mend()


@pytest.fixture
def desk(server_url: str, namespace: str) -> Iterator[Desk]:
    """A queue of its own, in which something may stay wrong."""
    desk = Desk(server_url, namespace)
    yield desk
    desk.redis.delete(*(desk.key(name) for name in NAMES))
    desk.close()


def _asking(**wishes: Any) -> tuple[bytes, Any]:
    plain: dict[str, Any] = {"unique": None, "limits": (), "fair_by": None, "fair_key": None}
    return message.encode("value", [1], {}), placement("value", Wishes(0, 0, 5, **plain | wishes), {"a": 1})


def test_a_job_whose_route_is_damaged_stands_in_the_one_line(desk: Desk) -> None:
    """S8: it has nothing to ask for, and is sent nowhere."""
    desk.place(_asking())
    (lease,) = desk.take(me := process_id())
    desk.redis.hset(desk.key("route"), lease.id, NOISE)
    desk.release(me, lease)
    assert [each.id for each in desk.take(me)] == [lease.id]


def test_a_job_that_is_called_off_while_its_route_is_damaged_holds_up_no_lane(desk: Desk) -> None:
    """S8: the others of its lane come, and so does what comes after them; the line is as long as it is."""
    first, second = desk.place(*[_asking(fair_by=FairBy("a"))] * 2)
    desk.redis.hset(desk.key("route"), first, NOISE)
    assert desk.cancel(first) == [b"c"]
    (after,) = desk.place((message.encode("value", [1], {}), FIRST))
    me = process_id()
    assert {lease.id for _ in range(4) for lease in desk.take(me)} == {second, after}
    assert desk.store.run(stats(desk.home))["queued"] == 0


def test_a_lane_whose_jobs_are_gone_holds_up_nobody(desk: Desk) -> None:
    """S8: `turn` has a lane of which `backlog` has nothing."""
    desk.place(_asking(fair_by=FairBy("a")))
    desk.redis.delete(desk.key("backlog"))
    (after,) = desk.place((message.encode("value", [1], {}), FIRST))
    me = process_id()
    assert [lease.id for _ in range(3) for lease in desk.take(me)] == [after]


@pytest.mark.parametrize("entry", [b"x" * 24, b"", b"short"])
def test_a_place_in_line_that_is_damaged_holds_up_no_other(desk: Desk, entry: bytes) -> None:
    """S8: at a limit stands somebody who is no lane; who stands behind comes all the same."""
    one = (Concurrency(1, key="all"),)
    jobs = desk.place(*[_asking(limits=one)] * 2)
    me = process_id()
    (lease,) = [lease for _ in range(3) for lease in desk.take(me)]
    limit = desk.redis.zrange(desk.key("waits"), 0, 0)[0][:33]
    desk.redis.zadd(desk.key("waits"), {limit + bytes(8)[: len(entry)] + entry: 0})
    assert desk.settle(me, lease) == [t.Verdict.OK]
    assert [lease.id for _ in range(3) for lease in desk.take(me)] == jobs[1:]


def test_what_is_written_anew_each_time_is_right_after_the_next_time(desk: Desk) -> None:
    """S8: what a process claimed and told last, and when somebody swept: nobody is refused for ever."""
    me = process_id()
    desk.put(*[b"m"] * 3)
    desk.settle(me, *desk.take(me))
    for name, fields in {"claims": [me], "told": [me], "meta": ["last_tick", "reap_from", "ended_at_tick"]}.items():
        desk.redis.hset(desk.key(name), mapping=dict.fromkeys(fields, NOISE))
    desk.sweep()
    desk.store.run(timetable.due(desk.home))
    assert desk.settle(me, *desk.take(me)) == [t.Verdict.OK]
    assert desk.store.run(tallies.tally(desk.home, process=me, number=1, tasks={}, failures=[], recent=[]))
    assert not any(NOISE in desk.redis.hgetall(desk.key(name)).values() for name in ("claims", "told", "meta"))


def test_a_parcel_that_lacks_a_part_waits_and_the_others_go(desk: Desk) -> None:
    """S8: three bits of its length are others; it had four parts."""
    jobs = desk.place(*[(message.encode("value", [1], {}), FIRST)] * 2)
    me = process_id()
    for lease in desk.take(me, 2):
        desk.settle(me, lease, state=JobState.RETRYING, ttl_ms=1, digest=b" slow#0")
    desk.let_be_due(*jobs)
    desk.sweep()
    name, told = min(desk.redis.hgetall(desk.key("parcels")).items())
    desk.redis.hset(desk.key("parcels"), name, b"\x93" + told[1:])
    (left,) = desk.store.run(parcels.outgoing(desk.home, hold_ms=HOUR))
    assert left.name != name
