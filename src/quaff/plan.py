"""A flow that is being drawn: nodes by place, who waits for whom, and each call as it is sent.

Everything is bound, encoded and placed before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from quaff.checks import unknown
from quaff.config import Settings
from quaff.errors import ConfigurationError, EncodeError
from quaff.model import message
from quaff.model.codec import Ref
from quaff.model.flow import MOST_NODES, Edges, NodeResult, Policy, Seed, Shape, Spec, TaskSignature, leaves_first
from quaff.model.ids import JobId
from quaff.model.placement import Placement
from quaff.store.flows import Terms
from quaff.task import Task, submission

#: The places that a node waits for, each with what becomes of it if that one fails.
Waits: TypeAlias = "dict[int, Policy]"

_NO_EDGES = Edges()


class Draft(msgspec.Struct):
    """A node before all of its flow is known; ``inputs`` are the places whose results stand in its arguments."""

    call: TaskSignature[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    edges: dict[int, Policy]
    inputs: list[int]
    name: str
    state: str
    case: str
    undo: int = -1


class Plan:
    """A flow that is being drawn.

    Attributes:
        nodes: by place.
        scope: what a NodeResult stands for, where its name is known.
    """

    def __init__(self, flow: JobId) -> None:
        self._flow = flow
        self._names: set[str] = set()
        self.nodes: list[Draft] = []
        self.scope: dict[str, Shape] = {}

    def add(
        self,
        call: TaskSignature[Any],
        edges: Mapping[int, Policy],
        given: Shape | None,
        name: str,
        *,
        state: str = "",
        case: str = "",
    ) -> int:
        """Add a node; its place. What stands in its arguments it waits for, too, unless it is there to undo that."""
        if len(self.nodes) == MOST_NODES:
            raise ConfigurationError(f"a flow has {MOST_NODES:,} jobs at most; send several.")
        inputs: list[int] = []
        kwargs = {key: self._with_refs(value, inputs) for key, value in call.kwargs.items()}
        args = tuple(self._with_refs(value, inputs) for value in call.args)
        if given is not None and call.takes:
            args = (_refs(given, inputs), *args)
        waits: dict[int, Policy] = {} if state == "u" else {**dict.fromkeys(inputs, "fail"), **edges}
        self.nodes.append(Draft(call, args, kwargs, waits, inputs, self._own(name or call.task.name), state, case))
        return len(self.nodes) - 1

    def seeds(self) -> list[Seed]:
        """All of it, bound and encoded: what undoes others first, what others wait for last."""
        children: dict[int, list[tuple[int, Policy]]] = {place: [] for place in range(len(self.nodes))}
        for place, node in enumerate(self.nodes):
            for parent, policy in node.edges.items():
                children[parent].append((place, policy))
        order = leaves_first({place: [child for child, _ in below] for place, below in children.items()})
        order.sort(key=lambda place: self.nodes[place].state != "u")
        return [
            seed_of(
                node.call,
                self._flow,
                args=node.args,
                kwargs=node.kwargs,
                place=place,
                name=node.name,
                state=node.state,
                needs=len(node.edges),
                case=node.case,
                undo=node.undo,
                edges=Edges(children[place], node.inputs, list(node.edges)),
            )
            for place, node in ((place, self.nodes[place]) for place in order)
        ]

    def _own(self, name: str) -> str:
        """That name, or with a number the first that no other node has."""
        own, number = name, 1
        while own in self._names:
            number += 1
            own = f"{name}#{number}"
        self._names.add(own)
        return own

    def _with_refs(self, value: Any, inputs: list[int]) -> Any:
        if isinstance(value, NodeResult):
            if value.name not in self.scope:
                raise unknown(value.name, self.scope)
            return _refs(self.scope[value.name], inputs)
        if type(value) in (list, tuple):
            return type(value)(self._with_refs(each, inputs) for each in value)
        if type(value) is dict:
            return {key: self._with_refs(each, inputs) for key, each in value.items()}
        return value


def seed_of(
    call: TaskSignature[Any],
    flow: JobId,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    place: int = 0,
    name: str = "",
    edges: Edges = _NO_EDGES,
    **spec: Any,
) -> Seed:
    """A node that runs this call.

    Args:
        call: the call.
        flow: of the node.
        args, kwargs: with a Ref in the place of each result of another node; those of the call by default.
        place, name: in the flow; by default the task's name with some digits.
        edges: what it is joined to.
        spec: how it stands (see Spec).

    Raises:
        ConfigurationError: an option that a job of a flow cannot have; TypeError and MessageTooLarge as ``Task.delay``.
    """
    task: Task[Any, Any, Any] = call.task
    for option in ("key", "unique"):
        if getattr(task.settings, option) is not None:
            raise ConfigurationError(
                f"{task.name}: {option}= is for jobs that are sent one by one; in a flow each node is one job."
            )
    args = tuple(call.args if args is None else args)
    try:
        sent = submission(
            task,
            args,
            dict(call.kwargs if kwargs is None else kwargs),
            home=flow,
            terms={message.FLOW: str(flow)},
        )
    except EncodeError:
        raise
    except TypeError as error:
        if len(args) == len(call.args):
            raise
        raise TypeError(
            f"{error}. In a flow s() is given the result before it as its first argument; si() is not."
        ) from None
    route, numbers, due_ms, delay_ms = _placed(sent.placement)
    if task.settings.queue != flow.queue:
        there = task.sender.settings.partitions.home(task.settings.queue, sent.id.raw)
        route = (*(route or (0, "", "done", "", 1, (), 0)), f"{there.queue}#{there.partition}")
    whole = Spec(**spec, due_ms=due_ms, delay_ms=delay_ms, name=name or f"{task.name}-{sent.id.raw.hex()[-6:]}")
    packed = msgspec.msgpack.encode(route) if route else b""
    return Seed(place, sent.id.raw, sent.message, packed, msgspec.msgpack.encode(numbers), whole, edges)


def _placed(placement: Placement | None) -> tuple[tuple[Any, ...], Sequence[Any], int, int]:
    """Route, numbers of limits, and when it is due (milliseconds): at that time, or so long after it could start."""
    if placement is None:
        return (), (), 0, 0
    due_ms, delay_ms, _, numbers = msgspec.msgpack.decode(placement.terms)
    return tuple(msgspec.msgpack.decode(placement.route)) if placement.route else (), numbers, due_ms, delay_ms


def places_of(shape: Any) -> list[int]:
    """The places in a shape."""
    if isinstance(shape, dict):
        return [place for each in shape.values() for place in places_of(each)]
    return [place for each in shape for place in places_of(each)] if isinstance(shape, list) else [shape]


def _refs(shape: Any, inputs: list[int]) -> Any:
    """A shape with a Ref for each place, which becomes one of the inputs."""
    if isinstance(shape, dict):
        return {name: _refs(each, inputs) for name, each in shape.items()}
    if isinstance(shape, list):
        return [_refs(each, inputs) for each in shape]
    if shape not in inputs:
        inputs.append(shape)
    return Ref(inputs.index(shape))


def under(prefix: str, name: str) -> str:
    """The name of a node in a part that has a name itself, if it has one."""
    return f"{prefix}.{name}" if prefix else name


def terms_of(settings: Settings) -> Terms:
    """How long what comes of a flow is kept."""
    return Terms(int(settings.result_ttl * 1000), int(settings.key_window * 1000))
