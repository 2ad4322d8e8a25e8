"""Pictures of a partition in use: all of it page by page, which is torn; one job at one moment, which is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from quaff.audit.picture import EMPTY, KINDS, Picture
from quaff.store import pages
from quaff.store.keys import Partition
from quaff.store.probe import Command, Line

#: Of these only the fields are looked at.
_LARGE = frozenset("msg res history logs chunks steps signals prog edges".split())
_LOOKED_AT = (
    "msg active tries history claims res tomb ghosts stop route uniq heirs spot sched_def sched_state prog steps"
    " signals away origin logs chunks nodes edges flows member stalled limits turn waits opens"
    " slots parked sched held lease done dead prio lapses backlog"
    " sched_next sched_seen watched guests told ready solo"
).split()
#: Close-ups of what changes while one finds out where to look.
_TRIES = 10
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
    about = list(dict.fromkeys(ids))
    for _ in range(_TRIES):
        before = {id: _details(line, home, id) for id in about}
        wanted = [*names, *(("lease", process) for process in processes)]
        for id in about:
            wanted += _of_job(id, processes, *before[id])
        near = _at_one_moment(line, home, list(dict.fromkeys(wanted)), elsewhere)
        strangers = [id for key, id in near.uniq.items() if id not in about and ("uniq", key) in names]
        moved = [id for id in about if before[id] != (near.route.get(id), near.spot.get(id), near.member.get(id))]
        if not strangers and not moved:
            return near
        about += strangers
    # What goes on changing is in use, and nothing can be said against it.
    return EMPTY


def _at_one_moment(
    line: Line, home: Partition, wanted: Sequence[tuple[str, bytes]], elsewhere: Iterable[bytes]
) -> Picture:
    replies = pages.atomically(line, [_read(home, name, field) for name, field in wanted])
    seen: dict[str, Any] = {name: type(getattr(EMPTY, name))() for name in KINDS}
    for (name, field), reply in zip(wanted, replies, strict=True):
        if KINDS[name] == "list":
            seen[name].extend([field] * (len(reply or ()) or (name == "ready" and field in elsewhere)))
        elif name in _LARGE:
            seen[name].update({field: b""} if reply else {})
        elif reply is not None:
            seen[name][field] = reply if KINDS[name] == "hash" else float(reply)
    return Picture(**{name: seen[name] for name in Picture._fields})


def _details(line: Line, home: Partition, id: bytes) -> tuple[bytes | None, bytes | None, bytes | None]:
    """What says where else one has to look: its route, its rank in its lane, its place in its flow."""
    route, spot, member = line.ask([("HGET", home.key(name), id) for name in ("route", "spot", "member")])
    return route, spot, member


def _of_job(
    id: bytes, processes: Sequence[bytes], route: bytes | None, spot: bytes | None, member: bytes | None
) -> list[tuple[str, bytes]]:
    """All that there is of a job: names of keys, and fields."""
    found = [(name, id) for name in _BY_ID]
    found += [("ghosts", b"!" + id), ("flows", id + b"open"), ("ready", id), ("solo", id)]
    found += [("held", process + id) for process in processes]
    of = EMPTY._replace(route={id: route} if route else {})
    key, lane = of.unique_key(id), str(of.route_of(id)[3]).encode()
    found += [(name, key) for name in ("uniq", "heirs", "lapses") if key]
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
