"""Pictures of a partition in use: all of it page by page, which is torn; one job at one moment, which is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quaff.audit.picture import EMPTY, KINDS, Picture
from quaff.store import pages
from quaff.store.keys import Partition
from quaff.store.probe import Command, Line

#: Of these only the fields are looked at.
_LARGE = frozenset("msg res history logs chunks steps signals prog".split())
_LOOKED_AT = (
    "msg active tries history claims res tomb ghosts stop route uniq heirs spot sched_def sched_state prog steps"
    " signals away origin logs chunks nodes flows member slots parked sched held lease done dead prio lapses backlog"
    " sched_next sched_seen watched guests ready solo"
).split()
#: Entries at each end of a line in which one job is looked for.
REACH = 20_000
_BY_ID = (
    "msg active tries history res tomb stop route spot prog steps signals away origin logs chunks member parked sched"
    " done dead prio watched ghosts"
).split()


def walk(line: Line, home: Partition) -> Picture:
    """All of a partition, page by page: what moves meanwhile may be there twice, or not at all."""
    found = {name: _whole(line, home.key(name), name) for name in _LOOKED_AT}
    return EMPTY._replace(**found)  # type: ignore[arg-type]


def _whole(line: Line, key: bytes, name: str) -> object:
    if KINDS[name] == "hash":
        return pages.hash_fields(line, key, values=name not in _LARGE)
    if KINDS[name] == "zset":
        return pages.scores(line, key)
    return pages.entries(line, key)[::-1]


def close_up(
    line: Line,
    home: Partition,
    ids: Iterable[bytes],
    processes: Sequence[bytes],
    names: Sequence[tuple[str, bytes]],
    elsewhere: Iterable[bytes] = (),
) -> Picture:
    """Everything about some jobs at one moment.

    Args:
        ids: the jobs.
        processes: those that may hold them.
        names: more to read: a key's name and a field of it.
        elsewhere: jobs that stand in ``ready``, too far from both of its ends to be looked for.
    """
    wanted = list(names)
    for id in ids:
        wanted += [(name, id) for name in _BY_ID]
        wanted += [("ghosts", b"!" + id), ("flows", id + b"open"), ("ready", id), ("solo", id)]
        wanted += [("held", process + id) for process in processes]
        wanted += _around(line, home, id)
    wanted += [("lease", process) for process in processes]
    wanted = list(dict.fromkeys(wanted))
    replies = pages.atomically(line, [_read(home, name, field) for name, field in wanted])
    seen = {name: type(getattr(EMPTY, name))() for name in KINDS}
    for (name, field), reply in zip(wanted, replies, strict=True):
        if KINDS[name] == "list":
            seen[name].extend([field] * (len(reply or ()) or (name == "ready" and field in elsewhere)))
        elif name in _LARGE:
            seen[name].update({field: b""} if reply else {})
        elif reply is not None:
            seen[name][field] = reply if KINDS[name] == "hash" else float(reply)
    return Picture(**{name: seen[name] for name in Picture._fields})


def _around(line: Line, home: Partition, id: bytes) -> list[tuple[str, bytes]]:
    """What else one has to look at: its unique key, its place among those of its lane, in its flow."""
    names = ("route", "spot", "member")
    route, spot, member = line.ask([("HGET", home.key(name), id) for name in names])
    of = EMPTY._replace(route={id: route} if route else {})
    key, lane = of.unique_key(id), str(of.route_of(id)[3]).encode()
    found: list[tuple[str, bytes]] = [(name, key) for name in ("uniq", "heirs", "lapses") if key]
    found += [("backlog", lane + spot + id)] if spot else []
    found += [("nodes", member)] if member else []
    return found


def _read(home: Partition, name: str, field: bytes) -> Command:
    key = home.key(name)
    if KINDS[name] == "list":
        return ("LPOS", key, field, "COUNT", 0, "MAXLEN", REACH)
    if KINDS[name] == "zset":
        return ("ZSCORE", key, field)
    return ("HEXISTS", key, field) if name in _LARGE else ("HGET", key, field)
