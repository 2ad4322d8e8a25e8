"""The process a user starts: it starts, watches and replaces worker processes, and runs no user code.

``run`` until a signal; ``drain`` lets running jobs finish for GRACE seconds; ``stop`` gives everything back. One
deadline is computed once and passed down.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from quaff.store.client import Store
from quaff.store.connect import Endpoint, mask
from quaff.store.keys import partition
from quaff.store.transitions import Rules
from quaff.worker.child import Child, describe
from quaff.worker.control import Word
from quaff.worker.maintenance import Chores, Death
from quaff.worker.process import CLOSED, DONE, HOPELESS
from quaff.worker.signals import Signals

log = logging.getLogger("quaff.worker")

#: Seconds: from "stop" to SIGKILL, and for giving back what the killed held.
_STOP, _BURY = 0.5, 0.4
#: Seconds in which a stop signal is the same one again: whoever started us passed on what the group got anyway.
_ECHO = 0.1
#: Seconds between two starts of a process that does not come up: the first pause and the longest.
_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Plan(NamedTuple):
    """What a worker is to do.

    Attributes:
        app: ``module:object``.
        queues: None serves every queue that the tasks name, and ``default``.
        processes: None takes the setting.
        grace: seconds; None takes the setting.
        flags: settings of the command line.
        name: kept with each attempt; host name and pid by default.
        level: of the log.
    """

    app: str
    queues: list[str] | None = None
    processes: int | None = None
    grace: float | None = None
    flags: Mapping[str, str | int | float] = MappingProxyType({})
    name: str = ""
    level: str = "info"


class Supervisor:
    """Runs one worker.

    Args:
        plan: what to do.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._name = plan.name or f"{socket.gethostname()}-{os.getpid()}"
        self._signals = Signals()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self._children: list[Child] = []
        self._wanted = plan.processes or 1
        self._start_at = 0.0
        self._pause = _PAUSE
        self._introduction: Word | None = None
        self._chores: Chores | None = None
        self._announced = False
        self._stops: list[int] = []
        self._stopped_at = 0.0
        self._stop_at = self._kill_at = float("inf")
        self._hopeless = ""

    def run(self) -> int:
        """Work until told to stop. Returns the exit code."""
        while True:
            self._act_on_signals()
            self._bury_the_dead()
            if self._hopeless:
                sys.stderr.write(f"Error: {self._hopeless.rstrip()}\n")
                break
            if self._stops and not self._children:
                break
            if not self._stops:
                self._start_missing()
            self._press()
            self._listen()
        if self._chores is not None:
            self._chores.close(_BURY)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        self._signals.restore()
        return self._code()

    def _code(self) -> int:
        if self._hopeless:
            return HOPELESS
        log.info("worker %s has stopped", self._name)
        return DONE if len(self._stops) < 2 else 128 + self._stops[1]

    # Starting

    def _start_missing(self) -> None:
        now = time.monotonic()
        while len(self._children) < self._wanted and now >= self._start_at:
            child = Child(self._plan.app, self._plan.flags, self._plan.queues, self._name, self._plan.level)
            self._children.append(child)
            self._tell_guard("+", child)
            if self._chores is not None:
                self._chores.add(child.id)

    def _listen(self) -> None:
        """Wait for a signal, a word of a child, or the next deadline."""
        timeout = 1.0 if self._introduction or self._children else _PAUSE
        for at in (self._stop_at, self._kill_at, self._start_at):
            if at > (now := time.monotonic()):
                timeout = min(timeout, at - now)
        controls = {child.control.fileno(): child for child in self._children if not child.control.closed}
        readable, _, _ = select.select([self._signals.fileno(), *controls], (), (), timeout)
        for descriptor in readable:
            if descriptor in controls:
                self._heard(controls[descriptor])

    def _heard(self, child: Child) -> None:
        for word in child.control.hear():
            if word.said == "loaded":
                child.loaded = True
                self._meet(word)
            elif word.said == "ready":
                child.ready = True
                self._pause = _PAUSE
                self._announce()
            elif word.said == "failed":
                child.hopeless = word.text

    def _meet(self, word: Word) -> None:
        """The first process has loaded the application: now the chores can begin."""
        if self._introduction is not None:
            return
        self._introduction = word
        settings = word.settings
        if self._plan.processes is None:
            self._wanted = int(settings["processes"]) or os.cpu_count() or 1
        rules = Rules(
            int(settings["max_crashes"]), int(settings["failed_ttl"] * 1000), int(settings["key_window"] * 1000)
        )
        endpoint = Endpoint(word.url, word.url_source, settings["deadline"])
        partitions = [partition(word.namespace, queue) for queue in word.queues]
        self._chores = Chores(Store(endpoint, settings["deadline"]), partitions, settings["lease"], rules)
        for child in self._children:
            self._chores.add(child.id)
        from quaff import __version__

        log.info(
            "quaff %s worker %s: %s, queues %s, processes %d, each with %s",
            __version__, self._name, mask(word.url), ",".join(word.queues), self._wanted, word.slots,
        )  # fmt: skip

    def _announce(self) -> None:
        ready = sum(child.ready for child in self._children)
        if not self._announced and ready >= self._wanted:
            self._announced = True
            log.info("ready: %d of %d processes", ready, self._wanted)

    # Ending

    def _act_on_signals(self) -> None:
        for number in self._signals.take():
            now = time.monotonic()
            if self._stops and now - self._stopped_at < _ECHO:
                continue
            self._stops.append(number)
            self._stopped_at = now
            if len(self._stops) == 1:
                grace = self._plan.grace
                if grace is None:
                    grace = self._introduction.settings["grace"] if self._introduction else 0.0
                log.info("%s: stopping; running jobs have %g s", signal.Signals(number).name, grace)
                self._tell_all("drain")
                self._stop_at = now + grace
                for child in self._children:
                    if not child.ready:  # it holds no job, and cannot hear while it imports or waits for the server
                        child.kill()
            elif len(self._stops) == 2:
                log.info("%s again: giving everything back", signal.Signals(number).name)
                self._stop_at = now

    def _press(self) -> None:
        """Enforce the deadlines of a stop."""
        now = time.monotonic()
        if now >= self._stop_at:
            self._stop_at, self._kill_at = float("inf"), now + _STOP
            self._tell_all("stop")
        if now >= self._kill_at:
            for child in self._children:
                child.kill()

    def _bury_the_dead(self) -> None:
        for child in [child for child in self._children if child.gone()]:
            if not child.control.closed:
                self._heard(child)
            code = child.see_off()
            self._children.remove(child)
            self._tell_guard("-", child)
            started = child.started()
            if child.hopeless or not child.loaded:
                self._not_up(child, code)
            elif code == CLOSED and not started:
                log.info("process %d is replaced", child.pid)
            elif not self._stops and not (code == DONE and not started):
                log.warning("process %d: %s; %d jobs were running in it", child.pid, describe(code)[1], len(started))
            if self._chores is not None:
                # Nobody is charged for a process that was told to go. One that was closed by the server has ended its
                # jobs first: where some were running, a task used the same exit code.
                blamed = [] if self._stops else started
                self._chores.bury(Death(child.id, blamed, child.worker, child.pid, *describe(code)))

    def _not_up(self, child: Child, code: int) -> None:
        """A process could not start. At the worker's own start that is the end; later another one is tried, slowly."""
        if self._introduction is None and child.hopeless:
            self._hopeless = child.hopeless
        elif not self._stops:
            log.error(
                "process %d did not start (%s); next try in %.1f s", child.pid, child.hopeless or code, self._pause
            )
            self._start_at = time.monotonic() + self._pause
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    # Telling

    def _tell_all(self, what: str) -> None:
        for child in self._children:
            child.control.say(Word(said=what))

    def _tell_guard(self, sign: str, child: Child) -> None:
        try:
            if self._guard.stdin is not None:
                self._guard.stdin.write(f"{sign}{child.pid}\n")
                self._guard.stdin.flush()
        except BrokenPipeError:
            log.error("the guard process is gone; if this supervisor is killed, jobs in C code may outlive it")


def serve(plan: Plan) -> int:
    """Run a worker in this process until a signal; returns its exit code (see ``docs/cli.md``)."""
    from quaff.worker.logs import set_up

    set_up(plan.level)
    return Supervisor(plan).run()
