"""What cannot be drawn is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from quaff import ConfigurationError, MessageTooLarge, Quaff, Unique, Workflow, chain, chord, group, starmap, workflow
from tests.flow_tasks import nothing_sent, with_tasks


@pytest.fixture
def quaff(server_url: str) -> Quaff:
    """An application with two tasks, whose queue nobody serves."""
    quaff = Quaff(server_url, namespace=f"w{uuid4().hex[:12]}")
    with_tasks(quaff)
    return quaff


def drawn(quaff: Quaff, *edges: str) -> Workflow:
    """A workflow of ``a<b``: a waits for b."""
    work = workflow()
    for edge in edges:
        name, _, after = edge.partition("<")
        work.add(name, quaff.tasks["add"].si(1), after=after.split(",") if after else ())
    return work


def _in_itself(quaff: Quaff) -> None:
    outer, inner = workflow(), workflow()
    inner.add("a", quaff.tasks["add"].si(1))
    outer.add("a", chain(inner))
    inner.add("b", outer)


REFUSED: dict[str, tuple[Callable[[Quaff], Any], str]] = {
    "a circle": (lambda q: drawn(q, "a<c", "b<a", "c<b").delay(), "wait for each other: a -> b -> c -> a"),
    "one that waits for itself": (lambda q: drawn(q, "a<a").delay(), "a -> a"),
    "a circle of results": (lambda q: _of_results(q).delay(), "x -> y -> x"),
    "an unknown name": (lambda q: drawn(q, "fetch", "b<fetsh").delay(), "no job 'fetsh'.*'fetch'"),
    "a name twice": (lambda q: drawn(q, "a", "a"), "there is a job 'a'"),
    "a name that is none": (lambda q: drawn(q, "a/b"), "none of them"),
    "a name that is none, of one that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].si(1), name="x/undo"),
        "none of them",
    ),
    "a policy that is none": (
        lambda q: workflow().add("a", q.tasks["add"].si(1), if_failed="ignored"),  # type: ignore[arg-type]
        "'ignored'.*ignore",
    ),
    "no call": (lambda q: workflow().add("a", q.tasks["add"]), r"Workflow.add\('a'\): .*task.s"),  # type: ignore[arg-type]
    "a bare task in a chain": (lambda q: chain(q.tasks["add"]), "task.s"),  # type: ignore[arg-type]
    "a list in a group": (lambda q: group([q.tasks["add"].si(1)]), r"of a list \*calls"),  # type: ignore[arg-type]
    "nothing": (lambda q: group().delay(), "this group has no task in it: there is nothing to send"),
    "an empty workflow": (lambda q: workflow().delay(), "this workflow has no task in it"),
    "a key": (lambda q: chain(q.tasks["add"].options(key="k").si(1)).delay(), "key="),
    "unique": (lambda q: chain(q.tasks["add"].options(unique=Unique()).si(1)).delay(), "unique="),
    "a name that is given, to one that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].si(1), name="a/undo"),
        "none of them",
    ),
    "a policy that is none, of one that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].si(1), if_failed="ignored"),  # type: ignore[arg-type]
        "'ignored'.*ignore",
    ),
    "a task whose jobs are elsewhere": (
        lambda q: chain(q.tasks["add"].si(1), _elsewhere(q).si(1)).delay(),
        "task 'add' is of an application whose jobs are elsewhere .*'other'",
    ),
    "a task whose jobs are elsewhere, to one that runs": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(_elsewhere(q).si(1)),
        "jobs are elsewhere",
    ),
    "a task without .s that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"]),  # type: ignore[arg-type]
        r"Flow.add\(\): <Task add> is no call of a task: give one task.s",
    ),
    "a chain that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(chain(q.tasks["add"].si(1))),  # type: ignore[arg-type]
        r"Flow.add\(\): .* is no call of a task",
    ),
    "a result of another job, for one that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].s([workflow()["page"]])),
        r"the result of 'page' cannot stand .*flow.job\('page'\).result\(\)",
    ),
    "an after= that is none": (
        lambda q: workflow().add("a", q.tasks["add"].si(1), after=[q.tasks["add"].si(1)]),  # type: ignore[list-item]
        "after=<add.s.*: give names of other jobs",
    ),
    "an after= that is none, of one that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].si(1), after=5),  # type: ignore[arg-type]
        "after=5: give names of other jobs",
    ),
    "a policy for nothing": (
        lambda q: workflow().add("b", q.tasks["add"].s(workflow()["a"]), if_failed="ignore"),
        "if_failed='ignore' is for the names in after= .* also those whose results it is given",
    ),
    "a policy besides one for each": (
        lambda q: workflow().add("b", q.tasks["add"].si(1), after={"a": "fail"}, if_failed="ignore"),
        "if_failed='ignore' is for the names in after=",
    ),
    "a policy for nothing, of one that joins": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].si(1), if_failed="ignore"),
        "if_failed='ignore' is for the names in after=",
    ),
    "more than one step can join": (
        lambda q: q.flow(f"default-0-{uuid4().hex}").add(q.tasks["add"].si(1), after=[f"n{n}" for n in range(1001)]),
        "after= has 1,001 names, and may have 1,000",
    ),
    "a callback without .s": (
        lambda q: group(q.tasks["add"].si(1), on_success=q.tasks["add"]),  # type: ignore[arg-type]
        r"group\(on_success=...\): <Task add> is no call",
    ),
    "compensation without .s": (
        lambda q: workflow().add("a", q.tasks["add"].si(1), compensate=q.tasks["add"]),  # type: ignore[arg-type]
        r"add\('a', compensate=...\): <Task add> is no call",
    ),
    "compensation elsewhere": (lambda q: _undone_elsewhere(q).delay(), "task 'add' is of an application .*'other'"),
    "a chord of calls that are no list": (
        lambda q: chord(q.tasks["add"].si(1), q.tasks["add"].s()),  # type: ignore[arg-type]
        "is no list of calls",
    ),
    "a starmap of a call": (
        lambda q: starmap(q.tasks["add"].s(), [(1,)]),  # type: ignore[arg-type]
        "is no task: give the task itself",
    ),
    "a starmap of values": (
        lambda q: starmap(q.tasks["host"], ["one", "two"]),
        r"'one' is no list of arguments: give \[\('one',\), ...\]",
    ),
    "a workflow in itself": (_in_itself, r"add\('b'\): a workflow cannot be a part of itself"),
    "compensation of a group": (
        lambda q: workflow().add("a", group(q.tasks["add"].si(1)), compensate=q.tasks["add"].si(1)),
        "for one job",
    ),
    "a limit by a result": (
        lambda q: chain(q.tasks["add"].si(1), q.tasks["host"].s()).delay(),
        "not known yet",
    ),
}


def _elsewhere(quaff: Quaff) -> Any:
    """A task of another application on the same server."""
    other = Quaff(quaff.settings.url, namespace="other")
    with_tasks(other)
    return other.tasks["add"]


def _undone_elsewhere(quaff: Quaff) -> Workflow:
    work = workflow()
    work.add("a", quaff.tasks["add"].si(1), compensate=_elsewhere(quaff).s())
    return work


def _of_results(quaff: Quaff) -> Workflow:
    work = workflow()
    work.add("x", quaff.tasks["add"].s(work["y"]))
    work.add("y", quaff.tasks["add"].s(work["x"]))
    return work


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_sent(quaff: Quaff, what: str) -> None:
    """By name, with what to do."""
    attempt, says = REFUSED[what]
    with pytest.raises(ConfigurationError, match=says):
        attempt(quaff)
    assert nothing_sent(quaff)


def test_arguments_are_checked_for_all_before_the_first_is_sent(quaff: Quaff) -> None:
    """As those of ``delay``; what is not known yet is taken as it will be."""
    add = quaff.tasks["add"]
    with pytest.raises(TypeError, match="'a' is a str"):
        chain(add.s(1), add.si("one")).delay()
    with pytest.raises(TypeError, match=r"too many .* for \(a, b=0\)\. In a flow s\(\) is given the result before it"):
        chain(add.s(1), add.s(1, 2)).delay()
    with pytest.raises(TypeError, match=r"too many .* for \(a, b=0\)$"):
        chain(add.s(1, 2, 3)).delay()
    with pytest.raises(TypeError, match="the result of job 'page' is not known yet"):
        chain(add.si(f"{workflow()['page']}"))
    with pytest.raises(MessageTooLarge):
        group(add.si(1), quaff.tasks["host"].si("x" * 300_000)).delay()
    assert nothing_sent(quaff)
