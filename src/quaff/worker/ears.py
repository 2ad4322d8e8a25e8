"""Hears that there is something to do in a queue, so that its worker need not wait for its next sweep to find out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

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
        partitions: what to listen to, by their places in the worker's list.
        tell: by the key of that name, which is also a channel: called with the place of the partition. ``stop``: a
            running job was called off; ``outbox``: something is to be told to another partition; ``requests``:
            something is asked of a worker.
    """

    def __init__(
        self, endpoint: Endpoint, partitions: Mapping[int, Partition], tell: Mapping[str, Callable[[int], None]]
    ) -> None:
        self._endpoint = endpoint
        self._calls = {
            partition.key(name): partial(call, place)
            for place, partition in partitions.items()
            for name, call in tell.items()
        }
        threading.Thread(target=self._work, name="quaff-ears", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                for channel in heard(self._endpoint, list(self._calls), _SILENCE):
                    self._calls[channel]()
            except QuaffError:
                time.sleep(random.uniform(_PAUSE / 2, _PAUSE * 2))
