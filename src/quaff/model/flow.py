"""A flow as nodes and edges: what its builders make, what the scripts are sent, and what is read of it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from quaff.model import ids
from quaff.model.states import BY_LETTER, JobState

R = TypeVar("R", covariant=True)

#: What becomes of a node when another one that it waits for has not succeeded: it does not run; it runs, and the flow
#: has failed; it runs, and the flow has not failed by that.
Policy = Literal["fail", "continue", "ignore"]
POLICIES: tuple[Policy, ...] = ("fail", "continue", "ignore")

#: What a flow gives: the value of a node, by its place, or a list or dict of such.
Shape: TypeAlias = "int | list[Any] | dict[str, Any]"

#: Names of jobs that another one waits for, or those with a policy each.
After: TypeAlias = "str | NodeResult | Sequence[str | NodeResult] | Mapping[str, Policy]"

#: Nodes of one flow.
MOST_NODES = 100_000

#: Nodes that may wait for one that adds others while it runs, and that one which joins may wait for.
MOST_BEHIND = 1000


class TaskSignature(Generic[R]):
    """A call of a task that a workflow makes: ``task.s(...)``, and ``task.si(...)`` for one that takes no result.

    Attributes:
        task: the task, with its options.
        args, kwargs: of the call.
        takes: it gets the result of what comes before it as its first argument, if something does.
    """

    def __init__(self, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, takes: bool) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.takes = takes

    def __repr__(self) -> str:
        return f"<{self.task.name}.s(...)>"


class NodeResult(msgspec.Struct, frozen=True):
    """Stands for the result of the job of that name, as an argument of another one."""

    name: str

    def __format__(self, spec: str) -> str:
        raise TypeError(
            f"the result of job {self.name!r} is not known yet: give it as an argument of its own, and put the text"
            " together in the task."
        )


def names_in(value: Any) -> Iterator[str]:
    """The jobs whose results stand in an argument."""
    if isinstance(value, NodeResult):
        yield value.name
    elif type(value) in (list, tuple):
        for each in value:
            yield from names_in(each)
    elif type(value) is dict:
        for each in value.values():
            yield from names_in(each)


class Spec(msgspec.Struct, array_like=True, frozen=True):
    """How a node stands, as the scripts have it (``lib/nodes.lua``); times in milliseconds."""

    state: str = ""
    needs: int = 0
    missed: int = 0
    lost: int = 0
    case: str = ""
    undo: int = -1
    due_ms: int = 0
    delay_ms: int = 0
    name: str = ""


class Edges(msgspec.Struct, array_like=True, frozen=True):
    """What a node is joined to, by places: who waits for it, and how; whose results it gets; whom it waits for."""

    children: Sequence[tuple[int, str]] = ()
    inputs: Sequence[int] = ()
    parents: Sequence[int] = ()


class Seed(msgspec.Struct, frozen=True):
    """A node on its way to the server: its place, the bytes of its id, its message, route and limits, its edges."""

    place: int
    id: bytes
    message: bytes
    route: bytes
    numbers: bytes
    spec: Spec
    edges: Edges = Edges()

    @property
    def size(self) -> int:
        """Bytes, more or less."""
        joined = len(self.edges.children) + len(self.edges.inputs) + len(self.edges.parents)
        return len(self.message) + len(self.route) + 100 + 8 * joined


class Node(msgspec.Struct, frozen=True):
    """A node as it stands; ``state`` is None for one that is there to undo another one, and has not had to.

    ``spared``: it was there for the case of a failure, and there was none.
    """

    place: int
    name: str
    state: JobState | None
    job: bytes
    needs: int
    children: list[tuple[int, str]]
    inputs: list[int]
    undo: int
    spared: bool
    record: bytes


def node(place: int, reply: Sequence[Any], size: int) -> Node:
    """A node as ``graph.lua`` tells it, of a flow of so many. Raises ValueError for one that nobody of us wrote."""
    name, state, job, needs, edges, undo, spared, record = reply
    if state not in _STATES:
        raise ValueError(f"how node {place} stands cannot be told")
    children, inputs, _ = msgspec.msgpack.decode(edges)
    # The Lua writer has one kind of empty table, which comes as a map.
    pairs = [(child, policy) for child, policy in children]
    if any(child not in range(size) for child in (*(child for child, _ in pairs), *inputs)):
        raise ValueError(f"node {place} is joined to one that there is not")
    return Node(place, name.decode(), _STATES[state], job, needs, pairs, list(inputs), undo, bool(spared), record)


def again(nodes: Sequence[Node], first: Iterable[int]) -> list[Seed]:
    """Another run of these nodes and of all that depends on them, the last ones first. What undoes stays as it is."""
    chosen = with_those_behind(nodes, first)
    needs = Counter(place for each in chosen for place, _ in nodes[each].children)
    order = leaves_first({place: [child for child, _ in nodes[place].children] for place in chosen})
    return [Seed(place, ids.next_raw(nodes[place].job), b"", b"", b"\x90", Spec(needs=needs[place])) for place in order]


def with_those_behind(nodes: Sequence[Node], first: Iterable[int]) -> set[int]:
    """The places of these nodes and of all that wait for them, however far behind."""
    chosen = set(first)
    line = list(chosen)
    while line:
        for place, _ in nodes[line.pop()].children:
            if place not in chosen:
                chosen.add(place)
                line.append(place)
    return chosen


def leaves_first(children: Mapping[int, Sequence[int]]) -> list[int]:
    """Nodes in an order in which each comes after those that wait for it."""
    parents: dict[int, list[int]] = {place: [] for place in children}
    left = {place: len(below) for place, below in children.items()}
    for place, below in children.items():
        for child in below:
            parents[child].append(place)
    order = [place for place, count in left.items() if count == 0]
    for place in order:
        for parent in parents[place]:
            left[parent] -= 1
            if left[parent] == 0:
                order.append(parent)
    return order


_STATES: dict[bytes, JobState | None] = {**BY_LETTER, b"": JobState.BLOCKED, b"q": JobState.QUEUED, b"u": None}
encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
