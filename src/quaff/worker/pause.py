"""The pause before another process is started where the last one did not stay."""

from __future__ import annotations

import logging
import time

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds: the first pause and the longest; and how long a process must have lived for the next pause to be the first
#: one again.
_FIRST, _LONGEST, _SETTLED = 0.2, 5.0, 1.0


class Pause:
    """Longer each time, until a process has lived for a while.

    Attributes:
        until: monotonic seconds of its end.
    """

    def __init__(self) -> None:
        self.until: float = 0.0
        self._next = _FIRST

    def begin(self, why: str | None, began: float | None = None) -> None:
        """Start no other process for a while.

        Args:
            why: for the log.
            began: monotonic seconds at which the one began that did not stay.
        """
        now = time.monotonic()
        if began is not None and now - began > _SETTLED:
            self._next = _FIRST
        if why is not None:
            log.error("%s; next try in %.1f s", why.rstrip(), self._next)
        self.until = now + self._next
        self._next = min(_LONGEST, self._next * 2)
