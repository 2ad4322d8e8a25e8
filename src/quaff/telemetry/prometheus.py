"""How queues stand, as metrics: asked of the server by whoever asks for them, the same wherever that is.

What workers do is told by each of them (``quaff worker --health``).
"""

from __future__ import annotations

import time

from quaff.app import Quaff
from quaff.errors import QuaffError
from quaff.inspector import Inspector
from quaff.inspector.shapes import QueueRow
from quaff.model import metrics
from quaff.model.metrics import Family, Samples

_STATES = ("queued", "running", "scheduled", "blocked", "away")
_EVENTS = ("enqueued", "succeeded", "failed", "cancelled", "expired", "retried")


def queue_metrics(quaff: Quaff, inspector: Inspector) -> list[tuple[Family, Samples]]:
    """Metrics of an inspector's queues; of a server that does not answer only that.

    ``quaff.model.metrics.render`` makes a text of them.
    """
    try:
        seen = inspector.overview()
        queues = seen.queues
        lag = quaff.schedules.lag([row.name for row in queues])
    except QuaffError:
        return [(metrics.UP, [((), 0)])]
    return [
        (metrics.UP, [((), 1)]),
        (metrics.DEPTH, [sample for row in queues for sample in _depth(row)]),
        (metrics.PARKED, [((row.name,), row.stats.parked) for row in queues]),
        (metrics.BACKLOG, [((row.name,), row.stats.backlog) for row in queues]),
        (metrics.AGE, [((row.name,), _age(row)) for row in queues]),
        (metrics.PAUSED, [((row.name,), int(row.stats.paused)) for row in queues]),
        (metrics.JOBS, [((row.name, each), getattr(row.stats, each)) for row in queues for each in _EVENTS]),
        (metrics.SERVED, [((row.name,), row.workers) for row in queues]),
        (metrics.WORKERS, [((), len(seen.workers))]),
        (metrics.LAG, [((), lag)]),
    ]


def _depth(row: QueueRow) -> Samples:
    counted = {each: getattr(row.stats, each) for each in _STATES} | {"failed": row.stats.dead_letters}
    return [((row.name, state), count) for state, count in counted.items()]


def _age(row: QueueRow) -> float:
    since = row.stats.head_since if row.stats.queued else None
    return max(0.0, time.time() - since.timestamp()) if since else 0.0
