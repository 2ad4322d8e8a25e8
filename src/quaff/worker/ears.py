"""Hears that a running job was called off, so that its worker need not wait for its next sweep to find out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from quaff.errors import QuaffError
from quaff.store.connect import Endpoint
from quaff.store.keys import Partition
from quaff.store.subscription import heard

#: Seconds: after so much silence another line is opened, and so long after a line that broke.
_SILENCE, _PAUSE = 30.0, 1.0


class Ears:
    """A thread with a connection of its own. What is said while that is down is found by the sweep.

    Args:
        endpoint: the server.
        partitions: what to listen to.
        tell: called with the place of the partition in which a running job was called off.
    """

    def __init__(self, endpoint: Endpoint, partitions: Sequence[Partition], tell: Callable[[int], None]) -> None:
        self._endpoint = endpoint
        self._places = {partition.key("stop"): place for place, partition in enumerate(partitions)}
        self._tell = tell
        threading.Thread(target=self._work, name="quaff-ears", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                for channel in heard(self._endpoint, list(self._places), _SILENCE):
                    self._tell(self._places[channel])
            except QuaffError:
                time.sleep(random.uniform(_PAUSE / 2, _PAUSE * 2))
