"""No process in the place of one whose lease has lapsed, as long as nobody can renew the leases of this worker."""

from __future__ import annotations

import logging
import time
from typing import Protocol

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds in which renewals that work have been seen to.
_SOON = 1.0


class Renewals(Protocol):
    """What renews leases.

    Attributes:
        renewed_at: monotonic seconds at which a renewal began that went well.
    """

    renewed_at: float

    def renew(self) -> None:
        """Do it now; from any thread."""
        ...


class Lapses:
    """Each process that came next would lapse as well, and with it the jobs that it runs: one that takes longer than a
    lease would be given up, and nothing is wrong with it.

    Attributes:
        barred: whether no process might be started when somebody asked last.
    """

    def __init__(self) -> None:
        self._at = 0.0
        self._told = False
        self.barred: bool = False

    def note(self, renewals: Renewals | None) -> None:
        """A lease has lapsed."""
        self._at, self._told = time.monotonic(), False
        if renewals is not None:
            renewals.renew()

    def bar(self, renewals: Renewals | None) -> bool:
        """Whether no process may be started now; the log says so once."""
        self.barred = renewals is not None and renewals.renewed_at < self._at
        if self.barred and not self._told and time.monotonic() > self._at + _SOON:
            log.error("its leases cannot be renewed: this worker starts no process until they can")
            self._told = True
        return self.barred
