"""What is asked of one worker, by way of the server: it hears of it at once, or with its next word."""

from __future__ import annotations

import time

from quaff.errors import ConfigurationError
from quaff.inspector.homes import Homes
from quaff.inspector.shapes import JobStack, WorkerRow
from quaff.model import ids, presence
from quaff.model.codec import readable
from quaff.model.presence import DumpWord
from quaff.model.times import instant
from quaff.queues import somebody
from quaff.store.keys import Partition, partition
from quaff.store.operations import drain, stack
from quaff.store.tallies import dumped

#: Milliseconds for which a worker is asked where a job is, and to drain. One that is well asks every five seconds.
_STACK_MS, _DRAIN_MS = 15_000, 300_000
#: Seconds between two looks for an answer.
_LOOK = 0.1


class Errands:
    """See ``Inspector``."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes

    def drain(self, worker: WorkerRow) -> bool:
        """See ``Inspector.drain``."""
        homes = [home for queue in worker.queues for home in self._homes.of(queue)]
        # It asks in each partition that it serves, and one request is enough.
        return any(
            self._homes.store.run(
                drain(home, bytes.fromhex(worker.id), name=worker.name, lasts_ms=_DRAIN_MS, who=somebody())
            )
            for home in homes
        )

    def ask_stack(self, id: str) -> bool:
        """See ``Inspector.ask_stack``."""
        home, raw = self._place(id)
        return self._homes.store.run(stack(home, raw, name=id, lasts_ms=_STACK_MS, who=somebody()))

    def stack(self, id: str, timeout: float) -> JobStack | None:
        """See ``Inspector.stack``."""
        home, raw = self._place(id)
        until = time.monotonic() + timeout
        while True:
            data, open_ = self._homes.store.run(dumped(home, raw))
            word: DumpWord | None = readable(presence.decode_dump, data, None) if data else None
            if word is not None:
                return JobStack(at=instant(word.at_ms), worker=word.worker, pid=word.pid, text=word.text)
            if not open_ or time.monotonic() >= until:
                return None
            time.sleep(_LOOK)

    def _place(self, id: str) -> tuple[Partition, bytes]:
        place = ids.parse(id)
        if place is None:
            raise ConfigurationError(f"{id[:80]!r} is no job's id.")
        return partition(self._homes.settings.namespace, place.queue, place.partition), place.raw
