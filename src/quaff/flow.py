"""Flow[R]: the handle of jobs that wait for each other: their state as a whole, what comes of them, the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from quaff.answers import Answers, aside
from quaff.checks import check_app, check_call
from quaff.config import Settings
from quaff.context import member_of
from quaff.detour import Detour
from quaff.errors import (
    JobCancelled,
    JobFailed,
    ResultCorrupt,
    ResultExpired,
    ResultTimeout,
)
from quaff.job import Job
from quaff.model import outcome
from quaff.model.codec import UNREADABLE
from quaff.model.flow import After, Node, Policy, Shape, TaskSignature
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.plan import places_of, terms_of
from quaff.store.client import Steps, Store
from quaff.store.flows import Graph, graph
from quaff.store.keys import partition
from quaff.store.queries import lookup
from quaff.tending import Site, call_off, join, read, run_again
from quaff.waiting import aended, ended, until_of

R = TypeVar("R")
T = TypeVar("T")


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


class Application(Protocol):
    """What sends flows."""

    @property
    def settings(self) -> Settings:
        """Its settings."""
        ...

    @property
    def store(self) -> Store:
        """Its server."""
        ...

    def flow(self, id: str) -> Flow[Any]:
        """A flow's handle."""
        ...

    def detour(self) -> Detour | None:
        """Where it goes instead of to the server."""
        ...

    def news(self, queues: Iterable[str]) -> Steps[None]:
        """What the server has to be told before jobs are sent to these queues."""
        ...


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
        self._site = Site(id, partition(settings.namespace, id.queue, id.partition))
        self._answers = answers
        self._job = job

    @property
    def id(self) -> str:
        """The flow's id, of which ``quaff.flow(id)`` makes the handle again anywhere."""
        return str(self._site.id)

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
        nodes = self._store.go(read(self._site)).nodes
        after: dict[int, dict[str, str]] = {node.place: {} for node in nodes}
        # Of one that is not shown, because it sleeps or its record is gone, nobody is said to come after.
        for node in (node for node in nodes if node.state is not None):
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
        return self._job(self._id_of(self._site.named(self._store.go(read(self._site)).nodes, name)))

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end and give what comes of it: a chain its last value, a group a list, a workflow a dict.

        A job that failed and was not to matter has None.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            JobFailed: with the error of the first job whose failure counts.
            ResultTimeout, JobCancelled, ResultExpired, JobNotFound, ServerUnavailable
        """
        for _ in ended(self._store, [(self._site.home, self._site.id.raw)], until_of(timeout)):
            pass
        value: R = self._shaped(*self._store.go(self._outcome(timeout)))
        return value

    async def aresult(self, timeout: float | None = None) -> R:
        """As ``result``, in a coroutine."""
        async for _ in aended(self._store, [(self._site.home, self._site.id.raw)], until_of(timeout)):
            pass
        shape, nodes = await self._store.aio.go(self._outcome(timeout))
        value: R = await aside(self._answers.far(node.record for node in nodes), self._shaped, shape, nodes)
        return value

    def cancel(self, reason: str = "") -> bool:
        """Call off what waits and ask what runs to end; what was done is undone, where the flow says how.

        Returns:
            False if it has ended otherwise.

        Raises:
            JobNotFound, ServerUnavailable
        """
        return self._store.go(call_off(self._site, outcome.cancelled(reason), terms_of(self._settings)))

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
        return self._store.go(run_again(self._site, terms_of(self._settings), from_))

    def add(self, call: TaskSignature[T], *, after: After = (), if_failed: Policy = "fail", name: str = "") -> Job[T]:
        """Add a job while the flow runs. From a job of the flow: what waits for that one waits for the new one, too.

        Args:
            call: ``task.s(...)``.
            after: names of jobs that it waits for, or a dict of them with a policy each; a thousand at most.
            if_failed: what becomes of it where one of them fails (see ``Workflow.add``).
            name: in the flow; by default its task's, with some digits.

        Raises:
            ConfigurationError: the name is taken or is none, a policy that there is not, or one of ``after`` waits for
                the job that adds.
            JobNotFound: the flow has ended, or no job has that name; and as ``Task.delay``.
        """
        return self._job(str(self._store.go(self._joining(call, after, if_failed, name))))

    async def aadd(
        self, call: TaskSignature[T], *, after: After = (), if_failed: Policy = "fail", name: str = ""
    ) -> Job[T]:
        """As ``add``, in a coroutine."""
        return self._job(str(await self._store.aio.go(self._joining(call, after, if_failed, name))))

    # The steps of these

    def _ask(self) -> Graph:
        return self._site.known(self._store.run(graph(self._site.home, self._site.id.raw, most=0)))

    def _joining(self, call: TaskSignature[Any], after: After, if_failed: Policy, name: str) -> Steps[JobId]:
        check_call("Flow.add()", call)
        check_app(call.task.name, call.task.sender.settings, self._settings)
        adder = member_of(self.id)
        return join(self._site, call, after=after, if_failed=if_failed, name=name, adder=adder)

    def _outcome(self, timeout: float | None) -> Steps[tuple[Shape, Sequence[Node]]]:
        found = yield lookup(self._site.home, self._site.id.raw)
        if found.state is None:
            raise self._site.missing()
        if not found.state.terminal:
            raise ResultTimeout(
                f"flow {self.id} had not ended after {timeout:g} s; it goes on, as far as there are workers for queue "
                f"{self._site.id.queue!r} at {self._store.endpoint.where} that know its tasks. Its graph() says which "
                "jobs have not ended, and job(name).info() of each how it stands.",
                self.id,
            )
        if not found.record:
            raise ResultExpired(f"flow {self.id} ended as {found.state}; its result is kept no longer.", self.id)
        error = outcome.read(found.record).attempt.error
        if found.state is JobState.CANCELLED:
            raise JobCancelled(self.id, error.message if error else "")
        all = yield from read(self._site, records=found.state is JobState.SUCCEEDED)
        if error is not None:
            raise (yield from self._failure(self._site.named(all.nodes, error.message)))
        return self._shape(all), all.nodes

    def _shape(self, found: Graph) -> Shape:
        try:
            shape: Shape = msgspec.msgpack.decode(found.head)
            if all(place in range(len(found.nodes)) for place in places_of(shape)):
                return shape
        except UNREADABLE:
            pass
        raise ResultCorrupt(f"flow {self.id} succeeded; what is kept of its shape cannot be read.", self.id)

    def _failure(self, node: Node) -> Steps[JobFailed]:
        found = yield lookup(self._site.home, node.job)
        kept = outcome.read(found.record).attempt.error if found.record else None
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
        job = self._site.id._replace(raw=nodes[shape].job)
        return self._answers.value(job, outcome.read(nodes[shape].record), self._settings)

    def _id_of(self, node: Node) -> str:
        return str(self._site.id._replace(raw=node.job))

    def __repr__(self) -> str:
        return f"<Flow {self.id}>"
