"""Jobs that nobody here knows: how long they are put aside, and how often the log says so."""

from __future__ import annotations

import logging
import time

from quaff.model.ids import created_ms
from quaff.worker.ready import Parked

log: logging.Logger = logging.getLogger("quaff.worker")

#: Milliseconds until the next try: soon at first, rarely later, for a deploy of the right worker may be seconds or
#: days away.
_SOON, _RARELY = 1000, 60_000
#: Seconds between two lines of the log for one reason.
_SAY_AGAIN = 60.0


class Parking:
    """Decides for one process."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}

    def park(self, parked: Parked) -> int:
        """Milliseconds to put a job aside. The log gets a line for the first one of a kind, and then one a minute."""
        self._say(parked)
        made = created_ms(parked.claim.lease.id) or parked.created_ms
        age = int(time.time() * 1000) - made if made else 0
        return max(_SOON, min(_RARELY, age // 4))

    def _say(self, parked: Parked) -> None:
        now = time.monotonic()
        said_at, more = self._said.get(parked.why, (-_SAY_AGAIN, 0))
        if now - said_at < _SAY_AGAIN:
            self._said[parked.why] = (said_at, more + 1)
            return
        others = f" (and {more} more since the last such line)" if more else ""
        log.warning("%s is parked: %s%s", parked.claim.id, parked.why, others)
        self._said[parked.why] = (now, 0)
        if len(self._said) > 1000:
            self._said.clear()  # names that somebody makes up must not fill the memory
