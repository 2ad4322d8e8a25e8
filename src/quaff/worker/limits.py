"""What a supervisor does about jobs that are over their limit, or cancelled, and do not end: it ends their process.

A process cuts its own jobs short first (see ``watch.py``); here is what that does not help with: C code that does not
come back, a task that catches everything, an event loop that does not turn, programs that a task left running.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from quaff.worker.child import Child
from quaff.worker.control import Word
from quaff.worker.maintenance import Chores
from quaff.worker.starts import Start

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds a process gets, after a job's limit, to end it by itself.
_PATIENCE = 1.0


class Limits:
    """Looks at what runs in a worker's processes.

    Args:
        grace: seconds from a cancellation to the end of the process.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace

    def enforce(self, children: Sequence[Child], chores: Chores) -> None:
        """One look, at most half a second after the one before."""
        running = {child: child.running() for child in children if not child.ended}
        chores.running = [(start.partition, start.id) for starts in running.values() for start in starts]
        for child, starts in running.items():
            self._pass_on(child, [start for start in starts if (start.partition, start.id) in chores.asked])
            late = [start for start in starts if self._is_late(child, start)]
            if late:
                log.warning(
                    "process %d is replaced: %d of its %d jobs did not end when they had to",
                    child.pid, len(late), len(starts),
                )  # fmt: skip
                child.ended = {start.token: "b" for start in starts} | {start.token: _letter(start) for start in late}
                child.kill()

    @staticmethod
    def _pass_on(child: Child, starts: Sequence[Start]) -> None:
        now = time.monotonic()
        tokens = [start.token for start in starts if not start.batch]
        child.cancelled = {token: child.cancelled.get(token, now) for token in tokens}
        for token in tokens:
            # Told again each time: it may have begun after the first. Not a process that hangs, or this one would, too.
            if child.control.has_room:
                child.control.say(Word(said="cancel", text=token.decode()))

    def _is_late(self, child: Child, start: Start) -> bool:
        now = time.monotonic()
        asked_at = child.cancelled.get(start.token, now)
        return now > start.ends_at + _PATIENCE or now > asked_at + self._grace


def _letter(start: Start) -> str:
    """What becomes of a job that was ended with its process (see ``transitions.End``); a cancelled one ends anyway."""
    if time.monotonic() <= start.ends_at:
        return "b"
    return "f" if start.pause < 0 else "r"
