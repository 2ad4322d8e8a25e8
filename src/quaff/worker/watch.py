"""Looks at what runs in a process, how large that is, and cuts short what has run long enough or was cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from quaff.worker.gauge import Gauge
from quaff.worker.run import Run

#: Seconds between two looks while something runs.
_EVERY = 0.1
#: Seconds that a function which was cancelled gets to notice by itself, at most.
_NOTICE = 3.0


class Runner(Protocol):
    """What runs attempts; see ``runners.py``."""

    running: list[Run | None]

    @property
    def load(self) -> int:
        """Jobs that it has."""
        ...

    def cut(self, run: Run, why: str) -> None:
        """Make an attempt end."""
        ...


class Watch:
    """A thread that sleeps while nothing runs.

    Args:
        runners: what runs.
        grace: seconds after which the supervisor ends the process of an attempt that was cancelled and goes on.
        gauge: what is looked at, too.
    """

    def __init__(self, runners: Sequence[Runner], grace: float, gauge: Gauge) -> None:
        self._runners = runners
        self._gauge = gauge
        self._notice = min(_NOTICE, grace / 2)
        self._something = threading.Event()
        threading.Thread(target=self._work, name="quaff-watch", daemon=True).start()

    def wake(self) -> None:
        """Jobs have been handed over."""
        if not self._something.is_set():
            self._something.set()

    def cancel(self, token: bytes) -> None:
        """Somebody wants this attempt to end: from the next look on; nothing happens if it is not here, or knows."""
        for runner in self._runners:
            for run in runner.running:
                if run is not None and run.job.claim.lease.token == token and not run.current.cancelled:
                    run.current.cancelled = True
                    # A coroutine cannot look by itself while it awaits.
                    run.cancel_at = time.monotonic() + (self._notice if run.thread else 0.0)

    def _work(self) -> None:
        while True:
            self._something.wait()
            time.sleep(_EVERY)
            # In this order: what is handed over in between is seen now, or sets it again.
            self._something.clear()
            if any(runner.load for runner in self._runners):
                self._something.set()
            now = time.monotonic()
            if self._gauge.on:
                self._gauge.look(run for runner in self._runners for run in runner.running if run is not None)
            for runner in self._runners:
                for run in runner.running:
                    if run is not None and (why := run.due(now)):
                        runner.cut(run, why)
