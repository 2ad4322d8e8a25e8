"""Flows that will not end, because something of them is gone: each suspect is looked at again at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from quaff.audit.picture import Picture, read_node
from quaff.audit.rules import Finding
from quaff.store import pages
from quaff.store.keys import Partition
from quaff.store.probe import Line

#: Suspects that are looked at again; an audit after the repair of these finds the others.
_SUSPECTS = 1000
#: How a node stands that has not ended.
_OPEN = ("", "q")
_FIRST = bytes(4)


class _Suspect(NamedTuple):
    """What seems wrong with a flow; of the replies to what is ``asked`` (command, key, field) ``so`` says if it is."""

    name: str
    flow: bytes
    text: str
    asked: list[tuple[str, str, bytes]]
    so: Callable[..., bool]


def astray(line: Line, home: Partition, torn: Picture) -> Iterator[Finding]:
    """The flows of which something is gone; each once by each name."""
    told: set[tuple[str, bytes]] = set()
    looks = 0
    for each in _suspects(torn):
        if (each.name, each.flow) in told or looks >= _SUSPECTS:
            continue
        looks += 1
        if each.so(*pages.atomically(line, [(command, home.key(key), field) for command, key, field in each.asked])):
            told.add((each.name, each.flow))
            yield Finding(each.name, each.flow, each.text)


def _suspects(p: Picture) -> Iterator[_Suspect]:
    known = {field[:16] for field in p.flows if field[16:] == b"open"}
    waiting: dict[bytes, bytes] = {}
    for field, text in p.nodes.items():
        flow, job, state = field[:16], text[-16:], read_node(text)
        if state == "" and flow not in p.tomb:
            waiting[flow] = field
        if flow not in known:
            yield _unrecorded(flow, field)
        if state is not None and p.member.get(job) != field:
            yield _unknown(flow, field, job)
        if state in _OPEN and (job in p.tomb or job not in p.msg):
            yield _over(flow, field, job)
    for field in p.nodes.keys() - p.edges.keys():
        if field[:16] in waiting:
            yield _unjoined(field[:16], field, waiting[field[:16]])
    for flow in known - p.tomb.keys() - {field[:16] for field in p.nodes}:
        yield _empty(flow)


def _unrecorded(flow: bytes, field: bytes) -> _Suspect:
    asked = [("HEXISTS", "flows", flow + b"open"), ("HEXISTS", "nodes", field)]
    return _Suspect("flow", flow, "it has jobs, and its own record is gone", asked, lambda its, node: node and not its)


def _unknown(flow: bytes, field: bytes, job: bytes) -> _Suspect:
    asked = [("HGET", "nodes", field), ("HGET", "member", job)]
    text = "one of its jobs does not know that it belongs to it: its end will not be heard"
    return _Suspect("flow", flow, text, asked, lambda node, its: bool(node) and node[-16:] == job and its != field)


def _over(flow: bytes, field: bytes, job: bytes) -> _Suspect:
    asked = [("HGET", "nodes", field), ("HEXISTS", "msg", job), ("HEXISTS", "tomb", job)]

    def so(node: Any, message: int, tomb: int) -> bool:
        return bool(node) and node[-16:] == job and read_node(node) in _OPEN and (bool(tomb) or not message)

    return _Suspect("flow", flow, "it waits for the end of a job that has ended, or is gone", asked, so)


def _unjoined(flow: bytes, field: bytes, waits: bytes) -> _Suspect:
    asked = [("HGET", "nodes", waits), ("HEXISTS", "nodes", field), ("HEXISTS", "edges", field)]

    def so(node: Any, there: int, edges: int) -> bool:
        return bool(node) and read_node(node) == "" and bool(there) and not edges

    return _Suspect("no edges", flow, "some of its jobs wait for others, and nobody knows for whom", asked, so)


def _empty(flow: bytes) -> _Suspect:
    asked = [("HEXISTS", "flows", flow + word) for word in (b"head", b"sow")]
    asked += [("HEXISTS", "tomb", flow), ("HEXISTS", "nodes", flow + _FIRST)]
    # Without its head it is being forgotten, with a sower it is not stored yet.
    return _Suspect(
        "flow", flow, "it has not ended, and its jobs are not known", asked, lambda *its: its == (1, 0, 0, 0)
    )
