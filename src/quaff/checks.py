"""What may not be in a flow: names that it makes up itself, unknown policies, jobs that wait for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from quaff.config import Settings
from quaff.errors import ConfigurationError, did_you_mean
from quaff.model.flow import POLICIES, Node, with_those_behind
from quaff.store.connect import mask


def check_name(name: object) -> None:
    """The name of a job in a flow. Raises ConfigurationError for one with the marks that flows put into names."""
    if not isinstance(name, str) or not name or set(name) & set("./#") or len(name) > 128:
        raise ConfigurationError(f"job name {name!r}: use 1 to 128 characters, none of them . / or #")


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
