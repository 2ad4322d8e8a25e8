"""What the server holds at the end: every job's ending, and whether anything was left lying about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from quaff import JobError, Quaff
from quaff.audit.auditor import Audit
from quaff.model import ids
from quaff.model.states import JobState
from quaff.store.client import Store
from quaff.store.keys import partition
from quaff.store.pages import partitions
from quaff.store.probe import Line
from quaff.store.queries import lookup
from tests.chaos.verdict import Ending

_CHUNK, _PATIENCE = 500, 60.0
#: Where a job is that has not ended.
_PLACES = {"ready": "llen", "solo": "llen", "parked": "zcard", "sched": "zcard", "active": "hlen"}


def ended(client: Any, namespace: str, queues: Iterable[str]) -> int:
    """How many endings were counted; more than there are jobs if one of them ended twice."""
    counted = 0
    for queue in queues:
        counts = client.hmget(partition(namespace, queue).key("meta"), "succeeded", "failed", "cancelled")
        counted += sum(int(count or 0) for count in counts)
    return counted


def left(client: Any, namespace: str, queues: Iterable[str]) -> dict[str, int]:
    """How many jobs of each place have not ended; empty if there are none."""
    found = {}
    with client.pipeline() as pipe:
        for queue in queues:
            for name, command in _PLACES.items():
                found[f"{queue}:{name}"] = getattr(pipe, command)(partition(namespace, queue).key(name))
        return {place: size for place, size in zip(found, pipe.execute(), strict=True) if size}


def graces(client: Any, namespace: str, queues: Iterable[str]) -> list[bytes | None]:
    """Until when nothing is reaped, in each queue."""
    return [client.hget(partition(namespace, queue).key("meta"), "reap_from") for queue in queues]


def endings(quaff: Quaff, jobs: Sequence[str], twice: Iterable[str]) -> dict[str, Ending]:
    """What is recorded of each job; of those that ran twice also, in which process."""
    found: dict[str, Ending] = {}
    # How long the judge reads is no part of the promise.
    store = Store(quaff.store.endpoint, _PATIENCE)
    for start in range(0, len(jobs), _CHUNK):
        chunk = jobs[start : start + _CHUNK]
        where = [ids.parse(each) for each in chunk]
        calls = [lookup(partition(quaff.settings.namespace, id.queue), id.raw) for id in where if id]
        for each, answer in zip(chunk, store.run_many(calls), strict=True):
            found[each] = Ending(answer.state or "unknown")
    for each, ending in found.items():
        # A crashed or lapsed attempt is in the history of any job, but only a few thousand have one.
        if ending.state == JobState.FAILED:
            info = quaff.job(each).info()
            crashed = tuple(attempt.pid for attempt in info.attempts if attempt.outcome == "crashed")
            lapses = sum(attempt.outcome == "lapsed" for attempt in info.attempts)
            found[each] = Ending(ending.state, info.error.reason if info.error else "", crashed, lapses)
    for each in twice:
        if found[each].state == JobState.SUCCEEDED:
            try:
                found[each] = Ending(JobState.SUCCEEDED, pid=quaff.job(each).result(timeout=5))
            except JobError as error:
                found[each] = Ending(f"succeeded without a result ({error})")
    return found


def audit(quaff: Quaff) -> list[str]:
    """What ``quaff audit`` says."""
    line = Line(quaff.store.endpoint)
    said = []
    for home, keys in partitions([line], quaff.settings.namespace).items():
        one = Audit(line, home, keys, quaff.settings.max_crashes)
        said += [f"audit: {home.queue}: {each}" for each in one.run()]
        said += [f"audit: {home.queue}: not checked: {each}" for each in one.unchecked]
    line.close()
    return said


def leftovers(client: Any, namespace: str, queues: Iterable[str]) -> list[str]:
    """What should not be there once every job has ended; whether the rest adds up, the audit says."""
    faults = []
    for queue in queues:
        keys = {name: partition(namespace, queue).key(name) for name in ("held", "tries", "msg", "meta")}
        sizes = {"held": client.zcard(keys["held"]), "tries": client.hlen(keys["tries"])}
        faults += [f"left over: {size} in {queue}:{name}" for name, size in sizes.items() if size]
        messages, failed = client.hlen(keys["msg"]), int(client.hget(keys["meta"], "failed") or 0)
        if messages != failed:
            faults.append(f"left over: {messages} messages in {queue}, where {failed} jobs failed")
    return faults
