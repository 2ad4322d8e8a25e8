"""Replaces processes while the worker goes on: one at a time, and none leaves before its successor can claim.

A process is worn when it is old, has ended enough jobs, has grown too large, or does not know of every partition; a
reload wears all of them.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quaff.errors import ConfigurationError
from quaff.worker.child import Child

log: logging.Logger = logging.getLogger("quaff.worker")

_RELOAD = "a reload"


class Wear(NamedTuple):
    """When a process is worn; None: never for that reason.

    Attributes:
        jobs: so many attempts have ended in it.
        memory: bytes of memory it has for itself and shares (RSS).
        age: seconds since its start.
    """

    jobs: int | None = None
    memory: int | None = None
    age: float | None = None


class Rotation:
    """Decides who leaves.

    Args:
        wear: when.
        grace: seconds that the jobs of one that leaves for a reload may go on; then they are given back, at no cost.

    Raises:
        ConfigurationError: this system does not tell how much memory a process has.
    """

    def __init__(self, wear: Wear, grace: float) -> None:
        if wear.memory is not None and not Path("/proc/self/statm").exists():
            raise ConfigurationError("--max-memory needs /proc, which this system lacks: use --max-jobs or --max-age.")
        self._wear = wear
        self._grace = grace

    def reload(self, children: Sequence[Child]) -> None:
        """All of them are to be replaced by processes that load the code as it is now."""
        for child in children:
            child.worn = _RELOAD

    @staticmethod
    def forget_reload(children: Sequence[Child]) -> None:
        """The code as it is now cannot be loaded: who is there stays."""
        for child in children:
            if child.worn == _RELOAD:
                child.worn = ""

    def step(self, children: Sequence[Child], wanted: int, partitions: Sequence[tuple[str, int]] | None) -> int:
        """Send off who can go; how many processes there should be now.

        Args:
            partitions: what each of them is to serve.
        """
        now = time.monotonic()
        for child in children:
            if child.leaves_at is None and not child.worn:
                child.worn = self._why(child, now, partitions)
        serving = [child for child in children if child.serving]
        worn = [child for child in serving if child.worn and child.ready]
        # As many as serve may be on their way out: those with long jobs must not pile up.
        if len(children) - len(serving) >= wanted:
            worn = [child for child in worn if child.worn == _RELOAD]
        if worn and sum(child.ready for child in serving) > wanted:
            first = worn.pop(0)
            log.info("process %d is replaced: %s", first.pid, first.worn)
            # Only a reload is in a hurry. If wear cut jobs short, a long one would never end in a busy worker.
            first.leave(now + self._grace if first.worn == _RELOAD else math.inf)
        return wanted + bool(worn)

    def _why(self, child: Child, now: float, partitions: Sequence[tuple[str, int]] | None) -> str:
        wear = self._wear
        if child.introduction is not None and child.introduction.partitions != partitions:
            return "there are more partitions"
        if wear.jobs is not None and child.jobs_done >= wear.jobs:
            return f"it has ended {child.jobs_done} jobs"
        if wear.age is not None and now - child.began > wear.age:
            return f"it is {now - child.began:.0f} s old"
        if wear.memory is not None and (size := memory_of(child.pid)) > wear.memory:
            return f"it has {size // 2**20} MiB"
        return ""


def memory_of(pid: int) -> int:
    """Bytes; 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
