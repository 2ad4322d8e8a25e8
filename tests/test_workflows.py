"""Flows as whoever sends them has them: what joins, what is asked, and what was sent twice is there once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from quaff import (
    ConfigurationError,
    Flow,
    JobNotFound,
    Quaff,
    ResultTimeout,
    chain,
    chord,
    group,
    starmap,
    workflow,
)
from quaff.model.ids import JobId, parse
from quaff.plan import Plan
from quaff.store.keys import partition
from quaff.store.transitions import BATCH
from quaff.tending import Site, join
from tests.flow_tasks import with_tasks
from tests.matrix import line_to
from tests.proxy import Proxy


@pytest.fixture
def quaff(server_url: str) -> Quaff:
    """An application with two tasks, whose queue nobody serves."""
    quaff = Quaff(server_url, namespace=f"w{uuid4().hex[:12]}")
    with_tasks(quaff)
    return quaff


@pytest.mark.parametrize("text", ["", "nothing", "default-0-xyz"])
def test_a_text_that_is_no_id_is_told_at_once(quaff: Quaff, text: str) -> None:
    """And an id that nobody knows when it is asked for."""
    with pytest.raises(JobNotFound):
        quaff.flow(text)


def test_a_flow_that_nobody_knows_is_not_found(quaff: Quaff) -> None:
    """Whatever is asked of it."""
    flow: Flow[Any] = quaff.flow(f"default-0-{uuid4().hex}")
    ask: list[Callable[[], Any]] = [
        lambda: flow.state,
        flow.counts,
        flow.graph,
        lambda: flow.result(1),
        flow.cancel,
        flow.requeue,
        lambda: flow.job("a"),
        lambda: flow.add(quaff.tasks["add"].si(1)),
    ]
    for each in ask:
        with pytest.raises(JobNotFound):
            each()


def test_options_of_a_call_hold_in_a_flow(quaff: Quaff) -> None:
    """A delay counts from when it could start; a priority, a limit and an expiry are those of any job."""
    later = quaff.tasks["add"].options(delay=60, priority=5)
    flow = chain(later.si(1), quaff.tasks["host"].si("a")).delay()
    first = flow.job("add")
    assert first.state == "scheduled"
    due = first.info().scheduled_for
    assert due is not None
    assert timedelta(seconds=50) < due - datetime.now(UTC) < timedelta(seconds=61)
    assert flow.job("host").state == "blocked"
    assert flow.job("host").cancel()
    assert flow.state == "running"
    first.cancel()
    assert flow.state == "failed"


@pytest.fixture
def cut(server_url: str) -> Iterator[tuple[Quaff, Proxy]]:
    """An application behind a line that breaks."""
    proxy = Proxy(line_to(server_url))
    quaff = Quaff(proxy.url, namespace=f"w{uuid4().hex[:12]}", deadline=5)
    with_tasks(quaff)
    yield quaff, proxy
    proxy.close()


@pytest.mark.parametrize("fate", ["cut", 7])
def test_a_reply_that_is_lost_stores_nothing_twice(cut: tuple[Quaff, Proxy], fate: str | int) -> None:
    """F28: each part of a flow, and what is added, called off and sent back, is sent again as it was."""
    quaff, proxy = cut
    add = quaff.tasks["add"]
    quaff.queue("default").stats()
    for _ in range(3):
        before = quaff.queue("default").stats().enqueued
        proxy.on_reply(fate)
        flow = chord([add.si(number) for number in range(250)], add.s()).delay()
        assert len(flow.graph()) == 251
        assert quaff.queue("default").stats().enqueued == before + 251
        proxy.on_reply(fate)
        flow.add(add.si(1), name="new")
        assert [node.name for node in flow.graph()].count("new") == 1
        with pytest.raises(ConfigurationError, match="there is a job 'new'"):
            flow.add(add.si(1), name="new")
        proxy.on_reply(fate)
        assert flow.cancel()
        proxy.on_reply(fate)
        assert flow.requeue()
        assert flow.counts()["running"] == 252
        assert not starmap(add, [(1,)]).delay().state.terminal
        with pytest.raises(ResultTimeout):
            flow.result(timeout=0)
    assert proxy.met.count(fate) == 12


def test_many_join_at_once_and_no_name_is_given_twice(quaff: Quaff) -> None:
    """Whoever comes second looks again."""
    add = quaff.tasks["add"]
    flow = chain(add.si(0)).delay()

    def join(name: str) -> bool:
        try:
            flow.add(add.si(1), after="add", name=name)
        except ConfigurationError:
            return False
        return True

    names = [f"n{number}" for number in range(20)] * 3
    with ThreadPoolExecutor(8) as pool:
        joined = list(pool.map(join, names))
    assert joined.count(True) == 20
    assert sorted(node.name for node in flow.graph()) == sorted(["add", *names[:20]])
    assert all(node.after == {"add": "fail"} for node in flow.graph()[1:])


def test_two_applications_in_one_place_share_a_flow(quaff: Quaff) -> None:
    """As two blueprints may."""
    twin = Quaff(quaff.settings.url, namespace=quaff.settings.namespace)
    twin.task(lambda a: a, name="same")
    flow = chain(quaff.tasks["add"].si(1), twin.tasks["same"].s()).delay()
    assert [node.name for node in flow.graph()] == ["add", "same"]


def test_what_joins_waits_as_in_a_workflow(quaff: Quaff) -> None:
    """One name, many, or each with a policy; not for what is there to undo another."""
    add = quaff.tasks["add"]
    work = workflow()
    one = work.add("one", add.si(1), compensate=add.s())
    work.add("two", add.si(2), after={one: "ignore"})  # type: ignore[dict-item]
    flow = work.delay()
    flow.add(add.si(3), after={"one": "ignore", "two": "fail"}, name="three")
    flow.add(add.si(4), after=one, if_failed="continue", name="four")
    after = {node.name: node.after for node in flow.graph()}
    assert after["two"] == {"one": "ignore"}
    assert after["three"] == {"one": "ignore", "two": "fail"}
    assert after["four"] == {"one": "continue"}
    with pytest.raises(JobNotFound, match="no job 'one/undo'"):
        flow.add(add.si(5), after="one/undo")
    with pytest.raises(TypeError, match="an id is a text"):
        quaff.flow(flow)  # type: ignore[arg-type]


def test_what_joins_while_the_pages_of_a_flow_are_read_makes_no_circle(quaff: Quaff) -> None:
    """Whoever adds has read a first page that does not have it, and reads again."""
    add = quaff.tasks["add"]
    flow = chain(add.si(0), group(*(add.si(number) for number in range(BATCH)))).delay()
    store, id = quaff.store, parse(flow.id)
    assert id is not None
    adder = bytes.fromhex(flow.job("add").id[-32:])
    joining = join(
        Site(id, partition(quaff.settings.namespace, id.queue, id.partition)),
        add.si(1),
        after="between",
        if_failed="fail",
        name="",
        adder=adder,
    )
    answer = store.run(next(joining))
    flow.add(add.si(2), after="add", name="between")

    def go_on(answer: Any) -> None:
        while True:
            answer = store.run(joining.send(answer))

    with pytest.raises(ConfigurationError, match="'between': that one waits for this job"):
        go_on(answer)


def test_what_undoes_is_stored_before_what_it_undoes(quaff: Quaff) -> None:
    """A flow of many parts may fail before its last one comes."""
    add = quaff.tasks["add"]
    work = workflow()
    for number in range(80):
        work.add(f"n{number}", add.si(number), compensate=add.si(-number))
    plan = Plan(JobId("default", 0, bytes(16)))
    work.lay(plan, {}, None, "")
    states = [seed.spec.state for seed in plan.seeds()]
    assert states == ["u"] * 80 + [""] * 80
