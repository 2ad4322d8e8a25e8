"""Clears the store of results of what is kept no longer, now and then, in each process."""

from __future__ import annotations

import logging
import random
import threading
import time

from quaff.app import Quaff
from quaff.model import stored
from quaff.model.ids import JobId
from quaff.results import ResultStore
from quaff.store.flows import graph
from quaff.store.keys import partition
from quaff.worker.keeping import MARGIN

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds between two looks, and while there is more than one look brings.
_BETWEEN, _PAUSE = 60.0, 1.0
#: Names in one look.
_AT_ONCE = 1000


def start(app: Quaff) -> None:
    """Begin, in a thread, if the application has such a store."""
    if app.results is not None:
        threading.Thread(target=_work, args=(app, app.results), name="quaff-results", daemon=True).start()


def _work(app: Quaff, results: ResultStore) -> None:
    while True:
        more = False
        try:
            more = clear(app, results) == _AT_ONCE
        except Exception as error:  # noqa: BLE001  the store is the user's code, and the server may be away: later, then
            log.warning("clearing %r: %s: %s", results, type(error).__name__, error)
        # Not all processes at the same time.
        time.sleep(_PAUSE if more else _BETWEEN * random.uniform(0.7, 1.0))


def clear(app: Quaff, results: ResultStore) -> int:
    """Look once; how many it has looked at.

    What a flow that is still known can give to its jobs stays: how long that takes nobody knew when it was stored.
    """
    names = results.overdue(_AT_ONCE)
    flows: dict[JobId, bool] = {}
    for name in names:
        flow = stored.flow_of(name)
        if flow is not None and flow not in flows:
            home = partition(app.settings.namespace, flow.queue, flow.partition)
            flows[flow] = app.store.run(graph(home, flow.raw, most=0)) is not None
        if flow is not None and flows[flow]:
            results.keep(name, MARGIN)
        else:
            results.delete(name)
    return len(names)
