"""Flows too large for one call: each does its share, and what is left goes on by a parcel."""

from __future__ import annotations

import random
import statistics

import pytest

from quaff.errors import StoreError
from quaff.model import ids, outcome
from quaff.model.flow import MOST_NODES, Node, again
from quaff.model.states import JobState
from quaff.store.flows import ENDED, FULL, GROWN, WIDE, advance, graph, grow, plant
from quaff.store.queries import lookup
from quaff.store.transitions import STEP, Verdict
from quaff.worker.courier import Courier
from tests.store.engine import HOUR, Desk, unchanged
from tests.store.flows import ME, TERMS, Drawn, deliver, elsewhere, name_of, run_all, seed, seeds_of, stands, store


def test_a_wide_flow_goes_on_step_by_step(desk: Desk) -> None:
    """Three thousand wait for one, and one for them; no script does more than its share, and nothing is told twice."""
    count = 3000
    nodes = [Drawn({}), *(Drawn({0: "fail"}) for _ in range(count)), Drawn(dict.fromkeys(range(1, count + 1), "fail"))]
    flow = store(desk, seeds_of(nodes))
    (lease,) = desk.take(ME, 10)
    desk.settle(ME, lease)
    first = len(desk.dump().ready)
    assert 0 < first < 500
    deliver(desk)
    assert len(desk.dump().ready) == count
    while leases := desk.take(ME, 500):
        desk.settle(ME, *leases)
        deliver(desk)
    found = stands(desk, flow)
    assert (found.state, found.open, found.ended[JobState.SUCCEEDED]) == (JobState.SUCCEEDED, 0, count + 2)


def test_a_failure_far_up_ends_a_long_chain(desk: Desk) -> None:
    """Two thousand that depend on it are cancelled, and none of them has run."""
    nodes = [Drawn({}, JobState.FAILED), *(Drawn({place: "fail"}) for place in range(2000))]
    flow = store(desk, seeds_of(nodes))
    (lease,) = desk.take(ME, 10)
    desk.settle(ME, lease, state=JobState.FAILED)
    deliver(desk)
    found = stands(desk, flow)
    assert (found.state, found.ended[JobState.CANCELLED]) == (JobState.FAILED, 2000)
    assert not desk.take(ME)
    desk.dump()


def test_what_is_kept_of_a_flow_goes_with_its_tombstone(desk: Desk) -> None:
    """Step by step, and all of it, also of one whose last part never came."""
    nodes = [Drawn({}), *(Drawn({0: "fail"}, undone=place < 5) for place in range(250))]
    flow = store(desk, seeds_of(nodes))
    run_all(desk, dict.fromkeys([str(place) for place in range(251)], JobState.SUCCEEDED), random.Random(1))
    unsown = ids.new_raw()
    begun = plant(desk.home, unsown, sower=b"me", again=False, head=b"", size=300, terms=TERMS, seeds=seeds_of(nodes))
    assert desk.store.run(next(begun))
    for _ in range(10):
        dump = desk.dump()
        desk.let_tombstones_expire(*dump.tomb, unsown)
        while desk.sweep().more:
            pass
        for gone in (flow, unsown):
            assert desk.store.run(graph(desk.home, gone)) is None, "nobody sees a part of it"
            assert desk.store.run(grow(desk.home, gone, seed(0, "late"), after=[], adder=b"")) == ENDED
        later = plant(
            desk.home, unsown, sower=b"me", again=False, head=b"", size=300, terms=TERMS, seeds=seeds_of(nodes)
        )
        next(later)
        assert not desk.store.run(next(later)), "what was forgotten is not gone on with"
        deliver(desk)
    left = desk.dump()
    for name in ("flows", "nodes", "values", "drafts", "member", "msg", "tomb", "res", "done", "outbox"):
        assert not getattr(left, name), name
    assert not desk.store.run(next(begun)), "what was forgotten is not gone on with"
    assert desk.store.run(graph(desk.home, flow)) is None


def test_results_too_large_for_one_job_fail_it(desk: Desk) -> None:
    """By a clear error; the flow ends."""
    nodes = [*(Drawn({}) for _ in range(18)), Drawn(dict.fromkeys(range(18), "fail"))]
    flow = store(desk, seeds_of(nodes))
    for lease in desk.take(ME, 50):
        desk.settle(ME, lease, record=b"x" * 1_000_000)
    found = stands(desk, flow)
    assert (found.state, found.nodes[18].state) == (JobState.FAILED, JobState.FAILED)
    error = outcome.decode(desk.look(found.nodes[18].job).record).attempt.error
    assert error is not None
    assert error.type == "MessageTooLarge"


@pytest.mark.parametrize("what", ["stop", "forget"])
def test_a_flow_is_gone_through_thirty_nodes_at_a_time(desk: Desk, what: str) -> None:
    """What is left goes on by a parcel."""
    flow = store(desk, seeds_of([Drawn({}) for _ in range(120)]))
    desk.cancel(flow)
    if what == "forget":
        deliver(desk)
        desk.let_tombstones_expire(*desk.dump().tomb)
        while desk.sweep().expired:
            pass
    before = desk.dump()
    desk.store.run(advance(desk.home, what.encode(), flow, b"0"))
    after = desk.dump()
    touched = len(before.msg) - len(after.msg) if what == "stop" else len(before.nodes) - len(after.nodes)
    assert touched == 30
    deliver(desk)
    left = desk.dump()
    assert not (left.msg if what == "stop" else {**left.nodes, **left.flows, **left.member})


def test_a_flow_that_is_damaged_holds_up_no_other(desk: Desk) -> None:
    """Both were put off in the same queue; the trouble is told, and the other one goes on."""
    nodes = [Drawn({}), *(Drawn({0: "fail"}) for _ in range(300))]
    flows = [store(desk, seeds_of(nodes)) for _ in range(2)]
    for lease in desk.take(ME, 5):
        desk.settle(ME, lease)
    assert len(desk.dump().outbox) == 2
    root = flows[0] + bytes(4)
    sound = desk.redis.hget(desk.key("nodes"), root)
    desk.redis.hset(desk.key("nodes"), root, b"\xc1")
    with pytest.raises(StoreError, match="Bad data format"):
        Courier(desk.store, desk.home.namespace, [desk.home], HOUR).deliver(0)
    assert all(node.state is JobState.QUEUED for node in stands(desk, flows[1]).nodes[1:])
    desk.redis.hset(desk.key("nodes"), root, sound)


def test_a_large_result_goes_to_few_at_a_time(desk: Desk) -> None:
    """A call that copied it for all that are given it would hold up the server."""
    store(desk, seeds_of([Drawn({}), *(Drawn({0: "fail"}) for _ in range(20))]))
    (lease,) = desk.take(ME, 5)
    desk.settle(ME, lease, record=b"x" * 1_000_000)
    assert len(desk.dump().ready) == 2
    deliver(desk)
    assert len(desk.dump().ready) == 20


def test_what_runs_again_is_given_large_results_a_few_at_a_time(desk: Desk) -> None:
    """As when they come."""
    nodes = [Drawn({}), *(Drawn({0: "fail"}) for _ in range(20))]
    flow = store(desk, seeds_of(nodes))
    (lease,) = desk.take(ME, 5)
    desk.settle(ME, lease, record=b"x" * 1_000_000)
    deliver(desk)
    desk.settle(ME, *desk.take(ME, 50), state=JobState.FAILED)
    store(desk, again(stands(desk, flow).nodes, range(1, 21)), flow, again=True, size=21)
    assert len(desk.dump().ready) == 2
    deliver(desk)
    assert len(desk.dump().ready) == 20


def test_what_is_added_while_others_are_told_is_told_with_them(desk: Desk) -> None:
    """The one that it waits for has ended, and those that do have not all heard of it."""
    count = 2000
    flow = store(desk, seeds_of([Drawn({}), *(Drawn({0: "fail"}) for _ in range(count))]))
    (lease,) = desk.take(ME, 5)
    desk.settle(ME, lease)
    assert {name[:1] for name in desk.dump().outbox} == {b"a"}
    waiting = len(desk.dump().ready)
    new = grow(desk.home, flow, seed(0, f"n{count + 1}"), after=[(0, "fail")], adder=b"")
    assert desk.store.run(new) == count + 1
    assert len(desk.dump().ready) == waiting
    deliver(desk)
    assert len(desk.dump().ready) == count + 1
    late = grow(desk.home, flow, seed(0, f"n{count + 2}"), after=[(0, "fail")], adder=b"")
    assert desk.store.run(late) == count + 2
    assert len(desk.dump().ready) == count + 2
    while leases := desk.take(ME, 500):
        desk.settle(ME, *leases)
    found = stands(desk, flow)
    assert (found.state, found.open) == (JobState.SUCCEEDED, 0)
    desk.dump()


def test_what_was_put_off_in_one_run_of_a_flow_starts_nothing_in_the_next(desk: Desk) -> None:
    """One that has succeeded was still telling it when the flow was called off and then sent back."""
    count = 2000
    nodes = [Drawn({}), Drawn({}), *(Drawn({0: "fail"}) for _ in range(count)), Drawn({0: "fail", 1: "fail"})]
    flow = store(desk, seeds_of(nodes))
    leases = {name_of(lease): lease for lease in desk.take(ME, 2)}
    desk.settle(ME, leases["0"])
    assert {name[:1] for name in desk.dump().outbox} == {b"a"}
    desk.cancel(flow)
    for place in range(0, count + 3, STEP):
        desk.store.run(advance(desk.home, b"stop", flow, b"%d" % place))
    desk.settle(ME, leases["1"], state=JobState.CANCELLED)
    assert stands(desk, flow).state is JobState.CANCELLED
    nodes_then = [node for first in range(0, count + 3, 500) for node in page(desk, flow, first)]
    store(desk, again(nodes_then, range(1, count + 3)), flow, again=True, size=count + 3)
    deliver(desk)
    leases = {name_of(lease): lease for lease in desk.take(ME, 5000)}
    assert leases.keys() == {str(place) for place in range(1, count + 2)}
    for first in range(0, len(leases), 500):
        desk.settle(ME, *list(leases.values())[first : first + 500])
    deliver(desk)
    assert [name_of(lease) for lease in desk.take(ME, 5)] == [str(count + 2)]
    desk.dump()


def page(desk: Desk, flow: bytes, first: int) -> list[Node]:
    """Some of its nodes."""
    found = desk.store.run(graph(desk.home, flow, first=first))
    assert found is not None
    return found.nodes


def test_a_settle_costs_no_more_in_a_wide_flow(desk: Desk) -> None:
    """A hundred of five thousand that one waits for, in the server's own time, and a hundred of a hundred."""

    def hundredth(width: int) -> float:
        store(desk, seeds_of([*(Drawn({}) for _ in range(width)), Drawn(dict.fromkeys(range(width), "ignore"))]))
        times = []
        for _ in range(width // 100):
            leases = desk.take(ME, 100)
            before = spent(desk)
            desk.settle(ME, *leases)
            times.append(spent(desk) - before)
        assert len(desk.take(ME, 5)) == 1
        return statistics.median(times)

    narrow = statistics.median(hundredth(100) for _ in range(10))
    assert hundredth(5000) < 3 * narrow


def spent(desk: Desk) -> int:
    """Microseconds in scripts so far."""
    return int(desk.redis.info("commandstats")["cmdstat_evalsha"]["usec"])


def test_whoever_adds_looks_again_where_others_have_added(desk: Desk) -> None:
    """And a flow has an end to its size."""
    flow = store(desk, seeds_of([Drawn({})]))
    call = grow(desk.home, flow, seed(0, "n1"), after=[(0, "fail")], adder=b"", seen=1)
    assert desk.store.run(call) == 1
    late = grow(desk.home, flow, seed(0, "n2"), after=[(0, "fail")], adder=b"", seen=1)
    assert unchanged(desk, lambda: desk.store.run(late)) == GROWN
    assert desk.store.run(call) == 1, "what is sent twice is there once"
    desk.redis.hset(desk.key("flows"), flow + b"size", MOST_NODES)
    late = grow(desk.home, flow, seed(0, "n2"), after=[], adder=b"")
    assert desk.store.run(late) == FULL


def test_a_job_that_very_many_wait_for_adds_none(desk: Desk) -> None:
    """Each of them would have to be told."""
    for count, answer in ((1000, 1001), (1001, WIDE)):
        flow = store(desk, seeds_of([Drawn({}), *(Drawn({0: "fail"}) for _ in range(count))]))
        (lease,) = desk.take(ME, 5)
        call = grow(desk.home, flow, seed(0, "new"), after=[], adder=lease.id)
        assert desk.store.run(call) == answer
        outside = grow(desk.home, flow, seed(0, "more"), after=[(0, "fail")], adder=b"")
        assert desk.store.run(outside) == 1002
        desk.settle(ME, lease)
        deliver(desk)
        while leases := desk.take(ME, 500):
            desk.settle(ME, *leases)
            deliver(desk)
        assert stands(desk, flow).state is JobState.SUCCEEDED


def test_a_job_of_a_flow_that_is_being_forgotten_can_end(desk: Desk) -> None:
    """What waited for it is gone, and so perhaps is half of the flow."""
    roots = [Drawn({}) for _ in range(150)]
    nodes = [*roots, *(Drawn({place: "fail"}) for place in range(150))]
    unsown = ids.new_raw()
    calls = list(
        plant(desk.home, unsown, sower=b"me", again=False, head=b"", size=300, terms=TERMS, seeds=seeds_of(nodes))
    )
    for call in calls[:-1]:
        assert desk.store.run(call)
    leases = desk.take(ME, 50)
    assert leases
    desk.let_tombstones_expire(unsown)
    while desk.sweep().more:
        pass
    for _ in range(3):
        for lease in leases[:10]:
            desk.store.run(lookup(desk.home, lease.id, all=True))
        assert set(desk.settle(ME, *leases[:10])) == {Verdict.OK}
        leases = leases[10:]
        desk.store.run(advance(desk.home, b"forget", unsown, b"0"))
        desk.dump()
    desk.settle(ME, *leases)
    deliver(desk)
    left = desk.dump()
    assert not {**left.nodes, **left.edges, **left.flows, **left.member}


def test_a_queue_that_takes_nothing_holds_up_no_other(desk: Desk, server_url: str) -> None:
    """Its parcels wait, the others are struck off, and the trouble is told."""
    namespace = desk.home.namespace
    for queue in ("broken", "fine"):
        store(desk, [elsewhere(each, queue) for each in seeds_of([Drawn({})])])
    broken, fine = (Desk(server_url, namespace, queue=queue) for queue in ("broken", "fine"))
    desk.redis.set(broken.key("tomb"), "no hash")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        Courier(desk.store, namespace, [desk.home], HOUR).deliver(0)
    assert len(fine.take(ME, 5)) == 1
    desk.redis.delete(broken.key("tomb"))
    broken.close()
    fine.close()
