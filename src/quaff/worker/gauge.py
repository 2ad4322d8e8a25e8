"""How large this process is while attempts run in it: looked at now and then, never for a tiny job."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from quaff.worker.run import Run

#: Seconds: of an attempt that ran shorter nobody asks what it took, because the answer costs some microseconds.
LONG = 0.002
#: Seconds for which the last look is good enough: attempts of coroutines end many at a time.
_FRESH = 0.001
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Gauge:
    """The memory of this process (RSS): for screens, nothing depends on it.

    What an attempt began with is what was seen last: a moment ago where something ran, else when it last did.

    Args:
        counted: somebody wants to know. Nobody looks where nobody does, or the system does not tell (no ``/proc``).

    Attributes:
        on: it is looked at.
        now: bytes, as it was seen last; from any thread.
    """

    def __init__(self, *, counted: bool = False) -> None:
        self._file = -1
        if counted:
            try:
                self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                pass
        self._look_at = 0.0
        self.on: bool = self._file >= 0
        self.now: int = 0
        if self.on:
            self.look(())

    def look(self, runs: Iterable[Run]) -> None:
        """See how large it is while these run."""
        self._look_at = time.monotonic() + _FRESH
        try:
            self.now = now = int(os.pread(self._file, 64, 0).split(None, 2)[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            # A task has closed what is not its own. Who looks also ends attempts at their limits, and has to go on.
            self.on = False
            return
        for run in runs:
            run.largest = max(run.largest, now)

    def grown(self, run: Run) -> int:
        """By how much it had grown since an attempt began that ends now, when it was largest."""
        if time.monotonic() >= self._look_at:
            self.look((run,))
        else:
            run.largest = max(run.largest, self.now)
        return run.largest - run.smallest
