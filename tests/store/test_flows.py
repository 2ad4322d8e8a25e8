"""Flows: nodes are put in line when what they wait for has ended, each once, and the whole ends when all have."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaff.model import ids, outcome
from quaff.model.flow import POLICIES, Seed, Spec, again, leaves_first
from quaff.model.states import LETTER, JobState
from quaff.store.flows import Graph, Terms, advance, graph, grow, plant
from quaff.store.parcels import deliveries, outgoing, sent
from quaff.store.transitions import Lease, Verdict, requeue
from tests.store.engine import HOUR, Desk, process_id, unchanged

ME = process_id()
TERMS = Terms(HOUR, HOUR)
ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED]


class Drawn(NamedTuple):
    """A node of a test: whom it waits for and with which policy, how it ends if it runs, whether it is undone."""

    parents: dict[int, str]
    end: JobState = JobState.SUCCEEDED
    undone: bool = False
    case: str = ""


def seeds_of(nodes: Sequence[Drawn]) -> list[Seed]:
    """In the order in which they are stored."""
    children: dict[int, list[tuple[int, str]]] = {place: [] for place in range(len(nodes))}
    for place, node in enumerate(nodes):
        for parent, policy in node.parents.items():
            children[parent].append((place, policy))
    undoers = {place: len(nodes) + n for n, place in enumerate(p for p, node in enumerate(nodes) if node.undone)}
    found = [
        _seed(
            place,
            f"n{place}",
            needs=len(nodes[place].parents),
            case=nodes[place].case,
            children=children[place],
            inputs=list(nodes[place].parents),
            undo=undoers.get(place, -1),
        )
        for place in leaves_first({place: [child for child, _ in below] for place, below in children.items()})
    ]
    return found + [_seed(undoer, f"n{place}/undo", state="u", inputs=[place]) for place, undoer in undoers.items()]


def _seed(place: int, name: str, **given: Any) -> Seed:
    values = {"state": "", "needs": 0, "case": "", "children": [], "inputs": [], "undo": -1, **given}
    spec = Spec(missed=0, lost=0, due_ms=0, delay_ms=0, name=name, **values)
    return Seed(place, ids.new_raw(), b"\x01" + name.encode(), b"", b"\x90", spec)


def store(desk: Desk, seeds: Sequence[Seed], flow: bytes | None = None, **given: Any) -> bytes:
    """Plant a flow; its id."""
    flow = flow or ids.new_raw()
    options = {"sower": ids.new_raw(), "again": False, "head": b"head", "size": len(seeds), "terms": TERMS, **given}
    for call in plant(desk.home, flow, seeds=seeds, **options):
        assert desk.store.run(call)
        assert desk.store.run(call), "what is sent again is there"
    return flow


def stands(desk: Desk, flow: bytes) -> Graph:
    """All of a flow."""
    found = desk.store.run(graph(desk.home, flow, records=True))
    assert found is not None
    return found


def deliver(desk: Desk) -> None:
    """What the supervisors do, until there is nothing to deliver."""
    namespace = desk.home.prefix.partition("{")[2].partition("/")[0]
    while parcels := desk.store.run(outgoing(desk.home, hold_ms=60_000)):
        for call, names in deliveries(namespace, parcels, window_ms=HOUR):
            desk.store.run(call)
            desk.store.run(call)
            desk.store.run(sent(desk.home, again_ms=60_000, names=names))


def name_of(lease: Lease) -> str:
    """The name of a node by its message."""
    return lease.message.rpartition(b"\x01n")[2].decode()


def run_all(desk: Desk, ends: dict[str, JobState], choice: random.Random) -> list[str]:
    """Claim and settle, in any order, until nothing is left; the names in the order in which they ended."""
    order: list[str] = []
    held: list[Lease] = []
    while True:
        held += desk.take(ME, 3)
        if not held:
            deliver(desk)
            held += desk.take(ME, 3)
            if not held:
                return order
        lease = held.pop(choice.randrange(len(held)))
        state = ends[name_of(lease)]
        record = outcome.encode(outcome.Outcome(name_of(lease), 0, outcome.Attempt(1, 0, 0, "", 0, state)))
        assert desk.settle(ME, lease, state=state, record=record) == [Verdict.OK]
        assert unchanged(desk, lambda lease=lease: desk.settle(ME, lease)) == [Verdict.ALREADY]
        order.append(name_of(lease))


def expected(nodes: Sequence[Drawn]) -> tuple[list[JobState], bool]:
    """How each node ends, and whether the whole has failed: the rules, told once more."""
    ends: list[JobState] = []
    spared: set[int] = set()
    failed = False
    policies: dict[int, list[str]] = {}
    for node in nodes:
        for parent, policy in node.parents.items():
            policies.setdefault(parent, []).append(policy)
    for place, node in enumerate(nodes):
        lost = [
            policy
            for parent, policy in node.parents.items()
            if ends[parent] is not JobState.SUCCEEDED and parent not in spared
        ]
        spared |= {place} if node.case and not lost else set()
        if (node.case and not lost) or (not node.case and "fail" in lost):
            ends.append(JobState.CANCELLED)
            continue
        ends.append(node.end)
        below = policies.get(place, [])
        failed |= node.end is not JobState.SUCCEEDED and (not below or set(below) != {"ignore"})
    return ends, failed


@st.composite
def flows(draw: st.DrawFn) -> list[Drawn]:
    """Any graph without a circle."""
    nodes: list[Drawn] = []
    for place in range(draw(st.integers(1, 8))):
        parents = draw(st.lists(st.integers(0, place - 1), unique=True, max_size=3)) if place else []
        edges = {parent: draw(st.sampled_from(POLICIES)) for parent in parents}
        case = draw(st.sampled_from(["", "", "", "failure"])) if edges else ""
        nodes.append(Drawn(edges, draw(st.sampled_from([ENDS[0], *ENDS])), draw(st.booleans()), case))
    return nodes


@pytest.fixture(scope="module")
def module_desk(server_url: str) -> Iterator[Desk]:
    """For hypothesis, which wants no new one for each example."""
    desk = Desk(server_url, f"flows{ids.new_raw().hex()}")
    yield desk
    desk.close()


@settings(deadline=None, max_examples=60)
@given(nodes=flows(), seed=st.integers(0, 1000))
def test_any_flow_ends_as_its_edges_say(module_desk: Desk, nodes: list[Drawn], seed: int) -> None:
    """Each node runs once or not at all, after those it waits for; undone is what succeeded, the last first."""
    desk = module_desk
    flow = store(desk, seeds_of(nodes))
    ends = {str(place): node.end for place, node in enumerate(nodes)}
    ends |= {f"{place}/undo": JobState.SUCCEEDED for place in range(len(nodes))}
    order = run_all(desk, ends, random.Random(seed))
    states, failed = expected(nodes)
    found = stands(desk, flow)
    assert [node.state for node in found.nodes[: len(nodes)]] == states
    assert found.state is (JobState.FAILED if failed else JobState.SUCCEEDED)
    for node, own in zip(nodes, found.nodes, strict=False):
        assert not own.spared or (node.case and own.state is JobState.CANCELLED)
    assert len(order) == len(set(order))
    ran = [name for name in order if "/" not in name]
    for place, node in enumerate(nodes):
        for parent in node.parents:
            assert str(place) not in ran or str(parent) not in ran or ran.index(str(parent)) < ran.index(str(place))
    done = [name for name in ran if ends[name] is JobState.SUCCEEDED and nodes[int(name)].undone]
    undone = [name.partition("/")[0] for name in order if "/" in name]
    assert undone == (done[::-1] if failed else [])
    dump = desk.dump()
    assert flow in dump.tomb
    assert not dump.outbox


def test_a_node_is_given_the_results_of_others(desk: Desk) -> None:
    """In its message, before its own bytes; an empty one for what was not to matter."""
    nodes = [Drawn({}), Drawn({}, JobState.FAILED), Drawn({0: "fail", 1: "ignore"})]
    flow = store(desk, seeds_of(nodes))
    for lease in desk.take(ME, 5):
        state = nodes[int(name_of(lease))].end
        desk.settle(ME, lease, state=state, record=b"it is " + name_of(lease).encode())
    (lease,) = desk.take(ME, 5)
    records = b"\x00\x00\x00\x07it is 0\x00\x00\x00\x00"
    assert lease.message == b"\x04" + len(records).to_bytes(4, "big") + records + b"\x01n2"
    desk.settle(ME, lease)
    assert stands(desk, flow).state is JobState.SUCCEEDED


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
            assert desk.store.run(grow(desk.home, gone, _seed(0, "late"), after=[], adder=b"")) is None
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


@pytest.mark.parametrize("how", ["waiting", "running"])
def test_a_cancelled_flow_starts_nothing_more(desk: Desk, how: str) -> None:
    """What waits ends, what runs is asked, and what was done is undone."""
    nodes = [Drawn({}, undone=True), Drawn({0: "fail"}), Drawn({1: "ignore"}), Drawn({})]
    flow = store(desk, seeds_of(nodes))
    leases = {name_of(lease): lease for lease in desk.take(ME, 2)}
    desk.settle(ME, leases["0"], record=b"zero")
    if how == "running":
        leases |= {name_of(lease): lease for lease in desk.take(ME, 2)}
    assert desk.cancel(flow, outcome=b"called off") == [b"r"]
    unchanged(desk, lambda: desk.cancel(flow, outcome=b"again"))
    deliver(desk)
    for name in leases.keys() - {"0"}:
        assert desk.settle(ME, leases[name], state=JobState.RETRYING, ttl_ms=1) == [1]
    (undo,) = desk.take(ME, 5)
    assert undo.message.endswith(b"\x01n0/undo")
    assert b"zero" in undo.message
    desk.settle(ME, undo)
    found = stands(desk, flow)
    assert found.state is JobState.CANCELLED
    assert desk.look(flow).record == b"called off"
    assert [node.state for node in found.nodes[1:4]] == [JobState.CANCELLED] * 3
    assert desk.cancel(flow) == [b"c"]
    desk.dump()


def test_a_flow_that_failed_runs_again_from_where_it_failed(desk: Desk) -> None:
    """What had succeeded stays; the others get another run under another id, with the message they had."""
    nodes = [Drawn({}), Drawn({0: "fail"}, JobState.FAILED), Drawn({0: "fail", 1: "fail"}), Drawn({})]
    flow = store(desk, seeds_of(nodes))
    run_all(desk, {str(place): node.end for place, node in enumerate(nodes)}, random.Random(2))
    before = stands(desk, flow)
    assert before.state is JobState.FAILED
    (letter,) = desk.dump().dead
    assert desk.store.run(requeue(desk.home, [letter])) == [b"u"], "one by one they are not sent back"
    seeds = again(before.nodes, [1, 2])
    store(desk, seeds, flow, again=True, size=4)
    assert stands(desk, flow).state is None
    assert run_all(desk, {"1": JobState.SUCCEEDED, "2": JobState.SUCCEEDED}, random.Random(3)) == ["1", "2"]
    after = stands(desk, flow)
    assert after.state is JobState.SUCCEEDED
    same = [one.job == two.job for one, two in zip(before.nodes, after.nodes, strict=True)]
    assert same == [True, False, False, True]
    late = plant(
        desk.home, flow, sower=b"late", again=True, head=b"", size=4, terms=TERMS, seeds=again(after.nodes, [0])
    )
    store(desk, again(after.nodes, [3]), flow, again=True, size=4)
    assert not desk.store.run(next(late)), "two at a time"
    desk.dump()


def test_another_run_that_is_sent_again_after_its_end_changes_nothing(desk: Desk) -> None:
    """The reply was lost, and the job was quick."""
    flow = store(desk, seeds_of([Drawn({}, JobState.FAILED)]))
    run_all(desk, {"0": JobState.FAILED}, random.Random(1))
    seeds = again(stands(desk, flow).nodes, [0])
    (call,) = plant(desk.home, flow, sower=b"me", again=True, head=b"", size=1, terms=TERMS, seeds=seeds)
    assert desk.store.run(call)
    run_all(desk, {"0": JobState.SUCCEEDED}, random.Random(1))
    assert unchanged(desk, lambda: desk.store.run(call))
    assert stands(desk, flow).state is JobState.SUCCEEDED


def test_a_flow_grows_while_it_runs(desk: Desk) -> None:
    """Who waits for the one that adds waits for the new one, too; nothing is added to what has ended."""
    nodes = [Drawn({}), Drawn({0: "fail"})]
    flow = store(desk, seeds_of(nodes))
    (lease,) = desk.take(ME, 5)
    new = _seed(0, "n2")
    call = grow(desk.home, flow, new, after=[], adder=lease.id)
    assert [desk.store.run(call), desk.store.run(call)] == [2, 2]
    behind = grow(desk.home, flow, _seed(0, "n3"), after=[(0, "fail"), (1, "continue")], adder=b"")
    assert desk.store.run(behind) == 3
    desk.settle(ME, lease)
    (lease,) = desk.take(ME, 5)
    assert lease.message == b"\x01n2"
    desk.dump()
    desk.settle(ME, lease, state=JobState.FAILED)
    (lease,) = desk.take(ME, 5)
    assert lease.message == b"\x01n3"
    desk.settle(ME, lease)
    found = stands(desk, flow)
    assert [LETTER[node.state] for node in found.nodes if node.state] == ["s", "c", "f", "s"]
    assert found.state is JobState.FAILED
    assert desk.store.run(grow(desk.home, flow, _seed(0, "n4"), after=[], adder=b"")) is None
    desk.dump()


def test_a_node_in_another_queue_ends_at_home(desk: Desk, server_url: str) -> None:
    """It travels when it is put in line, and its end is told where it waited."""
    nodes = [Drawn({}), Drawn({0: "fail"})]
    seeds = seeds_of(nodes)
    elsewhere = b"\x97\x00\xa0\xa4done\xa0\x01\x90\xa6slow#0"
    flow = store(desk, [Seed(s.place, s.id, s.message, elsewhere, s.numbers, s.spec) for s in seeds])
    there = Desk(server_url, desk.home.prefix.partition("{")[2].partition("/")[0], queue="slow")
    for _ in nodes:
        deliver_once(desk)
        (lease,) = there.take(ME, 5)
        there.settle(ME, lease, record=b"r")
        deliver_once(there)
    assert stands(desk, flow).state is JobState.SUCCEEDED
    assert not there.dump().msg
    desk.dump()
    there.close()


def deliver_once(desk: Desk) -> None:
    """One turn of a worker: a journey stays on the list, so that this would not end by itself."""
    namespace = desk.home.prefix.partition("{")[2].partition("/")[0]
    parcels = desk.store.run(outgoing(desk.home, hold_ms=60_000))
    for call, names in deliveries(namespace, parcels, window_ms=HOUR):
        desk.store.run(call)
        desk.store.run(sent(desk.home, again_ms=60_000, names=names))


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
def test_many_flows_are_gone_through_a_hundred_nodes_at_a_time(desk: Desk, what: str) -> None:
    """Whatever number of parcels comes in one call; what is left goes on by parcels of its own."""
    flows = [store(desk, seeds_of([Drawn({}) for _ in range(40)])) for _ in range(10)]
    desk.cancel(*flows)
    if what == "forget":
        deliver(desk)
        desk.let_tombstones_expire(*desk.dump().tomb)
        while desk.sweep().expired:
            pass
    before = desk.dump()
    desk.store.run(advance(desk.home, [(what.encode(), flow, b"0") for flow in flows]))
    after = desk.dump()
    touched = len(before.msg) - len(after.msg) if what == "stop" else len(before.nodes) - len(after.nodes)
    assert touched == 100
    deliver(desk)
    left = desk.dump()
    assert not (left.msg if what == "stop" else {**left.nodes, **left.flows, **left.member})


def test_a_large_result_goes_to_few_at_a_time(desk: Desk) -> None:
    """A call that copied it for all that are given it would hold up the server."""
    store(desk, seeds_of([Drawn({}), *(Drawn({0: "fail"}) for _ in range(20))]))
    (lease,) = desk.take(ME, 5)
    desk.settle(ME, lease, record=b"x" * 1_000_000)
    assert len(desk.dump().ready) == 2
    deliver(desk)
    assert len(desk.dump().ready) == 20


def test_advancing_an_unknown_flow_is_nothing(desk: Desk) -> None:
    """A parcel may come when all is over."""
    nobody = ids.new_raw()
    steps = [(b"ended", nobody + b"\0" * 4, b"1"), (b"stop", nobody, b"0"), (b"forget", nobody, b"0")]
    for step in itertools.chain(steps, steps):
        unchanged(desk, lambda step=step: desk.store.run(advance(desk.home, [step])))
