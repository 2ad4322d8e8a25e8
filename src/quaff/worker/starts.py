"""Which jobs had been started, written where the supervisor can read it after the process was killed.

Memory with a file descriptor, mapped by both sides. One record a slot: a flag, the id, the token, the start time, the
limit, and what is to happen if the process has to be ended for it; the flag is written last and cleared first, so a
record that was being written when the process died does not count.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from typing import NamedTuple

_RECORD = struct.Struct("<Q16s48sQdd?")
_SIZE = 112  # a flag in eight bytes, then the record

#: Records in a file: one a thread, one a coroutine, the others for batches.
#: The file is made before the process knows how many it wants.
SLOTS = 4096


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


def create() -> int:
    """Room for SLOTS records; returns its descriptor, to be inherited by the process.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("quaff-starts", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix="quaff-") as file:
            descriptor = os.dup(file.fileno())
    try:
        # Written, not only made longer: a page that the system cannot give later would end both processes by SIGBUS.
        os.write(descriptor, bytes(SLOTS * _SIZE))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Starts:
    """One side of the shared records.

    Args:
        descriptor: from ``create``.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, 0)

    def begin(self, slot: int, start: Start) -> None:
        """The job in ``slot`` begins."""
        at = slot * _SIZE
        _RECORD.pack_into(self._map, at + 8, *start)
        self._map[at] = 1

    def end(self, slot: int) -> None:
        """The job in ``slot`` has ended."""
        self._map[slot * _SIZE] = 0

    def running(self) -> list[Start]:
        """What had begun and not ended."""
        found: list[Start] = []
        flags = self._map[::_SIZE]
        slot = flags.find(1)
        while slot >= 0:
            partition, id, token, *rest = _RECORD.unpack_from(self._map, slot * _SIZE + 8)
            found.append(Start(partition, id, token.rstrip(b"\0"), *rest))
            slot = flags.find(1, slot + 1)
        return found

    def close(self) -> None:
        """Unmap."""
        self._map.close()
