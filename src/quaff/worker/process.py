"""One worker process: loads the application, builds the parts, and turns the fetcher until there is a reason to stop.

Started as ``python -m quaff.worker.process FD``, or a fork of an interpreter that has loaded no user code
(``forkserver.py``).
It ignores SIGINT, SIGTERM and SIGHUP, because what a stopping worker does is for its supervisor to say.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress

import msgspec

from quaff.app import Quaff
from quaff.errors import ConfigurationError, QuaffError, did_you_mean
from quaff.model.source import Source
from quaff.model.spread import check_spread
from quaff.store.keys import partition
from quaff.store.link import Link
from quaff.worker import clearing, stacks, traces
from quaff.worker.batching import Batches
from quaff.worker.capture import capture
from quaff.worker.completer import Completer
from quaff.worker.control import CLOSED, DONE, HOPELESS, UNREACHABLE, Control, Orders, Word, adopt
from quaff.worker.executor import Executor
from quaff.worker.fetcher import Fetcher
from quaff.worker.gauge import Gauge
from quaff.worker.guard import call_it
from quaff.worker.home import Home
from quaff.worker.line import Line
from quaff.worker.loading import load
from quaff.worker.logs import set_up
from quaff.worker.lookout import Lookout
from quaff.worker.observing import Observing
from quaff.worker.runners import Loop, Threads
from quaff.worker.starts import RECORDS, Starts
from quaff.worker.tally import Tally
from quaff.worker.telling import Telling
from quaff.worker.watch import Watch

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds an orphan lets its running jobs go on, the longest turn of the loop, and what exit handlers get.
_ORPHAN, _TURN, _FAREWELL = 3.0, 1.0, 2.0


class Process:
    """The parts of one process, and why it is stopping."""

    def __init__(self, app: Quaff, orders: Orders, control: Control) -> None:
        settings = app.settings
        self._control = control
        self._stopping: list[bool] = []
        wanted = settings.concurrency + settings.async_concurrency
        if wanted > RECORDS:
            raise ConfigurationError(
                f"CONCURRENCY and ASYNC_CONCURRENCY are {wanted} together; one process runs at most {RECORDS} jobs at "
                "a time. Start more processes (-p)."
            )
        self._until = float("inf")
        self.code: int = DONE
        self._abandoned = False
        self._tell_after = orders.tell_after
        starts = Starts(orders.starts)
        os.close(orders.starts)  # mapped; what tasks start must not inherit it
        id = bytes.fromhex(orders.process)
        tally = Tally(id, stored=settings.statistics, tell=self._count if orders.metered else None)
        counted = tally if settings.statistics or orders.metered else None
        completer = Completer(id, int(settings.key_window * 1000), starts, settings.partitions, counted)
        telling, gauge = Telling(settings.namespace, completer.wake), Gauge(counted=counted is not None)
        executor = (Observing if app.middleware else Executor)(app, orders.worker, self._stopping, telling.tell)
        home = Home(orders.supervisor)
        threads = Threads(executor, starts, home, settings.concurrency, completer.report, gauge)
        loop = Loop(executor, starts, home, settings.async_concurrency, completer.report, gauge)
        self._runners, self._loop = (threads, loop), loop.loop
        self._dump_asked = False
        self.queues: list[str] = orders.queues or app.queue_names()
        for task in app.tasks.values():
            check_spread(task.name, task.settings, settings.partitions)
        self.partitions: list[tuple[str, int]] = orders.partitions or [
            (queue, number) for queue in self.queues for number in range(settings.partitions.of(queue))
        ]
        counts = Counter(queue for queue, _ in self.partitions)
        lines = [
            Line(
                place,
                partition(settings.namespace, queue, number),
                kinds_of(app, queue),
                # Its partitions have a queue's turns between them.
                orders.weights.get(queue, 1) / counts[queue],
                batch_of(app, queue),
            )
            for place, (queue, number) in enumerate(self.partitions)
        ]
        link = Link(app.backend.endpoint, settings.deadline)
        self._completer = completer
        self._watch = Watch(self._runners, settings.grace, gauge)
        self._fetcher = Fetcher(
            id,
            link,
            Lookout(link, lines, ordered=orders.ordered),
            executor,
            {"sync": threads, "async": loop},
            completer,
            self._watch,
            Batches(),
            telling,
            tally,
            int(settings.lease * 1000),
            control,
        )

    @property
    def idle(self) -> bool:
        """True if no task runs here any more and nothing waits to be settled."""
        return not self._abandoned and self._fetcher.holds == 0 and not self._completer.pending

    def run(self) -> None:
        """Work until told to stop, or until the supervisor is gone."""
        while not self._finished():
            if self._fetcher.step(min(_TURN, max(0.0, self._until - time.monotonic()))):
                self._listen()
            if self._dump_asked:
                self._dump_asked = False
                log.warning("%s: the stacks\n%s", traces.SIGNAL.name, self._stacks())
            if self._tell_after is not None and self._fetcher.done >= self._tell_after:
                self._tell_after = None
                self._control.say(Word(said="done", count=self._fetcher.done))
            if self._control.closed and self._until == float("inf"):
                # The supervisor is gone and with it the lease: finish what can be finished soon, give back the rest.
                self._drain()
                self._until = time.monotonic() + _ORPHAN
            if self._fetcher.closed and not self._stopping:
                log.warning(
                    "this process was silent for longer than its lease; it takes nothing more, another one comes"
                )
                self.code = CLOSED
                self._control.say(Word(said="closed"))
                self._drain()
        self._fetcher.leave()

    def _listen(self) -> None:
        for word in self._control.hear():
            if word.said == "drain":
                self._drain()
            elif word.said == "stop":
                self._give_up()
            elif word.said == "cancel":
                self._watch.cancel(word.text.encode())
            elif word.said == "dump" and self._control.has_room:
                self._control.say(Word(said="dumped", text=self._stacks(word.text.encode())))

    def ask_dump(self) -> None:
        """Put the stacks into the log; from a signal handler."""
        self._dump_asked = True
        self._completer.wake()

    def _stacks(self, wanted: bytes = b"") -> str:
        running = [run for runner in self._runners for run in runner.running if run is not None]
        return stacks.of_process(running, self._loop, wanted)

    def _count(self, counted: dict[str, dict[str, dict[str, int]]]) -> None:
        # A supervisor that hears nothing must not keep the jobs waiting: these are nothing but numbers.
        if self._control.has_room:
            self._control.say(Word(said="counted", counted=counted))

    def _drain(self) -> None:
        self._stopping.append(True)
        self._fetcher.halt()

    def _give_up(self) -> None:
        self._drain()
        self._until = 0.0

    def _finished(self) -> bool:
        if not self._stopping:
            return False
        if self.idle:
            return True
        if time.monotonic() < self._until:
            return False
        self._abandoned = not self.idle
        self._fetcher.give_back_everything()
        before = self._fetcher.holds + 1
        # As long as it helps: one call takes so many.
        while 0 < self._fetcher.holds < before:
            before = self._fetcher.holds
            self._fetcher.step(0.0)
        return True


def work(descriptor: int) -> None:
    """The program of one process; ``descriptor``: of its line. Returns never."""
    call_it("quaff-process")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN: that would be inherited by the programs that tasks start.
        signal.signal(number, lambda *_: None)
    control = adopt(descriptor)
    orders = wait_for_orders(control)
    set_up(orders.level, orders.log_format)
    try:
        app = load(orders.app)
        app.override(**orders.flags)
        capture(app.settings.job_log_level)
        process = Process(app, orders, control)
    except QuaffError as error:
        control.say(Word(said="failed", text=str(error)))
        os._exit(HOPELESS)
    except BaseException:  # noqa: BLE001  user code at import: whatever it raises is told to the supervisor
        control.say(Word(said="failed", text=traceback.format_exc()))
        os._exit(HOPELESS)
    told = introduction(app, process.queues, process.partitions)
    control.say(msgspec.structs.replace(told, traces=traces.arm(orders.traces, process.ask_dump)))
    wait_for_server(app, control, for_ever=not orders.burst)
    control.say(Word(said="ready"))
    clearing.start(app)
    process.run()
    leave(process.code, idle=process.idle, orphan=control.closed)


def wait_for_orders(control: Control) -> Orders:
    """What it is to do, which may come in pieces; ends the process if the supervisor goes first."""
    while not control.closed:
        select.select([control], (), ())
        for word in control.hear():
            if word.orders is not None:
                return word.orders
    os._exit(DONE)


def wait_for_server(app: Quaff, control: Control, *, for_ever: bool) -> None:
    """Return when the server answers; ends the process if the supervisor goes first, or at once if not ``for_ever``."""
    from quaff.store.queries import lookup

    probe = lookup(partition(app.settings.namespace, "default"), b"")
    said = False
    while True:
        try:
            app.store.run(probe)
            app.store.go(app.news(app.queue_names()))
        except ConfigurationError as error:
            # Such as an embedded server whose program is nowhere: that does not pass.
            control.say(Word(said="failed", text=str(error)))
            os._exit(HOPELESS)
        except QuaffError as error:
            if not for_ever:
                control.say(Word(said="failed", text=str(error), count=UNREACHABLE))
                os._exit(HOPELESS)
            if not said:
                log.error("%s; trying again", error)
            said = True
            # Whatever the supervisor says to a process that has nothing yet means that it is to go.
            if select.select([control], (), (), 0.2)[0]:
                os._exit(DONE)
        else:
            app.store.endpoint.abandon_pool()  # from now on it is for tasks that send jobs
            return


def introduction(app: Quaff, queues: list[str], partitions: list[tuple[str, int]]) -> Word:
    """What the supervisor must know to renew leases and sweep: it never loads the application itself."""
    s = app.settings
    numbers = (
        "lease",
        "grace",
        "deadline",
        "failed_ttl",
        "result_ttl",
        "key_window",
        "max_crashes",
        "processes",
        "failed_count",
        "failed_bytes",
        "alert_wait",
    )
    source = Source(s.namespace, s.seals)
    return Word(
        said="loaded",
        signing_keys=s.signing_keys,
        encryption_keys=s.encryption_keys,
        require_signed=s.require_signed,
        webhook_url=s.webhook_url,
        webhook_key=s.webhook_key,
        url=s.url,
        url_source=s.url_source,
        namespace=s.namespace,
        queues=queues,
        partitions=partitions,
        settings={name: float(getattr(s, name)) for name in numbers},
        slots=f"{s.concurrency} threads, {s.async_concurrency} coroutines",
        schedules=[
            (partitions.index((each.queue, 0)), each.name, source.seal(each.queue, each.name, each.definition))
            for each in app.declared_schedules.values()
            if each.queue in queues
        ],
        text=_unnamed(app, queues),
    )


def _unnamed(app: Quaff, queues: list[str]) -> str:
    """What to say of queues that no task names: somebody may have misspelt one, and nothing else would ever tell."""
    known = app.queue_names()
    strange = [queue for queue in queues if queue not in known]
    hints = "".join(did_you_mean(queue, known) for queue in strange)
    return f"no task here names the queue {', '.join(map(repr, strange))}.{hints}" if strange else ""


def kinds_of(app: Quaff, queue: str) -> frozenset[str]:
    """Which runners the tasks declared for a queue need; where none are declared, those of the whole application."""
    tasks = list(app.tasks.values())
    here = [task for task in tasks if task.settings.queue == queue] or tasks
    return frozenset("async" if task.is_async else "sync" for task in here) or frozenset({"sync"})


def batch_of(app: Quaff, queue: str) -> int:
    """How many jobs the largest batch of a queue takes; 0 if a task there takes them one by one."""
    batches = [task.settings.batch for task in app.tasks.values() if task.settings.queue == queue]
    return max((each.size if each else 0 for each in batches), default=0) if all(batches) else 0


def leave(code: int, *, idle: bool, orphan: bool) -> None:
    """End the process. A thread that still runs a task must not hold it up; an orphan takes its children with it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a task may have closed it, or whoever read it is gone
            stream.flush()
    if orphan and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    if idle:
        # In time: a thread that the application left running would hold the interpreter for ever.
        timer = threading.Timer(_FAREWELL, os._exit, (code,))
        timer.daemon = True
        timer.start()
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    work(int(sys.argv[1]))
