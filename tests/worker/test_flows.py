"""Flows with real workers: fan-ins under SIGKILL, policies, callbacks, compensation, what is added while they run."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from quaff import (
    JobCancelled,
    JobFailed,
    JobNotFound,
    Quaff,
    ResultTimeout,
    chain,
    chord,
    group,
    starmap,
    workflow,
)
from quaff.store.keys import NAMES, SEEN
from quaff.task import Task
from tests.helpers import wait_until
from tests.proxy import Proxy
from tests.store.engine import Desk
from tests.store.flows import deliver
from tests.worker import flowapp
from tests.worker.support import Stage, children, kill

APP = "tests.worker.flowapp:quaff"
#: How many fan-ins, and of how many each.
FANS, WIDTH = (1000, 200) if os.environ.get("FULL") else (12, 200)
#: How many flows of all kinds.
KINDS = 1000 if os.environ.get("FULL") else 60


class Flows:
    """The tasks of flowapp.py on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.quaff = Quaff(stage.url, namespace=stage.namespace)
        for name, task in flowapp.quaff.tasks.items():
            self.quaff.tasks[name] = Task(self.quaff, task.name, task.fn, task.settings)

    def __getattr__(self, name: str) -> Task[Any, Any, Any]:
        return self.quaff.tasks[name]

    def starts(self) -> Counter[str]:
        """How often each has begun."""
        return Counter(run.tag for run in self.stage.runs())


@pytest.fixture
def alone(stage: Stage) -> Flows:
    """A stage without a worker."""
    return Flows(stage)


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    """One worker for the tests that leave it alone."""
    stage = Stage(server_url, tmp_path_factory.mktemp("flows"))
    stage.worker("-p", "1", "-c", "4", app=APP)
    yield Flows(stage)
    stage.end()


def test_each_gets_the_result_before_it(shared: Flows) -> None:
    """A chain, through another queue and back; a group in the middle gives a list."""
    flow = chain(
        shared.part.si("c1", 1), shared.elsewhere.s("c2"), group(shared.part.si("c3", 3), shared.elsewhere.s("c4"))
    ).delay()
    assert flow.result(timeout=20) == [3, 3]
    assert flow.state == "succeeded"
    assert [node.state for node in flow.graph()] == ["succeeded"] * 4
    assert shared.quaff.flow(flow.id).job("elsewhere").result(timeout=1) == 2
    assert starmap(shared.part, [("m", 1), ("m", 2)]).delay().result(timeout=20) == [1, 2]


def test_results_are_passed_by_name(shared: Flows) -> None:
    """A diamond, declared in any order, and a chain as one of its jobs."""
    work = workflow()
    work.add("end", shared.gather.s([work["left"], work["right"]], "d4"))
    work.add("left", shared.part.s("d2", 10, work["top"]))
    work.add("right", chain(shared.part.s("d3", 20, work["top"]), shared.elsewhere.s("d5")))
    work.add("top", shared.part.s("d1", 1))
    flow = work.delay()
    assert flow.result(timeout=20) == {"top": 1, "left": 11, "right": 22, "end": 33}
    top, left, end = (flow.job(name).info() for name in ("top", "left", "end"))
    assert (top.flow, top.parents, left.parents) == (flow.id, [], [top.id])
    assert left.children == [end.id]
    assert left.id in end.parents
    assert len(end.parents) == len(top.children) == 2


def test_a_policy_says_what_a_failure_is_to_those_behind_it(shared: Flows) -> None:
    """It stops, or goes on as failed, or goes on as if nothing had been."""
    for policy, state, ran in (("fail", "failed", 0), ("continue", "failed", 1), ("ignore", "succeeded", 1)):
        work = workflow()
        work.add("bad", shared.fails.s(f"bad {policy}"))
        work.add("next", shared.told.si(f"next {policy}"), after="bad", if_failed=policy)  # type: ignore[arg-type]
        flow = work.delay()
        if state == "failed":
            with pytest.raises(JobFailed, match=f"ValueError: bad: bad {policy}"):
                flow.result(timeout=20)
        else:
            assert flow.result(timeout=20) == {"bad": None, "next": None}
        assert flow.state == state
        assert shared.starts()[f"next {policy}"] == ran


def test_callbacks_of_a_group_run_when_all_have_ended(shared: Flows) -> None:
    """On success, on failure and in any case, for the group and, apart, for a group in it."""
    for bad in (False, True):
        inner = group(
            shared.fails.si(f"x{bad}") if bad else shared.part.si(f"x{bad}", 1),
            on_success=shared.told.si(f"inner success {bad}"),
            on_complete=shared.told.si(f"inner complete {bad}"),
        )
        flow = group(
            inner,
            shared.part.si(f"y{bad}", 2),
            on_success=shared.heard.s(f"success {bad}"),
            on_failure=shared.told.si(f"failure {bad}"),
            on_complete=shared.told.si(f"complete {bad}"),
        ).delay()
        wait_until(lambda flow=flow: flow.state.terminal, 20)
        assert flow.state == ("failed" if bad else "succeeded")
        starts = shared.starts()
        ran = {tag for tag in starts if tag.endswith(str(bad)) and tag[0] not in "xy"}
        outcome = "failure" if bad else "success"
        both = {f"inner complete {bad}", f"{outcome} {bad}", f"complete {bad}"}
        assert ran == (both if bad else both | {f"inner success {bad}"})


def test_a_callback_for_a_failure_that_there_was_not_is_nobodys_failure(shared: Flows) -> None:
    """Nor that of the group around it, whose own callbacks come after it; and it gives no cause to run again."""
    inner = group(shared.part.si("spare", 1), on_failure=shared.told.si("spared inner"))
    flow = group(
        inner,
        on_success=shared.told.si("spared success"),
        on_failure=shared.told.si("spared failure"),
        on_complete=shared.told.si("spared complete"),
    ).delay()
    flow.result(timeout=20)
    assert flow.state == "succeeded"
    starts = shared.starts()
    ran = [starts[f"spared {what}"] for what in ("inner", "success", "failure", "complete")]
    assert ran == [0, 1, 0, 1]
    assert not flow.requeue()


def test_what_was_done_is_undone_the_last_first(shared: Flows) -> None:
    """Each with its own result; what had not succeeded is not."""
    work = workflow()
    work.add("a", shared.part.s("u-a", 1), compensate=shared.told.si("undo a"))
    work.add("b", shared.part.s("u-b", 2, work["a"]), compensate=shared.told.si("undo b"))
    work.add("c", shared.fails.s("u-c"), after="b", compensate=shared.told.si("undo c"))
    flow = work.delay()
    with pytest.raises(JobFailed):
        flow.result(timeout=20)
    undone = [run.tag for run in shared.stage.runs() if run.tag.startswith("undo")]
    assert undone == ["undo b", "undo a"]


def test_what_undoes_may_be_given_any_result_and_nobody_waits_for_it(shared: Flows) -> None:
    """Also of a job that comes later; a callback of a group around it runs though nothing had to be undone."""
    for bad in (False, True):
        work = workflow()
        work.add("a", shared.part.s(f"r-a{bad}", 1), compensate=shared.heard.si(work["b"], f"undo r {bad}"))
        work.add("b", shared.part.s(f"r-b{bad}", 2, work["a"]))
        parts = [work, shared.fails.si(f"r-c{bad}")] if bad else [work]
        flow = group(*parts, on_complete=shared.told.si(f"r complete {bad}")).delay()
        wait_until(lambda flow=flow: flow.state.terminal, 20)
        assert flow.state == ("failed" if bad else "succeeded")
        starts = shared.starts()
        assert (starts[f"r complete {bad}"], starts[f"undo r {bad}"]) == (1, bad)


def test_a_workflow_in_a_chain_in_a_workflow_has_names_of_its_own(shared: Flows) -> None:
    """And nothing behind an empty group starts before what is before that."""
    inner = workflow()
    inner.add("x", shared.part.si("i-x", 1))
    inner.add("y", shared.part.s("i-y", 1, inner["x"]))
    work = workflow()
    work.add("x", chain(shared.part.si("o-x", 1), inner))
    assert work.delay().result(timeout=20) == {"x": {"x": 1, "y": 2}}
    flow = chain(shared.fails.si("before"), starmap(shared.part, []), shared.told.si("behind an empty one")).delay()
    wait_until(lambda: flow.state.terminal, 20)
    assert flow.state == "failed"
    assert shared.starts()["behind an empty one"] == 0


def test_a_flow_goes_on_where_it_failed(shared: Flows) -> None:
    """What had succeeded is not done again, unless somebody wants it to be."""
    flow = chain(shared.part.si("g1", 1), shared.mends.si("g2"), shared.heard.s("g3")).delay()
    with pytest.raises(JobFailed, match="not mended yet"):
        flow.result(timeout=20)
    (shared.stage.ledger / "mended-g2").touch()
    assert flow.requeue()
    flow.result(timeout=20)
    assert flow.state == "succeeded"
    assert not flow.requeue()
    assert flow.requeue(from_="mends")
    flow.result(timeout=20)
    starts = shared.starts()
    assert [starts[tag] for tag in ("g1", "g2", "g3")] == [1, 3, 2]


def test_one_job_that_runs_again_does_not_hide_that_others_failed(shared: Flows) -> None:
    """They get another run with it; what waits for both is not given None in their place."""
    flow = chord([shared.fails.si("h1"), shared.part.si("h2", 2)], shared.heard.s("h3")).delay()
    wait_until(lambda: flow.state.terminal, 20)
    assert flow.requeue(from_="part")
    wait_until(lambda: flow.state.terminal, 20)
    assert flow.state == "failed"
    assert [shared.starts()[tag] for tag in ("h1", "h2", "h3")] == [2, 2, 0]


def test_what_would_undo_a_job_is_not_run_by_itself(shared: Flows) -> None:
    """It is no job of the flow as long as it has nothing to undo."""
    work = workflow()
    work.add("pay", shared.part.si("k1", 1), compensate=shared.told.si("undo k1"))
    flow = work.delay()
    flow.result(timeout=20)
    with pytest.raises(JobNotFound, match="pay/undo"):
        flow.requeue(from_="pay/undo")
    assert shared.starts()["undo k1"] == 0


def test_jobs_join_a_flow_while_it_runs(shared: Flows) -> None:
    """From inside, as deep as they like, before what waits for all of them; from a coroutine; never after the end."""
    flow = group(shared.spreads.si("s", 3), on_complete=shared.told.si("all of s")).delay()
    assert flow.result(timeout=30) == [3]
    runs = [run.tag for run in shared.stage.runs() if not run.tag.strip("slr") or run.tag == "all of s"]
    assert len(runs) == 16
    assert runs[-1] == "all of s"
    assert len(flow.graph()) == 16
    with pytest.raises(JobNotFound, match="has ended"):
        flow.add(shared.told.si("too late"))
    other = group(shared.aspreads.si("as")).delay()
    other.result(timeout=20)
    assert shared.starts()["as added"] == 1


def test_nothing_is_added_that_would_wait_for_itself(shared: Flows) -> None:
    """From inside, what is added stands before what waits for the one that adds it."""
    flow = chain(shared.circles.si("ci"), shared.told.si("ci behind")).delay()
    flow.result(timeout=20)
    assert "'told': that one waits for this job" in flow.job("circles").result(timeout=1)
    assert [run.tag for run in shared.stage.runs() if run.tag.startswith("ci")] == ["ci", "ci between", "ci behind"]


def test_a_flow_is_cancelled_without_a_worker(alone: Flows) -> None:
    """At once, all of it, and once; what nobody has begun never begins."""
    flow = chord([alone.part.si(f"p{number}", number) for number in range(300)], alone.gather.s("g")).delay()
    assert alone.quaff.queue("default").stats().blocked == 1
    with pytest.raises(ResultTimeout, match=r"as far as there are workers for queue 'default' at .* Its graph\(\)"):
        flow.result(timeout=0)
    assert flow.job("gather").state == "blocked"
    assert flow.cancel("nobody wants it")
    assert flow.state == "cancelled"
    with pytest.raises(JobCancelled, match="nobody wants it"):
        flow.result(timeout=1)
    assert flow.cancel()
    assert {node.state for node in flow.graph()} == {"cancelled"}
    assert alone.quaff.queue("default").stats().queued == 0


def test_nothing_is_left_of_flows_of_all_kinds(alone: Flows) -> None:
    """In any key, of journeys, limits, what was added, undone and run again, once what is remembered has expired."""
    stage = alone.stage
    worker = stage.worker("-p", "1", "-c", "4", app=APP)
    work = workflow()
    work.add("limited", alone.limited.si("limited", 1))
    work.add("far", alone.elsewhere.s(work["limited"], "far"))
    work.add("mends", alone.mends.si("rest"), after="far")
    work.add("spreads", alone.spreads.si("sp", 1))
    flow = work.delay()
    wait_until(lambda: flow.state == "failed", 20, "its failure")
    (stage.ledger / "mended-rest").touch()
    assert flow.requeue(from_="limited")
    assert flow.result(timeout=20) == {"limited": 1, "far": 2, "mends": "rest", "spreads": 1}
    assert (alone.starts()["limited"], alone.starts()["far"], alone.starts()["sp"]) == (2, 2, 1)
    lost = workflow()
    lost.add("far", alone.elsewhere.si(1, "lost far"), compensate=alone.elsewhere.s("undo far"))
    lost.add("bad", alone.fails.si("lost bad"), after="far")
    with pytest.raises(JobFailed):
        lost.delay().result(timeout=20)
    assert alone.starts()["undo far"] == 1
    assert worker.stop() == 0
    desks = [Desk(stage.url, stage.namespace, queue=queue) for queue in ("default", "elsewhere")]
    for _ in range(3):
        for desk in desks:
            if kept := desk.dump().done:
                desk.let_tombstones_expire(*kept)
            while desk.sweep().more:
                pass
            deliver(desk)
    for desk in desks:
        left = {name for name in NAMES if desk.redis.exists(desk.key(name))}
        assert left - {*SEEN.split()} <= {"meta", "limits"}, "the numbers of a limit that a task declares stay"
        desk.close()


@pytest.mark.timeout(900 if os.environ.get("FULL") else 120)
def test_fan_ins_under_fire_come_to_their_end(alone: Flows) -> None:
    """F1: processes are killed all the time; each body has run, the last one after all others, and nothing is left."""
    stage = alone.stage
    workers = [stage.worker("-p", "1", "-c", "4", app=APP) for _ in range(2)]
    flows = [
        chord(
            [
                *(alone.part.si(f"{fan}-{number}", number) for number in range(WIDTH - 1)),
                alone.deadly.si(f"{fan}-deadly", WIDTH - 1),
            ],
            alone.gather.s(f"{fan}-gather"),
        ).delay()
        for fan in range(FANS)
    ]
    number = 0
    while any(not flow.state.terminal for flow in flows):
        for pid in children(workers[number % 2]):
            kill(pid)
        number += 1
        goal = len(stage.runs()) + 150
        wait_until(
            lambda goal=goal: len(stage.runs()) >= goal or all(flow.state.terminal for flow in flows), 60, "more runs"
        )
    assert {flow.result(timeout=1) for flow in flows} == {sum(range(WIDTH))}
    runs = stage.runs()
    ended = {run.tag: run.ended or 0 for run in runs if run.ended}
    for fan in range(FANS):
        own = [run for run in runs if run.tag.startswith(f"{fan}-")]
        first = min(run.started for run in own if run.tag == f"{fan}-gather")
        assert {run.tag for run in own} >= {f"{fan}-{number}" for number in range(WIDTH - 1)}
        assert all(ended[run.tag] <= first for run in own if run.tag != f"{fan}-gather" and run.started < first)
    nothing_left(alone)


def nothing_left(flows: Flows) -> None:
    """No job is anywhere, and what is kept of the flows is as the rules of the engine have it."""
    raw, stage = flows.stage.raw(), flows.stage
    for name in ("active", "outbox", "sched", "ready", "solo"):
        wait_until(lambda name=name: not raw.exists(stage.key(name)), 20, f"{name} to be empty")
    desk = Desk(stage.url, stage.namespace, queue="default")
    dump = desk.dump()
    assert set(dump.msg) == set(dump.dead)
    assert not dump.away
    desk.close()


def test_any_kind_of_flow_under_fire_comes_to_its_declared_end(alone: Flows, proxy: Proxy) -> None:
    """F1, F28: processes are killed, replies are lost, jobs fail, flows are called off; each ends as it was drawn."""
    stage, choice = alone.stage, random.Random(7)
    drawn = [_draw(alone, number, choice) for number in range(KINDS)]
    flows = [(flow.delay(), expected) for flow, expected in drawn]
    called_off = choice.sample(range(KINDS), KINDS // 8)
    before = called_off[: len(called_off) // 2]
    for number in before:
        assert flows[number][0].cancel("called off")
    workers = [
        stage.worker("-p", "1", "-c", "4", app=APP),
        stage.worker("-p", "1", "-c", "4", app=APP, URL=proxy.url),
    ]
    for number in called_off:
        flows[number][0].cancel("called off")
    turn = 0
    while any(not flow.state.terminal for flow, _ in flows):
        for pid in children(workers[turn % 2]):
            kill(pid)
        for _ in range(3):
            proxy.on_reply(choice.choice(["lose", "cut"]))
        turn += 1
        goal = len(stage.runs()) + 40
        wait_until(
            lambda goal=goal: len(stage.runs()) >= goal or all(flow.state.terminal for flow, _ in flows),
            60,
            "more runs",
        )
    for number, (flow, expected) in enumerate(flows):
        if number in called_off:
            assert flow.state in ("cancelled", "failed", "succeeded")
        elif expected is None:
            with pytest.raises(JobFailed, match="ValueError"):
                flow.result(timeout=1)
        else:
            assert flow.result(timeout=1) == expected
    assert {flows[number][0].state for number in before} == {"cancelled"}
    nothing_left(alone)


def _draw(flows: Flows, number: int, choice: random.Random) -> tuple[Any, Any]:
    """A flow of some kind, and what comes of it; None: it fails."""
    kind = choice.choice(["chain", "diamond", "fan", "broken", "patched"])
    tag = f"{kind}-{number}"
    if kind == "chain":
        return chain(
            flows.part.si(tag, 1), flows.elsewhere.s(tag), group(flows.elsewhere.s(tag), flows.elsewhere.s(tag))
        ), [3, 3]
    if kind == "fan":
        return chord([flows.part.si(tag, each) for each in range(20)], flows.gather.s(tag)), 190
    work = workflow()
    work.add("top", flows.part.s(tag, 1))
    work.add("left", flows.part.s(tag, 10, work["top"]))
    work.add("right", flows.elsewhere.s(work["top"], tag) if kind == "diamond" else flows.fails.si(tag), after="top")
    if kind == "diamond":
        work.add("end", flows.gather.s([work["left"], work["right"]], tag))
        return work, {"top": 1, "left": 11, "right": 2, "end": 13}
    policy: Any = "fail" if kind == "broken" else "ignore"
    work.add("end", flows.part.s(tag, 5, work["left"]), after="right", if_failed=policy)
    return work, None if kind == "broken" else {"top": 1, "left": 11, "right": None, "end": 16}
