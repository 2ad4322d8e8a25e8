"""Says what this worker is and does, for screens: put together by the supervisor, told by its chores."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from quaff.model import presence
from quaff.model.presence import MOST_PROCESSES, MOST_RUNNING, DumpWord, ProcessWord, RunningWord, WorkerWord
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.tallies import dump, present
from quaff.store.transitions import Call, attempt_of
from quaff.worker.child import Child
from quaff.worker.rotation import memory_of
from quaff.worker.starts import Start

#: Seconds between two words; it is forgotten when so many were not heard.
_EVERY, _SILENT = 5.0, 3
_NAME = 200
#: Milliseconds for which the stacks of a job's process can be read.
_DUMP_MS = 300_000


class Presence:
    """What one worker says of itself, and hears in return.

    ``look`` and ``answer`` may be called in another thread than ``tell``.

    Args:
        store: the server.
        partitions: those that it serves; each hears of it, for no script touches two.
        name: the worker's.
        slots: of each process, in words.

    Attributes:
        partitions: these.
        drain: somebody wants this worker to drain.
        wanted: places of partitions, and ids, of jobs that somebody wants to know the whereabouts of.
    """

    def __init__(self, store: Store, partitions: Sequence[Partition], name: str, slots: str) -> None:
        from quaff import __version__

        self._store = store
        self.partitions = partitions
        self._id = os.urandom(8)
        self.drain: bool = False
        self.wanted: set[tuple[int, bytes]] = set()
        self._answers: deque[tuple[Start, bytes]] = deque()
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
                    self.partitions[each.partition].queue,
                    self.partitions[each.partition].number,
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
        heard = self._send(int(_EVERY * _SILENT * 1000))
        self.drain = self.drain or any(drain for drain, _ in heard)
        self.wanted = {(place, id) for place, (_, ids) in enumerate(heard) for id in ids}
        return _EVERY

    def answer(self, start: Start, pid: int, text: str) -> None:
        """Where a job is in its code, to be told with the next word."""
        self.wanted -= {(start.partition, start.id)}
        self._answers.append((start, presence.encode(DumpWord(_now_ms(), self._word.name, pid, text))))

    def leave(self) -> None:
        """The last word."""
        self._send(0)

    def _send(self, lasts_ms: int) -> Sequence[tuple[bool, list[bytes]]]:
        answers = [self._answers.popleft() for _ in range(len(self._answers))]
        # Before the question what is wanted: what is answered is wanted no more.
        calls: list[Call[Any]] = [
            dump(self.partitions[start.partition], start.id, start.token, text, lasts_ms=_DUMP_MS)
            for start, text in answers
        ]
        word = presence.encode(self._word)
        calls += [present(each, self._id, word, lasts_ms=lasts_ms) for each in self.partitions]
        return self._store.run_many(calls)[len(answers) :]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
