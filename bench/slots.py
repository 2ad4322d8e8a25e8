"""When each job began and ended: a mapped file with a place for each job, written by the jobs themselves.

No system call, no lock and no server for a job, so that what is measured is the queue; half a microsecond each.
Standard library only: it is loaded beside every queue.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

_PLACE = struct.Struct("<qq")  # nanoseconds since 1970 of the first line and of the last


class Slots:
    """The file, seen by any process.

    Args:
        path: the file; the one who makes it gives ``places``, all others find it there.
        places: how many jobs there are.
    """

    def __init__(self, path: str | Path, places: int | None = None) -> None:
        if places is not None:
            with open(path, "wb") as file:
                file.truncate(places * _PLACE.size)
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.places = len(self._map) // _PLACE.size
        self._done = 0

    def began(self, number: int) -> None:
        """The job's first line."""
        _PLACE.pack_into(self._map, number * _PLACE.size, time.time_ns(), 0)

    def ended(self, number: int) -> None:
        """Its last one."""
        at = number * _PLACE.size
        _PLACE.pack_into(self._map, at, _PLACE.unpack_from(self._map, at)[0], time.time_ns())

    def spans(self) -> list[tuple[int, int]]:
        """When each job began and ended; 0 for what has not happened, and for the end of a job that takes no time."""
        return list(_PLACE.iter_unpack(self._map))

    def first(self) -> int:
        """So many jobs have begun, counted from the first one without a gap: cheap to ask again and again."""
        while self._done < self.places and _PLACE.unpack_from(self._map, self._done * _PLACE.size)[0]:
            self._done += 1
        return self._done

    def clear(self) -> None:
        """As if nothing had begun."""
        self._map[:] = bytes(len(self._map))
        self._done = 0


_mine: Slots | None = None


def mine() -> Slots:
    """Those that BENCH_SLOTS names, mapped by the first job of a process."""
    global _mine  # noqa: PLW0603 (a job is a plain function: there is nobody to hand it its file)
    if _mine is None:
        _mine = Slots(os.environ["BENCH_SLOTS"])
    return _mine
