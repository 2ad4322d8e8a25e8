"""Whether this process is still what the supervisor started."""

from __future__ import annotations

import os
import signal
import threading
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
        # Whatever thread forks; two may do so at once.
        self._forking = threading.local()
        os.register_at_fork(before=self._about_to_fork, after_in_parent=self._unblock, after_in_child=self._forked)

    def _about_to_fork(self) -> None:
        # What came to the copy before it has its handlers would be ignored, and its parent wait for an end for ever.
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)

    def _forked(self) -> None:
        self.copied = True
        # The handlers of a worker's process ignore them; what a task forks must be as easy to end as anywhere else.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._unblock()

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
