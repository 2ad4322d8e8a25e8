"""Says what this worker is and does, for screens: put together by the supervisor, told by its chores."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from quaff.model import presence
from quaff.model.presence import MOST_PROCESSES, MOST_RUNNING, ProcessWord, RunningWord, WorkerWord
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.tallies import present
from quaff.store.transitions import attempt_of
from quaff.worker.child import Child
from quaff.worker.rotation import memory_of

#: Seconds between two words; it is forgotten when so many were not heard.
_EVERY, _SILENT = 5.0, 3
_NAME = 200


class Presence:
    """What one worker says of itself.

    ``look`` and ``tell`` may be called in two threads.

    Args:
        store: the server.
        partitions: those that it serves; each hears of it, for no script touches two.
        name: the worker's.
        slots: of each process, in words.
    """

    def __init__(self, store: Store, partitions: Sequence[Partition], name: str, slots: str) -> None:
        from quaff import __version__

        self._store = store
        self._partitions = partitions
        self._id = os.urandom(8)
        self._word = WorkerWord(
            name=name[:_NAME],
            host=socket.gethostname()[:_NAME],
            pid=os.getpid(),
            version=__version__,
            queues=list(dict.fromkeys(each.queue for each in partitions)),
            started_ms=_now_ms(),
            stopping=False,
            slots=slots,
            memory=0,
            running=0,
            processes=[],
            jobs=[],
        )
        self._look_at = 0.0

    def look(self, children: Sequence[Child], *, stopping: bool) -> None:
        """Put together what there is to say, if that was not done just now."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _EVERY / 2
        processes: list[ProcessWord] = []
        jobs: list[RunningWord] = []
        for child in children:
            started = child.running()
            began = int((time.time() - (now - child.began)) * 1000)
            processes.append(
                ProcessWord(child.id.hex(), child.pid, began, memory_of(child.pid), len(started), child.serving)
            )
            jobs += (
                RunningWord(
                    self._partitions[each.partition].queue,
                    self._partitions[each.partition].number,
                    each.id.hex(),
                    attempt_of(each.token),
                    child.pid,
                    each.started_ms,
                )
                for each in started
            )
        jobs.sort(key=lambda each: each.started_ms)
        old = self._word
        self._word = WorkerWord(
            *(old.name, old.host, old.pid, old.version, old.queues, old.started_ms, stopping, old.slots),
            memory=memory_of(os.getpid()) + sum(each.memory for each in processes),
            running=len(jobs),
            processes=processes[:MOST_PROCESSES],
            jobs=jobs[:MOST_RUNNING],
        )

    def tell(self) -> float:
        """Tell the server; the seconds until the next time. Raises as ``Store.run``."""
        self._send(int(_EVERY * _SILENT * 1000))
        return _EVERY

    def leave(self) -> None:
        """The last word."""
        self._send(0)

    def _send(self, lasts_ms: int) -> None:
        word = presence.encode(self._word)
        self._store.run_many([present(each, self._id, word, lasts_ms=lasts_ms) for each in self._partitions])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
