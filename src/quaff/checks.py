"""What may not be in a flow: names that it makes up itself, unknown policies, jobs that wait for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quaff.config import Settings
from quaff.errors import ConfigurationError, did_you_mean
from quaff.model.flow import POLICIES, Node, NodeResult, Policy, TaskSignature, names_in, with_those_behind
from quaff.store.urls import mask


def check_name(name: object) -> None:
    """The name of a job in a flow. Raises ConfigurationError for one with the marks that flows put into names."""
    if not isinstance(name, str) or not name or set(name) & set("./#") or len(name) > 128:
        raise ConfigurationError(f"job name {name!r}: use 1 to 128 characters, none of them . / or #")


def check_call(what: str, call: object) -> None:
    """One call of a task. Raises ConfigurationError for a chain, a task, or what a task has returned."""
    if not isinstance(call, TaskSignature):
        raise ConfigurationError(f"{what}: {call!r} is no call of a task: give one task.s(...).")


def check_values(call: TaskSignature[Any]) -> None:
    """What joins a flow is given values. Raises ConfigurationError for a result that stands for a job of a workflow."""
    for name in names_in([*call.args, *call.kwargs.values()]):
        raise ConfigurationError(
            f"Flow.add(): the result of {name!r} cannot stand in a call that joins a flow. Name it in after=, and have"
            f" the task ask for flow.job({name!r}).result()."
        )


def waits_of(after: Any, if_failed: Any) -> dict[str, Policy]:
    """The names in ``after``, with a policy each (see After). Raises ConfigurationError for anything else."""
    check_policy(if_failed)
    if isinstance(after, (str, NodeResult)):
        after = [after]
    if not isinstance(after, Iterable):
        raise _no_name(after)
    waits: dict[str, Policy] = {}
    for each in after:
        policy = after[each] if isinstance(after, Mapping) else if_failed
        check_policy(policy)
        name = each.name if isinstance(each, NodeResult) else each
        if not isinstance(name, str):
            raise _no_name(each)
        waits[name] = policy
    if if_failed != "fail" and (isinstance(after, Mapping) or not waits):
        raise ConfigurationError(
            f"if_failed={if_failed!r} is for the names in after= that have no policy of their own, and there are none:"
            " name the jobs whose failure this one is to bear, also those whose results it is given."
        )
    return waits


def _no_name(after: object) -> ConfigurationError:
    return ConfigurationError(f"after={after!r}: give names of other jobs, or a dict of them with a policy each.")


def check_policy(policy: object) -> None:
    """What becomes of a job if one that it waits for fails. Raises ConfigurationError for one that there is not."""
    if policy not in POLICIES:
        hint = did_you_mean(str(policy), POLICIES)
        raise ConfigurationError(f"if_failed={policy!r}: give one of {', '.join(POLICIES)}.{hint}")


def unknown(name: str, known: Iterable[str]) -> ConfigurationError:
    """What to raise for a name that no job has."""
    names = list(known)
    return ConfigurationError(f"no job {name!r} is in this workflow.{did_you_mean(name, names)}")


def circle(needs: Mapping[str, set[str]]) -> list[str]:
    """A way that leads back to where it began."""
    stuck = dict(needs)
    while free := [name for name, above in stuck.items() if not above & stuck.keys()]:
        for name in free:
            del stuck[name]
    way = [next(iter(stuck))]
    while way[-1] not in way[:-1]:
        way.append(next(iter(sorted(stuck[way[-1]] & stuck.keys()))))
    return way[way.index(way[-1]) :][::-1]


def check_order(nodes: Sequence[Node], parents: Sequence[int], adder: bytes) -> None:
    """Raises ConfigurationError if a job that ``adder`` adds cannot wait for all of these: they wait for it."""
    own = {node.place for node in nodes if node.job == adder}
    for place in (with_those_behind(nodes, own) - own).intersection(parents):
        name = nodes[place].name
        raise ConfigurationError(
            f"what this job adds cannot wait for {name!r}: that one waits for this job, and so for all that it adds."
            f" Add it from outside, or from {name!r}."
        )


def check_app(task: str, settings: Settings, flow: Settings) -> None:
    """All jobs of a flow are where it is. Raises ConfigurationError for a task of an application elsewhere."""
    if (settings.url, settings.namespace) != (flow.url, flow.namespace):
        raise ConfigurationError(
            f"task {task!r} is of an application whose jobs are elsewhere (namespace {settings.namespace!r} at"
            f" {mask(settings.url)}) than this flow's ({flow.namespace!r} at {mask(flow.url)}): send it from a job."
        )
