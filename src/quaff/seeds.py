"""A call of a task as a node of a flow: bound, encoded and placed before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from quaff.errors import ConfigurationError
from quaff.model import message
from quaff.model.flow import Seed, Spec, TaskSignature
from quaff.model.ids import JobId
from quaff.model.placement import Placement
from quaff.task import Task


def seed_of(
    call: TaskSignature[Any],
    flow: JobId,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    place: int = 0,
    name: str = "",
    **spec: Any,
) -> Seed:
    """A node that runs this call.

    Args:
        call: the call.
        flow: of the node.
        args, kwargs: with a Ref in the place of each result of another node; those of the call by default.
        place, name: in the flow; by default the task's name with some digits.
        spec: what else is known of it (see Spec).

    Raises:
        ConfigurationError: an option that a job of a flow cannot have; TypeError and MessageTooLarge as ``Task.delay``.
    """
    task: Task[Any, Any, Any] = call.task
    for option in ("key", "unique"):
        if getattr(task.settings, option) is not None:
            raise ConfigurationError(
                f"{task.name}: {option}= is for jobs that are sent one by one; in a flow each node is one job."
            )
    submission = task.submission(
        tuple(call.args if args is None else args),
        dict(call.kwargs if kwargs is None else kwargs),
        home=flow.queue,
        terms={message.FLOW: str(flow)},
    )
    route, numbers, due_ms, delay_ms = _placed(submission.placement)
    if task.settings.queue != flow.queue:
        route = (*(route or (0, "", "done", "", 1, ())), f"{task.settings.queue}#0")
    values = {"state": "", "needs": 0, "missed": 0, "lost": 0, "case": "", "children": (), "inputs": (), "undo": -1}
    whole = Spec(
        **{**values, **spec},
        due_ms=due_ms,
        delay_ms=delay_ms,
        name=name or f"{task.name}-{submission.id.raw.hex()[-6:]}",
    )
    packed = msgspec.msgpack.encode(route) if route else b""
    return Seed(place, submission.id.raw, submission.message, packed, msgspec.msgpack.encode(numbers), whole)


def _placed(placement: Placement | None) -> tuple[tuple[Any, ...], Sequence[Any], int, int]:
    """Route, numbers of limits, and when it is due (milliseconds): at that time, or so long after it could start."""
    if placement is None:
        return (), (), 0, 0
    due_ms, delay_ms, _, _, numbers = msgspec.msgpack.decode(placement.terms)
    return tuple(msgspec.msgpack.decode(placement.route)) if placement.route else (), numbers, due_ms, delay_ms
