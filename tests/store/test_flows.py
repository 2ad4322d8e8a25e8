"""Flows: nodes are put in line when what they wait for has ended, each once, and the whole ends when all have."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaff.model import ids
from quaff.model.flow import POLICIES, again
from quaff.model.states import LETTER, JobState
from quaff.store.flows import ENDED, advance, grow, plant
from quaff.store.parcels import deliveries, outgoing, sent
from quaff.store.transitions import STEP, Verdict, requeue
from tests.store.engine import HOUR, Desk, process_id, unchanged
from tests.store.flows import ME, TERMS, Drawn, deliver, elsewhere, name_of, run_all, seed, seeds_of, stands, store

ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED]


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


def test_the_last_job_of_a_group_ends_twice_and_is_followed_once(desk: Desk) -> None:
    """F68: its process had fallen silent, another run came to the end first, and then the late one did."""
    flow = store(desk, seeds_of([Drawn({}), Drawn({}), Drawn({0: "fail", 1: "fail"})]))
    first, late = desk.take(ME, 2)
    desk.settle(ME, first, record=b"first")
    desk.let_lapse(ME)
    desk.sweep()
    other = process_id()
    (again,) = desk.take(other, 5, idle=True)
    assert again.id == late.id
    assert desk.settle(other, again, record=b"again") == [Verdict.OK]
    assert unchanged(desk, lambda: desk.settle(ME, late, record=b"late")) == [Verdict.FENCED]
    assert unchanged(desk, lambda: desk.settle(other, again, record=b"again")) == [Verdict.ALREADY]
    (last,) = desk.take(other, 5)
    assert (b"again" in last.message, b"late" in last.message) == (True, False)
    desk.settle(other, last)
    assert stands(desk, flow).ended[JobState.SUCCEEDED] == 3


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


def test_what_failed_is_sent_back_with_its_flow_and_not_once_more_alone(desk: Desk) -> None:
    """Its dead letter goes when it gets another run; what is known of its end stays."""
    flow = store(desk, seeds_of([Drawn({}, JobState.FAILED)]))
    run_all(desk, {"0": JobState.FAILED}, random.Random(1))
    (letter,) = desk.dump().dead
    before = desk.look(letter).record
    store(desk, again(stands(desk, flow).nodes, [0]), flow, again=True, size=1)
    dump = desk.dump()
    assert not dump.dead
    assert len(dump.msg) == 1
    assert desk.store.run(requeue(desk.home, [letter])) == [b"f"], "it is discarded"
    assert desk.look(letter).record == before
    assert run_all(desk, {"0": JobState.SUCCEEDED}, random.Random(1)) == ["0"]
    assert desk.dump().number("dead_bytes") == 0


def test_another_run_that_ends_at_once_expires_as_any(desk: Desk) -> None:
    """What is for the case of a failure alone, and is sent back alone, has nothing to do."""
    flow = store(desk, seeds_of([Drawn({}), Drawn({0: "continue"}, case="failure")]))
    run_all(desk, {"0": JobState.SUCCEEDED}, random.Random(1))
    seeds = again(stands(desk, flow).nodes, [1])
    (call,) = plant(desk.home, flow, sower=b"me", again=True, head=b"", size=2, terms=TERMS, seeds=seeds)
    assert desk.store.run(call)
    assert stands(desk, flow).state is JobState.SUCCEEDED
    assert flow in desk.dump().done
    assert unchanged(desk, lambda: desk.store.run(call))


def test_what_joins_while_another_run_is_stored_waits_for_that_run(desk: Desk) -> None:
    """Part after part is stored, and the last ones still stand as they ended before."""
    nodes = [Drawn({}, JobState.FAILED) for _ in range(STEP + 1)]
    flow = store(desk, seeds_of(nodes))
    run_all(desk, {str(place): node.end for place, node in enumerate(nodes)}, random.Random(1))
    seeds = again(stands(desk, flow).nodes, range(STEP + 1))[::-1]
    first, second = plant(desk.home, flow, sower=b"me", again=True, head=b"", size=STEP + 1, terms=TERMS, seeds=seeds)
    assert desk.store.run(first)
    late = grow(desk.home, flow, seed(0, f"n{STEP + 1}"), after=[(0, "fail"), (1, "fail")], adder=b"")
    assert desk.store.run(late) == STEP + 1
    assert desk.store.run(second)
    desk.dump()
    order = run_all(
        desk, dict.fromkeys([str(place) for place in range(STEP + 2)], JobState.SUCCEEDED), random.Random(1)
    )
    assert order.index(str(STEP + 1)) > max(order.index("0"), order.index("1"))
    assert stands(desk, flow).state is JobState.SUCCEEDED


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
    new = seed(0, "n2")
    call = grow(desk.home, flow, new, after=[], adder=lease.id)
    assert [desk.store.run(call), desk.store.run(call)] == [2, 2]
    behind = grow(desk.home, flow, seed(0, "n3"), after=[(0, "fail"), (1, "continue")], adder=b"")
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
    assert desk.store.run(grow(desk.home, flow, seed(0, "n4"), after=[], adder=b"")) == ENDED
    desk.dump()


def test_what_is_added_behind_one_that_has_ended_comes_after_its_next_run(desk: Desk) -> None:
    """As what was behind it from the beginning, with the same policies."""
    flow = store(desk, seeds_of([Drawn({}, JobState.FAILED), Drawn({})]))
    leases = {name_of(lease): lease for lease in desk.take(ME, 2)}
    desk.settle(ME, leases["0"], state=JobState.FAILED)
    for name, policy in (("n2", "fail"), ("n3", "continue")):
        desk.store.run(grow(desk.home, flow, seed(0, name), after=[(0, policy)], adder=b""))
    desk.settle(ME, leases["1"])
    assert run_all(desk, {"3": JobState.SUCCEEDED}, random.Random(1)) == ["3"]
    found = stands(desk, flow)
    assert [LETTER[node.state] for node in found.nodes if node.state] == ["f", "s", "c", "s"]
    store(desk, again(found.nodes, [0, 2]), flow, again=True, size=4)
    order = run_all(desk, dict.fromkeys(["0", "2", "3"], JobState.SUCCEEDED), random.Random(1))
    assert (order[0], {*order[1:]}) == ("0", {"2", "3"})
    assert stands(desk, flow).state is JobState.SUCCEEDED


def test_a_node_in_another_queue_ends_at_home(desk: Desk, server_url: str) -> None:
    """It travels when it is put in line, and its end is told where it waited."""
    nodes = [Drawn({}), Drawn({0: "fail"})]
    seeds = seeds_of(nodes)
    flow = store(desk, [elsewhere(each, "slow") for each in seeds])
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


def test_advancing_an_unknown_flow_is_nothing(desk: Desk) -> None:
    """A parcel may come when all is over."""
    nobody = ids.new_raw()
    steps = [(b"ended", nobody + b"\0" * 4, b"1"), (b"stop", nobody, b"0"), (b"forget", nobody, b"0")]
    for step in itertools.chain(steps, steps):
        unchanged(desk, lambda step=step: desk.store.run(advance(desk.home, *step)))
