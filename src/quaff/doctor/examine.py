"""Asks the server, changes nothing, and puts the findings together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from quaff.config import Settings
from quaff.doctor.checks import CHECKS, durability, signing, tickets
from quaff.doctor.facts import Facts, Finding
from quaff.errors import StoreError
from quaff.model.durability import Durability, read
from quaff.store import probe
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.queries import stats
from quaff.store.rights import FOUND_BY, ROLES


class Sent(Protocol):
    """What is asked of a task."""

    @property
    def durability(self) -> Durability | None:
        """What its jobs have to survive."""
        ...


class Application(Protocol):
    """What a doctor needs of a ``Quaff``."""

    @property
    def tasks(self) -> Mapping[str, Sent]:
        """Its tasks."""
        ...

    @property
    def settings(self) -> Settings:
        """Its settings."""
        ...

    @property
    def store(self) -> Store:
        """Its server."""
        ...

    def lacking(self) -> str:
        """What it lacks, as one says it."""
        ...


#: How often a round trip is made to see how long it takes.
_TRIPS, _FEW_TRIPS = 9, 3
_SETTINGS = ("maxmemory", "maxmemory-policy", "appendfsync", "save", "min-replicas-to-write")


def examine(
    quaff: Application, homes: Sequence[Partition], account: str | None = None, *, rights: bool = True
) -> list[Finding]:
    """All that there is to say.

    Args:
        quaff: the application.
        homes: the partitions whose workers and parked jobs are looked for.
        account: the server's user whose rights are tried; None: the one of the application's URL.
        rights: try them, which takes some hundred commands; False: a handful of them all in all.

    Raises:
        ServerUnavailable: no server answers.
    """
    store, seconds = quaff.store, quaff.settings.deadline
    nodes = probe.lines(store.endpoint, seconds)
    wanted = {read(quaff.settings.durability), *(task.durability for task in quaff.tasks.values())}
    asked = sorted(each for each in wanted if each)
    by_node: dict[str, list[Finding]] = {}
    for name, line in nodes.items():
        by_node[name] = [*_server(line, asked, _TRIPS if rights else _FEW_TRIPS)]
        if rights:
            by_node[name] += _rights(line, store.endpoint.kind, account, homes[0])
        line.close()
    seals = signing(quaff.settings.seals, private=store.endpoint.kind == "embedded", known=bool(quaff.tasks))
    return [
        *_together(by_node),
        seals,
        *tickets(quaff.lacking()),
        *(finding for home in homes for finding in _queue(store, home)),
    ]


def _together(by_node: dict[str, list[Finding]]) -> list[Finding]:
    """Of what is in order on all nodes the first one's finding; of what is not, those of the nodes where it is not."""
    found: list[Finding] = []
    for same in zip(*by_node.values(), strict=True):
        wrong = [(name, each) for name, each in zip(by_node, same, strict=True) if each.level != "ok"]
        if not wrong:
            others = len(same) - 1
            found.append(replace(same[0], text=same[0].text + (f" (and {others} other nodes)" if others else "")))
        for name, each in wrong:
            found.append(replace(each, check=each.check + (f" at {name}" if name else "")))
    return found


def _server(line: probe.Line, asked: Sequence[Durability], trips: int) -> Iterator[Finding]:
    """What there is to say of one server."""
    info, settings, loaded = line.ask([("INFO",), ("CONFIG", "GET", *_SETTINGS), probe.script_exists()])
    config = probe.configured(settings)
    facts = Facts(
        probe.told(info),
        {name: config.get(name) for name in _SETTINGS},
        None if loaded is None else sum(loaded),
        *probe.round_trips(line, trips),
    )
    yield from (check(facts) for check in CHECKS)
    yield durability(facts, asked)


#: The roles whose rights are tried, and what they call besides their scripts.
_BESIDES = {"producer": ("SUBSCRIBE", "PING", "SCRIPT"), "worker": ("SUBSCRIBE", "PING", "SCRIPT", "BLPOP")}


def _rights(line: probe.Line, kind: str, account: str | None, home: Partition) -> Iterator[Finding]:
    if account is None:
        (me,) = line.ask([("ACL", "WHOAMI")])
        account = me.decode(errors="replace") if me else None
    nobody = account is not None and _is_nobody(line, account)
    for role, besides in _BESIDES.items():
        scripts = ROLES[role]
        check = f"rights of a {role}"
        if account is None:
            yield Finding(check, "unknown", "the server does not tell whose account this is", "Try it with --user.")
            continue
        if nobody:
            remedy = f"Make it, with what is printed by: quaff acl {role} --user {account}."
            yield Finding(check, "danger", f"there is no user {account!r} on this server", remedy)
            continue
        trials = list(probe.trials(account, home, role, (*besides, *FOUND_BY.get(kind, ()))))
        replies = line.ask(trials)
        denied = sorted(
            {probe.words(each) for each, reply in zip(trials, replies, strict=True) if reply not in (None, b"OK")}
        )
        untold = sorted({probe.words(each) for each, reply in zip(trials, replies, strict=True) if reply is None})
        if denied:
            text = f"{account!r} may not: {', '.join(denied)} (keys and channels of {home.prefix}*)"
            yield Finding(check, "danger", text, f"Give it these rights if it is to be used by a {role}.")
        elif untold:
            remedy = f"Ask as somebody who may run ACL DRYRUN: quaff doctor --user {account}."
            what = "" if len(untold) == len({probe.words(each) for each in trials}) else f" about {', '.join(untold)}"
            yield Finding(check, "unknown", f"the server does not tell{what} what {account!r} may do", remedy)
        else:
            yield Finding(check, "ok", f"{account!r} may do all that a {role} does ({len(scripts)} scripts)")


def _is_nobody(line: probe.Line, account: str) -> bool:
    (reply,) = line.ask([("ACL", "DRYRUN", account, "PING")])
    return reply is None and "not found" in line.refused


def _queue(store: Store, home: Partition) -> Iterator[Finding]:
    name = f"queue {home.queue}" + (f"#{home.number}" if home.number else "")
    try:
        found = store.run(stats(home))
    except StoreError as error:
        yield Finding(name, "danger", str(error.args[0]), "Nothing can be said of its jobs before that is mended.")
        return
    waiting, alive = found["queued"] + found["running"], found["processes"]
    text = f"jobs that wait or run: {waiting}"
    if alive == 0 and waiting:
        yield Finding(
            name, "warn", f"{text}, and no worker was seen in the time of a lease", "Start one: quaff worker."
        )
    else:
        yield Finding(name, "ok", f"{text}; processes of workers seen alive: {alive}")
    if found["parked"]:
        yield Finding(
            f"{name}, parked",
            "warn",
            f"{found['parked']} jobs wait for a worker that knows their task, or for a block to be lifted",
            "Start a worker with the code that has these tasks; quaff.unblock() lifts a block.",
        )
