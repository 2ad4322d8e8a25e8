"""Flow[R]: the handle of jobs that wait for each other: their state as a whole, what comes of them, the graph."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from quaff.answers import Answers, aside
from quaff.checks import check_name, check_order, check_policy
from quaff.config import Settings
from quaff.context import member_of
from quaff.errors import (
    ConfigurationError,
    JobCancelled,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
    did_you_mean,
)
from quaff.job import Job
from quaff.model import ids, outcome
from quaff.model.flow import Node, Policy, Shape, TaskSignature, again
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.plan import seed_of, terms_of
from quaff.store.client import Store
from quaff.store.flows import Graph, advance, graph, grow, plant
from quaff.store.keys import partition
from quaff.store.queries import lookup
from quaff.store.transitions import BATCH, STEP, Call, cancel
from quaff.waiting import aended, ended, until_of

R = TypeVar("R")
T = TypeVar("T")

#: Calls to send, one after the other, each with its answer; what comes of it all.
Steps: TypeAlias = Generator[Call[Any], Any, T]

#: Nodes in one answer that brings their results: each may be as large as MAX_RESULT.
_WITH_RESULTS = 50


class FlowNode(msgspec.Struct, frozen=True):
    """One job of a flow.

    Attributes:
        name: in the flow.
        state: of the job; ``queued`` from the time it was put in line until it has ended.
        job: its id, for ``quaff.job(...)``.
        after: the names of those that it waits for, each with what becomes of it if they fail.
    """

    name: str
    state: JobState
    job: str
    after: dict[str, str]


class Flow(Generic[R]):
    """The handle of one flow; making one costs no I/O.

    Args:
        store: the server.
        settings: the application's.
        id: where the flow is at home.
        answers: reads what is kept of its jobs.
        job: makes the handle of a job.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        id: JobId,
        *,
        answers: Answers,
        job: Callable[[str], Job[Any]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._home = partition(settings.namespace, id.queue, id.partition)
        self._id = id
        self._answers = answers
        self._job = job

    @property
    def id(self) -> str:
        """The flow's id: ``quaff.flow(id)`` makes the handle again anywhere."""
        return str(self._id)

    @property
    def state(self) -> JobState:
        """``running``, ``succeeded``, ``failed`` or ``cancelled``, asked of the server each time.

        Raises:
            JobNotFound, ServerUnavailable
        """
        return self._ask().state or JobState.RUNNING

    def counts(self) -> dict[JobState, int]:
        """How many of its jobs have ended, by how they did, and as ``running`` all others.

        Raises:
            JobNotFound, ServerUnavailable
        """
        found = self._ask()
        return {**found.ended, JobState.RUNNING: found.open}

    def graph(self) -> list[FlowNode]:
        """Its jobs, in the order in which they were added. Raises JobNotFound, ServerUnavailable."""
        nodes = self._run(self._reading()).nodes
        after: dict[int, dict[str, str]] = {node.place: {} for node in nodes}
        for node in nodes:
            for place, policy in node.children:
                after[place][node.name] = policy
        return [
            FlowNode(node.name, node.state, self._id_of(node), after[node.place])
            for node in nodes
            if node.state is not None
        ]

    def job(self, name: str) -> Job[Any]:
        """One of its jobs, by its name in the flow.

        Raises:
            JobNotFound: none has that name; ServerUnavailable.
        """
        return self._job(self._id_of(self._named(self._run(self._reading()).nodes, name)))

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end and give what comes of it: a chain its last value, a group a list, a workflow a dict.

        A job that failed and was not to matter has None.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            JobFailed: with the error of the first job whose failure counts.
            ResultTimeout, JobCancelled, ResultExpired, JobNotFound, ServerUnavailable
        """
        for _ in ended(self._store, [(self._home, self._id.raw)], until_of(timeout)):
            pass
        value: R = self._shaped(*self._run(self._outcome(timeout)))
        return value

    async def aresult(self, timeout: float | None = None) -> R:
        """As ``result``, in a coroutine."""
        async for _ in aended(self._store, [(self._home, self._id.raw)], until_of(timeout)):
            pass
        shape, nodes = await self._arun(self._outcome(timeout))
        value: R = await aside(self._answers.far(node.record for node in nodes), self._shaped, shape, nodes)
        return value

    def cancel(self, reason: str = "") -> bool:
        """Call off what waits and ask what runs to end; what was done is undone, where the flow says how.

        Returns:
            False if it has ended otherwise.

        Raises:
            JobNotFound, ServerUnavailable
        """
        return self._run(self._cancelling(outcome.cancelled(reason)))

    def requeue(self, from_: str | None = None) -> bool:
        """Run again what has not succeeded and what depends on it.

        Args:
            from_: and, by its name, one job that has, with all that depends on it.

        Returns:
            False if the flow has not ended, or there is nothing to run.

        Raises:
            ConfigurationError: what it had done was undone.
            JobNotFound, ServerUnavailable
        """
        return self._run(self._requeuing(from_))

    def add(
        self, call: TaskSignature[T], *, after: str | Sequence[str] = (), if_failed: Policy = "fail", name: str = ""
    ) -> Job[T]:
        """Add a job while the flow runs. From a job of the flow: what waits for that one waits for the new one, too.

        Args:
            call: ``task.s(...)``.
            after: names of jobs that it waits for.
            if_failed: what becomes of it where one of them fails (see ``Workflow.add``).
            name: in the flow; by default its task's, with some digits.

        Raises:
            ConfigurationError: the name is taken or is none, a policy that there is not, or one of ``after`` waits for
                the job that adds.
            JobNotFound: the flow has ended, or no job has that name; and as ``Task.delay``.
        """
        return self._run(self._growing(call, after, if_failed, name))

    async def aadd(
        self, call: TaskSignature[T], *, after: str | Sequence[str] = (), if_failed: Policy = "fail", name: str = ""
    ) -> Job[T]:
        """As ``add``, in a coroutine."""
        return await self._arun(self._growing(call, after, if_failed, name))

    # The steps of these

    def _run(self, steps: Steps[T]) -> T:
        answer: Any = None
        while True:
            try:
                call = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = self._store.run(call)

    async def _arun(self, steps: Steps[T]) -> T:
        answer: Any = None
        while True:
            try:
                call = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await self._store.aio.run(call)

    def _ask(self) -> Graph:
        return self._known(self._store.run(graph(self._home, self._id.raw, most=0)))

    def _reading(self, *, records: bool = False) -> Steps[Graph]:
        """All of it."""
        nodes: list[Node] = []
        most = _WITH_RESULTS if records else BATCH
        while True:
            call = graph(self._home, self._id.raw, first=len(nodes), most=most, records=records)
            found = self._known((yield call))
            nodes += found.nodes
            if len(nodes) >= found.size:
                return found._replace(nodes=nodes)

    def _outcome(self, timeout: float | None) -> Steps[tuple[Shape, Sequence[Node]]]:
        found = yield lookup(self._home, self._id.raw)
        if found.state is None:
            raise self._not_found()
        if not found.state.terminal:
            raise ResultTimeout(f"flow {self.id} had not ended after {timeout:g} s; it goes on.", self.id)
        if not found.record:
            raise ResultExpired(f"flow {self.id} ended as {found.state}; its result is kept no longer.", self.id)
        error = outcome.decode(found.record).attempt.error
        if found.state is JobState.CANCELLED:
            raise JobCancelled(self.id, error.message if error else "")
        all = yield from self._reading(records=found.state is JobState.SUCCEEDED)
        if error is not None:
            raise (yield from self._failure(self._named(all.nodes, error.message)))
        return msgspec.msgpack.decode(all.head), all.nodes

    def _failure(self, node: Node) -> Steps[JobFailed]:
        found = yield lookup(self._home, node.job)
        kept = outcome.decode(found.record).attempt.error if found.record else None
        if kept is None:
            return JobFailed(self.id, "error", "FlowFailed", f"its job {node.name!r} ended as {node.state}", "")
        return JobFailed(self.id, kept.reason, kept.type, f"{node.name}: {kept.message}", kept.traceback)

    def _shaped(self, shape: Any, nodes: Sequence[Node]) -> Any:
        if isinstance(shape, dict):
            return {name: self._shaped(each, nodes) for name, each in shape.items()}
        if isinstance(shape, list):
            return [self._shaped(each, nodes) for each in shape]
        if not nodes[shape].record:
            return None
        return self._answers.value(self._id_of(nodes[shape]), outcome.decode(nodes[shape].record))

    def _cancelling(self, record: bytes) -> Steps[bool]:
        ttl_ms, window_ms = terms_of(self._settings)
        raw = self._id.raw
        (answer,) = yield cancel(self._home, outcome=record, ttl_ms=ttl_ms, window_ms=window_ms, ids=[raw])
        if not answer:
            raise self._not_found()
        if answer == b"r":
            # At once, and not when a worker comes to it.
            size = self._known((yield graph(self._home, raw, most=0))).size
            for first in range(0, size, STEP):
                yield advance(self._home, [(b"stop", raw, b"%d" % first)])
        return answer in (b"c", b"r")

    def _requeuing(self, from_: str | None) -> Steps[bool]:
        found = yield from self._reading()
        if found.state is None:
            return False
        if any(node.name.endswith("/undo") and node.state is not None for node in found.nodes):
            raise ConfigurationError(f"flow {self.id} was undone, and cannot go on where it was: start it anew.")
        done = (None, JobState.SUCCEEDED)
        first = {node.place for node in found.nodes if node.state not in done and not node.spared}
        if from_ is not None:
            first.add(self._named([node for node in found.nodes if node.state is not None], from_).place)
        seeds = again(found.nodes, first)
        if not seeds:
            return False
        for call in plant(
            self._home,
            self._id.raw,
            sower=ids.new_raw(),
            again=True,
            head=b"",
            size=found.size,
            terms=terms_of(self._settings),
            seeds=seeds,
        ):
            if not (yield call):
                return False
        return True

    def _growing(
        self, call: TaskSignature[T], after: str | Sequence[str], if_failed: Policy, name: str
    ) -> Steps[Job[T]]:
        check_policy(if_failed)
        if name:
            check_name(name)
        adder = member_of(self.id)
        nodes = (yield from self._reading()).nodes if after or name else []
        if any(node.name == name for node in nodes):
            raise ConfigurationError(f"there is a job {name!r} in flow {self.id} already.")
        parents = [self._named(nodes, each).place for each in ([after] if isinstance(after, str) else after)]
        check_order(nodes, parents, adder)
        seed = seed_of(call, self._id, name=name)
        edges = [(place, if_failed) for place in parents]
        place = yield grow(self._home, self._id.raw, seed, after=edges, adder=adder)
        if place is None:
            raise JobNotFound(f"flow {self.id} has ended, or is not known: nothing can be added.", self.id)
        return self._job(str(self._id._replace(raw=seed.id)))

    # What is known

    def _named(self, nodes: Sequence[Node], name: str) -> Node:
        for node in nodes:
            if node.name == name:
                return node
        hint = did_you_mean(name, [node.name for node in nodes])
        raise JobNotFound(f"flow {self.id} has no job {name!r}.{hint}", self.id)

    def _known(self, found: Graph | None) -> Graph:
        if found is None:
            raise self._not_found()
        return found

    def _not_found(self) -> JobNotFound:
        return JobNotFound(f"flow {self.id} is not known: it never was, or what was kept of it is gone.", self.id)

    def _id_of(self, node: Node) -> str:
        return str(self._id._replace(raw=node.job))

    def __repr__(self) -> str:
        return f"<Flow {self.id}>"
