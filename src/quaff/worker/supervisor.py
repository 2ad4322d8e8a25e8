"""The process a user starts: it starts, watches and replaces worker processes, and runs no user code.

``run`` until a signal; ``drain`` lets running jobs finish, for GRACE seconds after a signal; ``stop`` gives everything
back. One deadline is computed once and passed down.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence

import msgspec

from quaff import __version__
from quaff.store.urls import mask
from quaff.worker import orphans
from quaff.worker.burst import Burst
from quaff.worker.child import Child, describe, say_what_runs
from quaff.worker.control import DONE, HOPELESS, Orders, Word
from quaff.worker.dumps import Dumps
from quaff.worker.health import Health
from quaff.worker.lapses import Lapses
from quaff.worker.launching import launcher
from quaff.worker.limits import Limits
from quaff.worker.maintenance import Chores, Death
from quaff.worker.pause import Pause
from quaff.worker.plan import Plan
from quaff.worker.rotation import Rotation
from quaff.worker.serving import Serving
from quaff.worker.signals import Signals
from quaff.worker.starts import Start
from quaff.worker.systemd import Systemd

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds for giving back what the killed held.
_BURY = 0.4
#: Seconds in which a stop signal is the same one again: whoever started us passed on what the group got anyway.
_ECHO = 0.1
#: Seconds between two looks at what runs too long, and while stacks or a renewal are waited for.
_LOOK, _SOON = 0.5, 0.1
#: Seconds of a turn while there is nothing to look at yet.
_SHORT = 0.2


class Supervisor:
    """Runs one worker.

    Args:
        plan: what to do.
        clean: this process has loaded nothing but Quaff.

    Raises:
        ConfigurationError: nobody can listen where it is to tell how it is.
    """

    def __init__(self, plan: Plan, *, clean: bool = False) -> None:
        self._systemd = Systemd()
        # Before all else: what is open by then, or runs, would be in a fork of it.
        self._launcher = launcher(clean=clean)
        self._guard = self._launcher.guard
        self._plan = plan
        self._name = plan.name or f"{socket.gethostname()}-{os.getpid()}"
        self._signals = Signals()
        self._health = Health(plan.health)
        self._orders = Orders(
            app=plan.app,
            flags=dict(plan.flags),
            queues=plan.queues,
            ordered=plan.queues is not None and not plan.weights,
            weights=dict(plan.weights),
            supervisor=os.getpid(),
            worker=self._name,
            level=plan.level,
            log_format=plan.log_format,
            tell_after=plan.wear.jobs,
            metered=plan.health is not None,
            burst=plan.burst,
        )
        self._children: list[Child] = []
        self._wanted = plan.processes or 1
        self._pause = Pause()
        self._lapses = Lapses()
        self._introduction: Word | None = None
        self._serving: Serving | None = None
        self._chores: Chores | None = None
        self._limits: Limits | None = None
        self._rotation: Rotation | None = None
        self._dumps = Dumps()
        self._burst: Burst | None = None
        self._announced = False
        self._stops: list[int] = []
        self._draining = False
        self._stopped_at = 0.0
        self._hopeless: Child | None = None

    def run(self) -> int:
        """Work until told to stop. Returns the exit code."""
        while True:
            self._act_on_signals()
            self._guard.look()
            self._bury_the_dead()
            orphans.collect(
                {self._guard.pid, *(child.pid for child in self._children)}, adopting=self._launcher.adopting
            )
            if self._hopeless is not None:
                sys.stderr.write(f"Error: {self._hopeless.hopeless.rstrip()}\n")
                break
            if self._ending and not self._children:
                break
            if not self._ending:
                self._grow()
                self._start_missing()
            for child in self._children:
                child.press(time.monotonic())
            # Before the application has been loaded nobody knows how long that takes.
            if self._chores is None or self._chores.alive:
                self._systemd.alive()
            if self._chores is not None and self._limits is not None:
                self._limits.enforce(self._children, self._chores)
            if self._serving is not None:
                self._serving.presence.look(self._children, stopping=self._ending)
                self._dumps.look(self._children, self._serving)
                if self._serving.presence.drain:
                    self._drain("somebody has asked for it")
                if self._burst is not None and self._burst.over:
                    self._drain("nothing waits in its queues")
            self._health.look(self._children, self._wanted, self._serving, stopping=self._ending)
            self._listen()
        for child in self._children:
            child.see_off()
            self._guard.discard(child.pid)
        if self._chores is not None:
            self._chores.close(_BURY)
        self._guard.close()
        self._signals.restore()
        return self._code()

    def _code(self) -> int:
        if self._hopeless is not None:
            return self._hopeless.code
        log.info("worker %s has stopped", self._name)
        return DONE if len(self._stops) < 2 else 128 + self._stops[1]

    def reload(self) -> None:
        """Replace all processes, one at a time, by new ones with the code as it is then; from any thread."""
        self._signals.ask_reload()

    # Starting

    def _grow(self) -> None:
        """Serve partitions that came to light: processes that do not know of them are worn."""
        if self._serving is not None and (partitions := self._serving.grown()):
            log.info("there are more partitions than this worker knew: %d", len(partitions))
            self._orders = msgspec.structs.replace(self._orders, partitions=list(partitions))

    def _start_missing(self) -> None:
        wanted = self._wanted
        if self._rotation is not None:
            wanted = self._rotation.step(self._children, wanted, self._orders.partitions)
        while sum(child.serving for child in self._children) < wanted and time.monotonic() >= self._pause.until:
            if self._lapses.bar(self._chores):
                return
            try:
                child = Child(self._orders, self._launcher)
            except OSError as error:
                self._pause.begin(f"no other process can be started: {error}")
                return
            self._children.append(child)
            self._guard.add(child.pid)
            if self._chores is not None:
                self._chores.add(child.id)

    def _listen(self) -> None:
        """Wait for a signal, a word of a child, or the next deadline."""
        timeout = _LOOK if self._introduction or self._children else _SHORT
        timeout = _SOON if self._dumps.open or (self._lapses.barred and not self._ending) else timeout
        leaving = [child.leaves_at for child in self._children if child.leaves_at is not None]
        for at in (self._pause.until, *leaving):
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
                self._meet(child, word)
            elif word.said == "ready":
                child.ready = True
                self._announce(child)
            elif word.said == "closed":
                child.closed = True
                self._lapses.note(self._chores)
            elif word.said == "done":
                child.jobs_done = word.count
            elif word.said == "counted":
                self._health.add(word.counted)
            elif word.said == "dumped" and self._serving is not None:
                self._dumps.heard(child, word.text, self._serving)
            elif word.said == "failed":
                child.hopeless, child.code = word.text, word.count or HOPELESS

    def _meet(self, child: Child, word: Word) -> None:
        """A process has loaded the application. With the first one the chores can begin."""
        child.introduction = word
        if self._introduction is not None:
            if _essence(word) != _essence(self._introduction):
                # The code has changed since. Its leases would be renewed elsewhere, or in time for another lease.
                child.hopeless = "its server, namespace or lease is not that of this worker: restart the worker"
                child.kill()
            elif word.schedules != self._introduction.schedules and self._chores is not None:
                self._introduction = msgspec.structs.replace(self._introduction, schedules=word.schedules)
                self._chores.declare(word.schedules)
            return
        self._introduction = word
        # A later process must serve the same, in the same order, whatever its code says by then.
        self._orders = msgspec.structs.replace(self._orders, queues=word.queues, partitions=word.partitions)
        if self._plan.processes is None:
            self._wanted = int(word.settings["processes"]) or os.cpu_count() or 1
        self._serving = Serving(word, self._name)
        self._chores = self._serving.chores
        grace = word.settings["grace"] if self._plan.grace is None else self._plan.grace
        self._limits = Limits(grace)
        self._rotation = Rotation(self._plan.wear, grace)
        for child in self._children:
            self._chores.add(child.id)
        if word.text:
            log.warning("%s", word.text)
        log.info(
            "quaff %s worker %s: %s, queues %s, processes %d, each with %s",
            __version__, self._name, mask(word.url), ",".join(word.queues), self._wanted, word.slots,
        )  # fmt: skip

    def _announce(self, latest: Child) -> None:
        ready = [child.pid for child in self._children if child.ready]
        if self._announced:
            log.info("process %d is ready, in the place of another one", latest.pid)
        elif len(ready) >= self._wanted:
            self._announced = True
            log.info("ready: %d of %d processes, pid %s", len(ready), self._wanted, ", ".join(map(str, ready)))
            self._systemd.tell("READY=1", f"STATUS={len(ready)} of {self._wanted} processes ready")
            if self._plan.burst and self._serving is not None:
                self._burst = self._serving.burst(lambda: [child.id for child in self._children])

    # Ending

    @property
    def _ending(self) -> bool:
        return self._draining or bool(self._stops)

    def _drain(self, why: str) -> None:
        """Claim nothing more, and end when what runs has, however long that takes; a signal shortens it."""
        if self._ending:
            return
        self._draining = True
        log.info("draining: %s; running jobs come to their end", why)
        # Not STOPPING=1: after that systemd ends everything in TimeoutStopSec.
        self._systemd.tell("STATUS=draining")
        self._send_off(math.inf)

    def _send_off(self, at: float) -> None:
        for child in self._children:
            child.leave(at)
            if not child.ready:  # it holds no job, and cannot hear while it imports or waits for the server
                child.kill()

    def _act_on_signals(self) -> None:
        if self._signals.take_dump():
            self._dumps.ask(self._children)
        if self._rotation is not None and not self._ending and self._signals.take_reload():
            log.info("replacing all processes, one at a time")
            self._rotation.reload(self._children)
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
                self._systemd.tell("STOPPING=1")
                self._send_off(now + grace)
            elif len(self._stops) == 2:
                log.info("%s again: giving everything back", signal.Signals(number).name)
                say_what_runs(self._children, self._orders.partitions or ())
                for child in self._children:
                    child.leave(now)

    def _bury_the_dead(self) -> None:
        for child in [child for child in self._children if child.gone()]:
            self._heard(child)
            code = child.see_off()
            self._children.remove(child)
            self._guard.discard(child.pid)
            started = child.running()
            blamed = self._blamed(child, started)
            child.forget()
            if child.hopeless or child.introduction is None:
                self._not_up(child, code)
            elif child.closed and not started:
                log.info("process %d, which was silent for too long, has ended", child.pid)
            elif child.sent_away or (code == DONE and not started):
                pass  # as it was told
            else:
                how = describe(code)[1].removeprefix("its process ")
                log.warning("process %d %s; jobs running in it: %d", child.pid, how, len(started))
                self._health.crashed()
                if not started:
                    self._pause.begin(None, child.began)
            if self._chores is not None:
                self._chores.bury(Death(child.id, blamed, child.worker, child.pid, *describe(code)))

    def _blamed(self, child: Child, started: Sequence[Start]) -> list[tuple[Start, str]]:
        """What becomes of the jobs that had begun in a process that is gone (see ``transitions.End``)."""
        unsettled = child.unsettled()
        if child.ended:
            return [(start, child.ended.get(start.token, "b")) for start in (*started, *unsettled)]
        # Nobody is charged for a process that had to go at once. One that was told to leave, or closed by the server,
        # ends its jobs first: where some were running it has crashed, though a task may have used the same exit code.
        if child.sent_away:
            return []
        # Who had ended is charged if it was alone there: nobody else can have killed the process.
        return [*((start, "x") for start in started), *((start, "x" if start.alone else "u") for start in unsettled)]

    def _not_up(self, child: Child, code: int) -> None:
        """A process could not start. At the worker's own start that is the end; later another one is tried, slowly."""
        if not self._announced and child.hopeless:
            self._hopeless = child
        elif not self._ending:
            self._pause.begin(f"process {child.pid} did not start: {child.hopeless or describe(code)[1]}", child.began)
            Rotation.forget_reload(self._children)


def _essence(word: Word) -> tuple[str, str, float]:
    return word.url, word.namespace, word.settings["lease"]
