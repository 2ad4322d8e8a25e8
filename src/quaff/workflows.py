"""Jobs that wait for each other, as values until ``delay`` sends them: ways to draw nodes and edges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from quaff.checks import check_app, check_call, check_name, circle, unknown, waits_of
from quaff.delivery import told
from quaff.errors import ConfigurationError, StoreError
from quaff.flow import Application, Flow
from quaff.model import durability, ids
from quaff.model.flow import After, NodeResult, Policy, Shape, TaskSignature, leaves_first, names_in
from quaff.model.ids import JobId
from quaff.plan import Plan, Waits, places_of, terms_of, under
from quaff.store.assurance import answer_of
from quaff.store.client import Steps
from quaff.store.flows import plant
from quaff.store.keys import partition
from quaff.task import Task

R = TypeVar("R")


class Part(ABC, Generic[R]):
    """What can be sent as a flow, or be a part of one."""

    @abstractmethod
    def lay(self, plan: Plan, after: Waits, given: Shape | None, name: str) -> Shape:
        """Add its nodes to a plan; the places of what it gives."""

    @abstractmethod
    def pieces(self) -> Sequence[Piece]:
        """What it is put together from."""

    def delay(self) -> Flow[R]:
        """Send it; when this returns, all of it is stored.

        Raises:
            ConfigurationError: a cycle, a name that no job has, an option that a job of a flow cannot have.
            TypeError, MessageTooLarge, ServerUnavailable, EnqueueUnknown, QueueFull, DurabilityNotConfirmed: as
                ``Task.delay``.
        """
        app, id, steps = self._planted()
        where = app.detour()
        app.store.go(steps) if where is None else where.plant(lambda: app.store.go(steps))
        return app.flow(str(id))

    async def adelay(self) -> Flow[R]:
        """As ``delay``, in a coroutine."""
        app, id, steps = self._planted()
        if app.detour() is not None:
            return self.delay()
        await app.store.aio.go(steps)
        return app.flow(str(id))

    def _planted(self) -> tuple[Application, JobId, Steps[None]]:
        tasks = [each.task for each in _signatures([self])]
        if not tasks:
            raise ConfigurationError(f"this {type(self).__name__.lower()} has no task in it: there is nothing to send.")
        app: Application = tasks[0].sender
        settings = app.settings
        for task in tasks:
            check_app(task.name, task.sender.settings, settings)
        id = settings.partitions.home(tasks[0].settings.queue, ids.new_raw())
        plan = Plan(id)
        shape = self.lay(plan, {}, None, "")
        calls = plant(
            partition(settings.namespace, id.queue, id.partition),
            id.raw,
            sower=ids.new_raw(),
            again=False,
            head=msgspec.msgpack.encode(shape),
            size=len(plan.nodes),
            terms=terms_of(settings),
            seeds=plan.seeds(),
            durability=durability.strongest(task.durability for task in tasks),
        )

        def steps() -> Steps[None]:
            yield from app.news(task.settings.queue for task in tasks)
            with told(f"flow {id}", str(id)):
                for call in calls:
                    _sure((yield call), id)

        return app, id, steps()


class Chain(Part[R]):
    """One after the other; each gets the result of the one before."""

    def __init__(self, parts: Sequence[Piece]) -> None:
        self._parts = parts

    def lay(self, plan: Plan, after: Waits, given: Shape | None, name: str) -> Shape:
        """As Part has it."""
        shape: Shape | None = given
        for part in self._parts:
            shape = _lay(part, plan, after, shape, name)
            # Behind an empty group it waits for what that would have waited for.
            after = dict.fromkeys(places_of(shape), "fail") or after
        assert shape is not None
        return shape

    def pieces(self) -> Sequence[Piece]:
        """As Part has it."""
        return self._parts


class Group(Part[R]):
    """Side by side, with what is called when all of them have ended."""

    def __init__(self, parts: Sequence[Piece], callbacks: Mapping[str, TaskSignature[Any]]) -> None:
        self._parts = parts
        self._callbacks = callbacks

    def lay(self, plan: Plan, after: Waits, given: Shape | None, name: str) -> Shape:
        """As Part has it."""
        first = len(plan.nodes)
        shape = [_lay(part, plan, after, given, name) for part in self._parts]
        # What would undo them sleeps for ever, where all goes well.
        members = [place for place in range(first, len(plan.nodes)) if plan.nodes[place].state != "u"]
        for when, call in self._callbacks.items():
            policy, case, gets = _CALLBACKS[when]
            plan.add(call, dict.fromkeys(members, policy), shape if gets else None, under(name, when), case=case)
        return shape

    def pieces(self) -> Sequence[Piece]:
        """As Part has it."""
        return [*self._parts, *self._callbacks.values()]


#: What a callback of a group waits for, in which case it runs, and whether it is given the results.
_CALLBACKS: dict[str, tuple[Policy, str, bool]] = {
    "on_success": ("fail", "", True),
    "on_failure": ("continue", "failure", False),
    "on_complete": ("continue", "", False),
}


class Workflow(Part[dict[str, Any]]):
    """Jobs by name, as ``workflow()`` makes one, in any order that has no circle::

        flow = workflow()
        flow.add("fetch", fetch.s(url))
        flow.add("resize", resize.s(flow["fetch"], width=100))
        flow.add("mail", mail.si(), after=["resize"], if_failed="ignore")
        flow.delay().result()["resize"]

    ``flow["fetch"]`` stands for the result of that job.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, _Named] = {}

    def add(
        self,
        name: str,
        part: Piece,
        *,
        after: After = (),
        if_failed: Policy = "fail",
        compensate: TaskSignature[Any] | None = None,
    ) -> NodeResult:
        """Add a job, or a chain, group or workflow of them.

        Args:
            name: of its own; ``flow[name]`` as an argument of another one stands for its result.
            part: ``task.s(...)``; as ``flow[...]`` in its arguments says, it waits for those jobs.
            after: names of others that it waits for, or a dict of them with a policy each.
            if_failed: the policy of those in ``after``: what becomes of this one where they do not succeed. ``fail``:
                it does not run. ``continue``: it runs, and gets None in the place of their results; the flow has
                failed. ``ignore``: the same, and the flow has not failed by that.
            compensate: runs if the flow fails or is cancelled after this one has succeeded, the last ones first; it is
                given the result, if it takes one.

        Raises:
            ConfigurationError: the name is taken or is none, or a policy that there is not.
        """
        check_name(name)
        if name in self._nodes:
            raise ConfigurationError(f"there is a job {name!r} in this workflow already.")
        _pieces(f"Workflow.add({name!r})", [part])
        if self in _inside(part):
            raise ConfigurationError(f"Workflow.add({name!r}): a workflow cannot be a part of itself.")
        if compensate is not None:
            check_call(f"Workflow.add({name!r}, compensate=...)", compensate)
        if compensate is not None and not isinstance(part, TaskSignature):
            raise ConfigurationError(
                f"{name}: compensate= is for one job; give it to those of the {type(part).__name__}."
            )
        self._nodes[name] = _Named(part, waits_of(after, if_failed), compensate)
        return NodeResult(name)

    def __getitem__(self, name: str) -> NodeResult:
        """Stands for the result of that job, as an argument of another one; it may be added later."""
        return NodeResult(name)

    def lay(self, plan: Plan, after: Waits, given: Shape | None, name: str) -> Shape:
        """As Part has it."""
        outer, plan.scope = plan.scope, {}
        for own in self._in_order():
            node = self._nodes[own]
            edges: Waits = {}
            for other, policy in node.after.items():
                edges |= dict.fromkeys(places_of(plan.scope[other]), policy)
            waits = edges or any(_mentions(node.part))
            shape = _lay(node.part, plan, edges if waits else after, None, under(name, own))
            plan.scope[own] = shape
        # After all others: the results of any of them may stand in their arguments.
        for own, node in self._nodes.items():
            if node.compensate is not None:
                shape = plan.scope[own]
                undo = plan.add(node.compensate, {}, shape, f"{under(name, own)}/undo", state="u")
                plan.nodes[places_of(shape)[0]].undo = undo
        scope, plan.scope = plan.scope, outer
        return dict(scope)

    def pieces(self) -> Sequence[Piece]:
        """As Part has it."""
        undoing = [node.compensate for node in self._nodes.values() if node.compensate is not None]
        return [*(node.part for node in self._nodes.values()), *undoing]

    def _in_order(self) -> list[str]:
        needs = {name: {*node.after, *_mentions(node.part)} for name, node in self._nodes.items()}
        for above in needs.values():
            for other in above - needs.keys():
                raise unknown(other, self._nodes)
        names = list(self._nodes)
        above_of = {place: [names.index(other) for other in needs[name]] for place, name in enumerate(names)}
        order = leaves_first(above_of)
        if len(order) < len(names):
            raise ConfigurationError(f"these jobs wait for each other: {' -> '.join(circle(needs))}.")
        return [names[place] for place in order]


class _Named(msgspec.Struct, frozen=True):
    part: Any
    after: dict[str, Policy]
    compensate: TaskSignature[Any] | None


Piece: TypeAlias = "TaskSignature[Any] | Part[Any]"


def workflow() -> Workflow:
    """Jobs by name, to be added: ``work.add("fetch", fetch.s(url))``."""
    return Workflow()


def chain(*parts: Piece) -> Chain[Any]:
    """One after the other: ``chain(fetch.s(url), parse.s(), store.s())``; each ``s`` gets the result before it."""
    return Chain(_pieces("chain()", parts))


def group(
    *parts: Piece,
    on_success: TaskSignature[Any] | None = None,
    on_failure: TaskSignature[Any] | None = None,
    on_complete: TaskSignature[Any] | None = None,
) -> Group[list[Any]]:
    """Side by side; the result is a list. Jobs that are added while it runs (``Flow.add``) belong to it.

    Args:
        on_success: runs when all have succeeded, with the list of results; on_failure when one has not; on_complete in
            both cases; each when all have ended.
    """
    callbacks = {"on_success": on_success, "on_failure": on_failure, "on_complete": on_complete}
    given = {when: call for when, call in callbacks.items() if call is not None}
    for when, call in given.items():
        check_call(f"group({when}=...)", call)
    return Group(_pieces("group()", parts), given)


def chord(header: Group[Any] | Iterable[Piece], body: Piece) -> Chain[Any]:
    """A group, and then ``body`` with the list of its results."""
    if not isinstance(header, (Group, Iterable)):
        raise ConfigurationError(f"chord(): {header!r} is no list of calls: give [task.s(...), ...] and then the body.")
    return Chain([header if isinstance(header, Group) else group(*header), *_pieces("chord()", [body])])


def starmap(task: Task[Any, R, Any], calls: Iterable[Sequence[Any]]) -> Group[list[R]]:
    """A group of one task with many arguments: ``starmap(add, [(1, 2), (3, 4)])``."""
    if not isinstance(task, Task):
        raise ConfigurationError(f"starmap(): {task!r} is no task: give the task itself, and a list of its arguments.")
    made: list[Piece] = []
    for call in calls:
        if isinstance(call, str) or not isinstance(call, Sequence):
            raise ConfigurationError(f"starmap(): {call!r} is no list of arguments: give [({call!r},), ...].")
        made.append(task.si(*call))
    return Group(made, {})


def _pieces(what: str, parts: Iterable[Any]) -> list[Any]:
    pieces = list(parts)
    for part in pieces:
        if not isinstance(part, (TaskSignature, Part)):
            raise ConfigurationError(
                f"{what}: {part!r} is no call of a task: give task.s(...), a chain or a group, and of a list *calls."
            )
    return pieces


def _lay(part: Any, plan: Plan, after: Waits, given: Shape | None, name: str) -> Shape:
    return part.lay(plan, after, given, name) if isinstance(part, Part) else plan.add(part, after, given, name)


def _signatures(pieces: Iterable[Piece], *, inside: bool = True) -> Iterator[TaskSignature[Any]]:
    """The calls in these; those of workflows only if ``inside``."""
    for piece in pieces:
        if isinstance(piece, TaskSignature):
            yield piece
        elif inside or not isinstance(piece, Workflow):
            yield from _signatures(piece.pieces(), inside=inside)


def _inside(piece: Piece) -> Iterator[Piece]:
    """A part and all of its parts."""
    yield piece
    if isinstance(piece, Part):
        for each in piece.pieces():
            yield from _inside(each)


def _mentions(part: Piece) -> Iterator[str]:
    """The names whose results stand in the arguments of a part; those of a workflow are its own affair."""
    for call in _signatures([part], inside=False):
        for value in (*call.args, *call.kwargs.values()):
            yield from names_in(value)


def _sure(found: Any, id: JobId) -> None:
    if not answer_of(found, f"flow {id} is", str(id)):
        raise StoreError(f"flow {id} could not be stored: what had come of it is gone. Send it anew.")
