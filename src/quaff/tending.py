"""What is asked of a flow and done to it, as the calls to send one after the other, each with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from quaff.checks import check_name, check_order, check_values, waits_of
from quaff.delivery import told
from quaff.errors import ConfigurationError, JobNotFound, did_you_mean
from quaff.model import ids
from quaff.model.flow import MOST_BEHIND, MOST_NODES, After, Node, Policy, TaskSignature, again
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.plan import seed_of
from quaff.store.assurance import answer_of, assured
from quaff.store.client import Steps
from quaff.store.flows import ENDED, FULL, GROWN, WIDE, Graph, Terms, advance, graph, grow, plant
from quaff.store.keys import Partition
from quaff.store.transitions import BATCH, STEP, cancel

T = TypeVar("T")

#: Calls to send, one after the other, each with its answer; what comes of it all.

#: Nodes in one answer that brings their results: each may be as large as MAX_RESULT.
_WITH_RESULTS = 50


class Site(NamedTuple):
    """Which flow it is, and where it is at home."""

    id: JobId
    home: Partition

    def missing(self) -> JobNotFound:
        """What to raise for a flow that nobody knows."""
        return JobNotFound(f"flow {self.id} is not known: it never was, or what was kept of it is gone.", str(self.id))

    def known(self, found: Graph | None) -> Graph:
        """The answer, if there is one. Raises JobNotFound."""
        if found is None:
            raise self.missing()
        return found

    def named(self, nodes: Sequence[Node], name: str) -> Node:
        """The node with that name. Raises JobNotFound."""
        for node in nodes:
            if node.name == name:
                return node
        hint = did_you_mean(name, [node.name for node in nodes])
        raise JobNotFound(f"flow {self.id} has no job {name!r}.{hint or ' Its graph() has the names.'}", str(self.id))


def read(site: Site, *, records: bool = False) -> Steps[Graph]:
    """All of it; ``size`` is what it was at first, so that whoever adds knows what the first pages may lack."""
    nodes: list[Node] = []
    first: Graph | None = None
    most = _WITH_RESULTS if records else BATCH
    while True:
        call = graph(site.home, site.id.raw, first=len(nodes), most=most, records=records)
        found = site.known((yield call))
        first = first or found
        nodes += found.nodes
        if len(nodes) >= found.size or not found.nodes:
            return found._replace(nodes=nodes, size=first.size)


def call_off(site: Site, record: bytes, terms: Terms) -> Steps[bool]:
    """False if it has ended otherwise."""
    raw = site.id.raw
    (answer,) = yield cancel(site.home, outcome=record, ttl_ms=terms.ttl_ms, window_ms=terms.window_ms, ids=[raw])
    if not answer:
        raise site.missing()
    if answer == b"r":
        # At once, and not when a worker comes to it.
        size = site.known((yield graph(site.home, raw, most=0))).size
        for first in range(0, size, STEP):
            yield advance(site.home, b"stop", raw, b"%d" % first)
    return answer in (b"c", b"r")


def run_again(site: Site, terms: Terms, from_: str | None) -> Steps[bool]:
    """False if it has not ended, or there is nothing to run."""
    found = yield from read(site)
    if found.state is None:
        return False
    if any(node.name.endswith("/undo") and node.state is not None for node in found.nodes):
        raise ConfigurationError(f"flow {site.id} was undone, and cannot go on where it was: start it anew.")
    done = (None, JobState.SUCCEEDED)
    first = {node.place for node in found.nodes if node.state not in done and not node.spared}
    if from_ is not None:
        first.add(site.named([node for node in found.nodes if node.state is not None], from_).place)
    seeds = again(found.nodes, first)
    if not seeds:
        return False
    sower = ids.new_raw()
    for call in plant(
        site.home, site.id.raw, sower=sower, again=True, head=b"", size=found.size, terms=terms, seeds=seeds
    ):
        if not (yield call):
            return False
    return True


def join(
    site: Site, call: TaskSignature[Any], *, after: After, if_failed: Policy, name: str, adder: bytes
) -> Steps[JobId]:
    """A job more; ``adder``: the bytes of the id of the job of this flow that adds it, or none."""
    waits = waits_of(after, if_failed)
    if len(waits) > MOST_BEHIND:
        raise ConfigurationError(
            f"Flow.add(): after= has {len(waits):,} names, and may have {MOST_BEHIND:,}: name one that waits for these."
        )
    if name:
        check_name(name)
    check_values(call)
    seed = seed_of(call, site.id, name=name)
    while True:
        found = (yield from read(site)) if waits or name else None
        nodes = found.nodes if found else []
        if any(node.name == name for node in nodes):
            raise ConfigurationError(f"there is a job {name!r} in flow {site.id} already.")
        # One that is there to undo another may never end.
        heard = [node for node in nodes if node.state is not None]
        edges = [(site.named(heard, each).place, policy) for each, policy in waits.items()]
        check_order(nodes, [place for place, _ in edges], adder)
        grown = grow(site.home, site.id.raw, seed, after=edges, adder=adder, seen=found and found.size)
        asked = call.task.durability
        id = site.id._replace(raw=seed.id)
        with told(f"job {id}", str(id)):
            answer = answer_of((yield grown if asked is None else assured(grown, asked)), f"job {id} is", str(id))
        if answer == ENDED:
            raise JobNotFound(f"flow {site.id} has ended, or is not known: nothing can be added.", str(site.id))
        if answer == FULL:
            raise ConfigurationError(f"a flow has {MOST_NODES:,} jobs at most, and {site.id} has them; start another.")
        if answer == WIDE:
            raise ConfigurationError(
                f"more than {MOST_BEHIND:,} jobs of flow {site.id} wait for this one, and would have to wait for what"
                " it adds, too: have them wait for one that waits for this one."
            )
        if answer != GROWN:
            return id
        # Others have joined it since it was read: with these it may be a circle, or the name may be taken.
