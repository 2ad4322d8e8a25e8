"""Which jobs had been started, written where the supervisor can read it after the process was killed.

Memory with a file descriptor, mapped by both sides. One record a job, from its start until the server has its outcome:
a flag, the id, the token, the start time, the limit, and what is to happen if the process has to be ended for it; the
flag is written last and cleared first, so a record that was being written when the process died does not count.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

_RECORD = struct.Struct("<Q16s48sQdd?")
_SIZE = 112  # a flag in eight bytes, then the record

_FREE, _RUNNING, _UNSETTLED = 0, 1, 2

#: Records in a file, so the most jobs that a process holds, and has not settled, at a time. The file is made before the
#: process knows how many it wants.
RECORDS = 4096


class Start(NamedTuple):
    """A job that had begun.

    Attributes:
        partition: its partition's place in the worker's list.
        started_ms: Unix milliseconds.
        ends_at: monotonic seconds at which its limit is reached; infinite without one.
        pause: seconds until another attempt if it is ended at its limit; below 0: none.
        batch: it is one of several that run as one, which is not ended for one of them.
    """

    partition: int
    id: bytes
    token: bytes
    started_ms: int
    ends_at: float
    pause: float
    batch: bool

    @property
    def alone(self) -> bool:
        """Whether no other job was in its process."""
        return self.token.endswith(b"!")


def create() -> int:
    """Room for RECORDS records; returns its descriptor, to be inherited by the process.

    Raises:
        OSError: there is no room.
    """
    descriptor = memory_file("quaff-starts")
    try:
        # Written, not only made longer: a page that the system cannot give later would end both processes by SIGBUS.
        os.write(descriptor, bytes(RECORDS * _SIZE))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def memory_file(name: str) -> int:
    """A file that is on no disk, where the system has such. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="quaff-") as file:
        return os.dup(file.fileno())


class Starts:
    """One side of the shared records.

    Args:
        descriptor: from ``create``.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, 0)
        self._free = deque(range(RECORDS))
        self._records: dict[bytes, int] = {}

    def begin(self, start: Start) -> None:
        """A job begins."""
        record = self._records[start.token] = self._free.popleft()
        at = record * _SIZE
        _RECORD.pack_into(self._map, at + 8, *start)
        self._map[at] = _RUNNING

    def end(self, token: bytes) -> None:
        """Its attempt is over, and nobody knows yet."""
        self._map[self._records[token] * _SIZE] = _UNSETTLED

    def settled(self, tokens: Iterable[bytes]) -> None:
        """The server knows; nothing happens for a job that had not begun."""
        for token in tokens:
            record = self._records.pop(token, None)
            if record is not None:
                self._map[record * _SIZE] = _FREE
                self._free.append(record)

    def running(self) -> list[Start]:
        """What had begun and not ended."""
        return self._flagged(_RUNNING)

    def unsettled(self) -> list[Start]:
        """What had ended, and its outcome was perhaps not sent any more."""
        return self._flagged(_UNSETTLED)

    def _flagged(self, flag: int) -> list[Start]:
        found: list[Start] = []
        flags = self._map[::_SIZE]
        record = flags.find(flag)
        while record >= 0:
            partition, id, token, *rest = _RECORD.unpack_from(self._map, record * _SIZE + 8)
            found.append(Start(partition, id, token.rstrip(b"\0"), *rest))
            record = flags.find(flag, record + 1)
        return found

    def close(self) -> None:
        """Unmap."""
        self._map.close()
