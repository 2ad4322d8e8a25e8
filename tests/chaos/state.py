"""What the server holds at the end, read raw: every job's ending, and whether anything was left lying about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from quaff import Quaff
from quaff.model import ids
from quaff.model.states import JobState
from quaff.store.keys import NAMES, partition
from quaff.store.queries import lookup
from tests.chaos.verdict import Ending

_CHUNK = 500


def ended(client: Any, namespace: str, queues: Iterable[str]) -> int:
    """How many endings were counted; more than there are jobs if one of them ended twice."""
    counted = 0
    for queue in queues:
        counts = client.hmget(partition(namespace, queue).key("meta"), "succeeded", "failed", "cancelled")
        counted += sum(int(count or 0) for count in counts)
    return counted


def endings(quaff: Quaff, sent: Sequence[str]) -> dict[str, Ending]:
    """What is recorded of each job."""
    found: dict[str, Ending] = {}
    for start in range(0, len(sent), _CHUNK):
        chunk = sent[start : start + _CHUNK]
        where = [ids.parse(each) for each in chunk]
        calls = [lookup(partition(quaff.settings.namespace, id.queue), id.raw) for id in where if id]
        for each, answer in zip(chunk, quaff.store.run_many(calls), strict=True):
            found[each] = Ending(answer.state or "unknown")
    for each, ending in found.items():
        # A crashed or lapsed attempt is in the history of any job, but only a few thousand have one.
        if ending.state == JobState.FAILED:
            info = quaff.job(each).info()
            crashed = tuple(attempt.pid for attempt in info.attempts if attempt.outcome == "crashed")
            lapses = sum(attempt.outcome == "lapsed" for attempt in info.attempts)
            found[each] = Ending(ending.state, info.error.reason if info.error else "", crashed, lapses)
    return found


def leftovers(client: Any, namespace: str, queues: Iterable[str]) -> list[str]:
    """What should not be there once every job has ended: invariants 6, 10 and 13 of docs/design/engine.md."""
    faults = []
    for queue in queues:
        keys = {name: partition(namespace, queue).key(name) for name in NAMES}
        sizes = {
            "ready": client.llen(keys["ready"]),
            "solo": client.llen(keys["solo"]),
            "parked": client.zcard(keys["parked"]),
            "active": client.hlen(keys["active"]),
            "held": client.zcard(keys["held"]),
            "tries": client.hlen(keys["tries"]),
        }
        faults += [f"left over: {size} in {queue}:{name}" for name, size in sizes.items() if size]
        messages, failed = client.hlen(keys["msg"]), int(client.hget(keys["meta"], "failed") or 0)
        if messages != failed:
            faults.append(f"left over: {messages} messages in {queue}, where {failed} jobs failed")
    known = {partition(namespace, queue).key(name) for queue in queues for name in NAMES}
    for key in client.scan_iter(match=f"quaff:{{{namespace}/*", count=1000):
        if key not in known:
            faults.append(f"unknown key: {key!r}")
        if client.ttl(key) != -1:
            faults.append(f"a key that can vanish: {key!r}")
    return faults
