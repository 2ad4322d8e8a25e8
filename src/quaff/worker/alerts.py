"""Tells the world of jobs that were given up and of queues that wait, in a thread of its own.

One worker at a time does it for a partition, and another one when that falls silent. What was told is noted behind it,
so each event is told at least once while its dead letter is kept.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Sequence

from quaff.errors import QuaffError
from quaff.model import ids, message, outcome
from quaff.model.ids import JobId
from quaff.model.message import CorruptMessage, NewerMessage
from quaff.model.source import Source
from quaff.model.times import instant
from quaff.model.webhook import MESSAGE, NAME, Body, Event, encode
from quaff.store.alerting import Due, First, Letter, Told, alerts
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.worker.webhook import DEADLINE, Undelivered, Webhook

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds between two looks; beyond those that a call may take, until another worker tells.
_EVERY, _SILENT = 2.0, 20.0
#: Jobs of one call.
_PAGE = 20
#: Attempts after which a job is in line again at once.
_CUT_SHORT = ("crashed", "lapsed", "unsettled", "released")
#: Seconds until the next try, at first and at most.
_PAUSE, _LONGEST = 1.0, 300.0


class Alerts:
    """Of one worker's queues.

    Args:
        store: the server.
        partitions: those that it serves; more may come.
        source: reads messages.
        webhook: where events are sent; None: that a queue is late goes into the log alone.
        wait: seconds after which a queue is late; 0: it never is.
    """

    def __init__(
        self, store: Store, partitions: Sequence[Partition], source: Source, webhook: Webhook | None, wait: float
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._source = source
        self._webhook = webhook
        self._wait = wait
        self._id = os.urandom(8)
        self._pause, self._silent_until = 0.0, 0.0
        threading.Thread(target=self._work, name="quaff-alerts", daemon=True).start()

    def _work(self) -> None:
        trouble = ""
        while True:
            try:
                for home in [*self._partitions]:
                    self._look(home)
                trouble = ""
            except QuaffError as error:
                if str(error) != trouble:
                    log.error("telling of failures: %s; trying again", error)
                trouble = str(error)
            time.sleep(_EVERY * random.uniform(0.8, 1.2))

    def _look(self, home: Partition) -> None:
        told = Told()
        while True:
            silent = time.monotonic() < self._silent_until
            most = _PAGE if self._webhook and not silent else 0
            lasts_ms = int((DEADLINE + _SILENT) * 1000)
            due = self._store.run(alerts(home, self._id, told, lasts_ms=lasts_ms, most=most))
            if due is None or silent:
                return
            events = [*(_given_up(home, letter) for letter in due.letters), *self._late(home, due)]
            if not events or not self._say(events):
                return
            late = {"queue.late": True, "queue.recovered": False}.get(events[-1].event)
            told = Told(due.letters[-1] if due.letters else None, late)

    def _say(self, events: list[Event]) -> bool:
        for event in events:
            if event.event == "queue.late":
                log.warning("queue %s is late: the head of its line has waited for %.0f s", event.queue, event.waits)
            elif event.event == "queue.recovered":
                log.warning("queue %s is late no more", event.queue)
        if self._webhook is None:
            return True
        try:
            self._webhook.send(encode(Body(self._source.namespace, events)))
        except Undelivered as error:
            if not self._pause:
                log.error("the webhook was not told: %s; trying again", error)
            self._pause = min(_LONGEST, max(_PAUSE, self._pause * 2))
            self._silent_until = time.monotonic() + self._pause * random.uniform(0.8, 1.2)
            return False
        if self._pause:
            log.warning("the webhook answers again")
        self._pause = 0.0
        return True

    def _late(self, home: Partition, due: Due) -> list[Event]:
        waits = waited(self._source, home, due) if self._wait and not due.paused else 0.0
        late = waits > self._wait > 0
        if late == due.late:
            return []
        return [
            Event(
                event="queue.late" if late else "queue.recovered",
                key=f"{home.queue}#{home.number}:{due.now_ms}",
                at=_instant(due.now_ms),
                queue=home.queue,
                waits=round(waits, 3),
            )
        ]


def waited(source: Source, home: Partition, due: Due) -> float:
    """Seconds that the first of all lines has waited, from when it was due, as far as anything tells."""
    since = [_since(source, home, each.id, each.message) if not each.attempt else _left(each) for each in due.head]
    return max(((due.now_ms - ms) / 1000 for ms in since if ms), default=0.0)


def _since(source: Source, home: Partition, id: bytes, data: bytes) -> int:
    where = message.Where(source.namespace, message.origin(data) or JobId(home.queue, home.number, id))
    try:
        sent = message.decode(data, seals=source.seals, where=where)
    except (CorruptMessage, NewerMessage):
        return 0
    if message.FLOW in sent.terms:
        return 0  # it was stored long before it was put in line
    due: int = max(sent.terms.get(message.DUE, 0), sent.terms.get(message.SCHEDULED, 0))
    return max(sent.created_ms or ids.created_ms(id), due)


def _left(first: First) -> int:
    """When its last attempt was cut short, after which it is in line at once; 0 of one that waited for its time."""
    attempts = outcome.decode_history(first.attempt)
    return attempts[-1].ended_ms if attempts and attempts[-1].outcome in _CUT_SHORT else 0


def _given_up(home: Partition, letter: Letter) -> Event:
    kept = outcome.read(letter.outcome) if letter.outcome else None
    failure = kept.attempt.error if kept else None
    id = str(JobId(home.queue, home.number, letter.id))
    return Event(
        event="job.failed",
        key=f"{id}:{letter.given_up_ms}",
        at=_instant(letter.given_up_ms),
        queue=home.queue,
        id=id,
        task=kept.task[:NAME] if kept else "",
        attempt=kept.attempt.number if kept else 0,
        reason=failure.reason[:NAME] if failure else "",
        error=failure.type[:NAME] if failure else "",
        message=failure.message[:MESSAGE] if failure else "",
    )


def _instant(ms: int) -> str:
    return instant(ms).isoformat(timespec="milliseconds")
