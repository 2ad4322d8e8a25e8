"""Whether this process is still what the supervisor started."""

from __future__ import annotations

import os
import signal
import time

#: Seconds for which the last look at the parent counts: it is a system call, and this is asked before each job.
_COUNTS = 0.1


class Home:
    """Whether this is the process that the supervisor started, and under that supervisor.

    A task may fork, and its copy of this process has copies of the waiting jobs; an orphan whose fetcher waits for a
    server cannot hear that its supervisor is gone. Neither may start anything.

    Args:
        supervisor: its pid; by now the parent may be another one.
    """

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor
        self.copied: bool = False
        self._orphaned = False
        self._look_at = 0.0
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.copied = True
        # The handlers of a worker's process ignore them; what a task forks must be as easy to end as anywhere else.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def left(self) -> bool:
        """True where nothing may be started."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _COUNTS
            self._orphaned = os.getppid() != self._supervisor
        return self.copied or self._orphaned

    def leave_if_copied(self) -> None:
        """End a copy that came out of a task as if it were the worker."""
        if self.copied:
            os._exit(0)
