"""How a worker is, told over HTTP by its supervisor: the process that runs no user code, and so is never held up by it.

The supervisor's loop puts down how things stand; whoever asks is answered from that, by other threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from quaff.model import counts, metrics
from quaff.model.metrics import MOST_TASKS, OTHER, Family, Samples
from quaff.worker.child import Child
from quaff.worker.listening import Address, Answer, Listening, Request
from quaff.worker.rotation import memory_of
from quaff.worker.serving import Serving

#: Seconds: a loop of the supervisor, and one of its chores, that did not turn for so long is stuck.
_LOOP, _CHORES = 10.0, 60.0
#: Seconds without an answer after which the server counts as away: it is asked something every five at least.
_AWAY = 12.0
#: Seconds between two looks at memory and processes, and for which an answer of the server is good.
_EVERY = 1.0
_JSON = "application/json"
_OUTCOMES = ("succeeded", "failed", "cancelled", "expired", "retried", "snoozed")


class Standing(msgspec.Struct, frozen=True):
    """How things stood when the loop turned last. ``running``: attempts by queue; ``memory``: bytes."""

    wanted: int = 0
    states: Mapping[str, int] = {}
    running: Mapping[str, int] = {}
    memory: int = 0
    stopping: bool = False


class Health:
    """Pages about one worker.

    ``look``, ``add`` and ``crashed`` are the supervisor's; nothing is gathered where nobody listens.

    Args:
        where: the address; None: nobody asks.

    Raises:
        ConfigurationError: nobody can listen there.
    """

    def __init__(self, where: Address | None) -> None:
        self._turned = time.monotonic()
        self._look_at = 0.0
        self._standing = Standing()
        self._serving: Serving | None = None
        self._numbers: dict[tuple[str, str], dict[str, int]] = {}
        self._tasks: set[str] = set()
        self._crashes = 0
        self._started = time.time()
        self._adding = threading.Lock()
        self._asking = threading.Lock()
        self._backlog: tuple[float, dict[str, dict[str, int]]] = (0.0, {})
        self.listens: bool = where is not None
        if where is not None:
            pages = {
                "/livez": self._livez,
                "/readyz": self._readyz,
                "/metrics": self._metrics,
                "/autoscale": self._autoscale,
            }
            listening = Listening(where, pages)
            listening.start()
            self.port: int = listening.port

    # What the supervisor says

    def look(self, children: Sequence[Child], wanted: int, serving: Serving | None, *, stopping: bool) -> None:
        """The loop has turned."""
        self._turned = time.monotonic()
        self._serving = serving
        if not self.listens:
            return
        states, before = Counter(map(_state, children)), self._standing
        if self._turned < self._look_at and (states, stopping) == (before.states, before.stopping):
            return
        self._look_at = self._turned + _EVERY
        running: Counter[str] = Counter()
        if serving is not None:
            running.update(dict.fromkeys(serving.queues, 0))
            running.update(serving.queue_at(start.partition) for child in children for start in child.running())
        memory = memory_of(os.getpid()) + sum(memory_of(child.pid) for child in children)
        self._standing = Standing(wanted, states, running, memory, stopping)

    def add(self, counted: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """A process has counted this, by queue and task (``model.counts``)."""
        with self._adding:
            for queue, tasks in counted.items():
                for task, numbers in tasks.items():
                    key = (self._name(task), queue)
                    self._numbers[key] = counts.merge([self._numbers.get(key, {}), numbers])

    def crashed(self) -> None:
        """A process has ended that nobody had told to."""
        self._crashes += 1

    def _name(self, task: str) -> str:
        if task not in self._tasks and len(self._tasks) < MOST_TASKS and task:
            self._tasks.add(task)
        return task if task in self._tasks else OTHER

    # What it is asked

    def _livez(self, _: Request) -> Answer:
        stuck = time.monotonic() - self._turned
        if stuck > _LOOP:
            return Answer(f"the supervisor's loop has not turned for {stuck:.0f} s\n", 503)
        chores = self._serving.chores if self._serving else None
        if chores is not None and not self._standing.stopping:
            stuck = time.monotonic() - chores.turned_at
            if stuck > _CHORES or not chores.alive:
                return Answer(f"the supervisor's chores have not gone on for {stuck:.0f} s\n", 503)
        return Answer("ok\n")

    def _readyz(self, request: Request) -> Answer:
        why = self._not_ready()
        if why:
            return Answer(f"{why}\n", 503)
        return self._livez(request)

    def _not_ready(self) -> str:
        now = self._standing
        ready = now.states.get("ready", 0)
        if now.stopping:
            return "it is stopping"
        if self._serving is None or ready < now.wanted:
            return f"{ready} of {now.wanted or 'its'} processes are ready"
        return "" if self._answers(self._serving) else "the server does not answer"

    @staticmethod
    def _answers(serving: Serving) -> bool:
        return time.monotonic() - serving.chores.answered_at < _AWAY

    def _metrics(self, request: Request) -> Answer:
        return scraped(self._families(), request)

    def _families(self) -> list[tuple[Family, Samples]]:
        now, up = self._standing, self._serving is not None and self._answers(self._serving)
        with self._adding:
            found = [(key, counts.read(numbers)) for key, numbers in sorted(self._numbers.items())]
        return [
            (metrics.UP, [((), int(up))]),
            (metrics.TASKS, [((*key, how), getattr(each, how)) for key, each in found for how in _OUTCOMES]),
            (metrics.DURATION, [(key, each.run) for key, each in found]),
            (metrics.WAIT, [(key, each.wait) for key, each in found]),
            (metrics.GREW, [(key, each.memory) for key, each in found]),
            (metrics.STORED, [(key, each.stored) for key, each in found]),
            (metrics.RUNNING, [((queue,), count) for queue, count in sorted(now.running.items())]),
            (metrics.PROCESSES, [((each,), now.states.get(each, 0)) for each in ("ready", "starting", "leaving")]),
            (metrics.CRASHES, [((), self._crashes)]),
            (metrics.MEMORY, [((), now.memory)]),
            (metrics.STARTED, [((), self._started)]),
        ]

    def _autoscale(self, request: Request) -> Answer:
        serving = self._serving
        if serving is None:
            return Answer("the application is not loaded yet\n", 503)
        with self._asking:
            at, found = self._backlog
            if time.monotonic() - at > _EVERY:
                found = {queue: stats.scale() for queue, stats in serving.stats().items()}
                self._backlog = (time.monotonic(), found)
        return autoscale(found, request.query.get("queue"))


def _state(child: Child) -> str:
    return "leaving" if not child.serving else "ready" if child.ready else "starting"


def scraped(found: Iterable[tuple[Family, Samples]], request: Request) -> Answer:
    """Metrics in the format that is asked for."""
    open_metrics = "application/openmetrics-text" in request.accept
    text = metrics.render(found, open_metrics=open_metrics)
    return Answer(text, type=metrics.OPEN if open_metrics else metrics.PLAIN)


def autoscale(found: Mapping[str, Mapping[str, int]], queue: str | None) -> Answer:
    """What an autoscaler is told: of one queue, or the sum of all, and each of them."""
    if queue is not None:
        if queue not in found:
            return Answer(f"there is no queue {queue!r} here: {', '.join(found)}\n", 404)
        return Answer(msgspec.json.encode(found[queue]).decode(), type=_JSON)
    total = sum(each["backlog"] for each in found.values())
    return Answer(msgspec.json.encode({"backlog": total, "queues": found}).decode(), type=_JSON)
