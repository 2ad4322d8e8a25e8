"""What a process owes to the programs whose parents are gone: it inherits them, as the first one of a container, or
because it has asked for them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> bool:
    """From now on what descends from this process comes to be its child when its parent ends; False: it cannot be."""
    if sys.platform != "linux":
        return False
    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return not refused


def collect(own: Collection[int], *, adopting: bool) -> None:
    """Collect those that have ended, which nobody else would; in a process that inherits none nothing is done.

    Args:
        own: the pids of children that somebody waits for.
        adopting: whether it has asked for them.
    """
    while adopting or os.getpid() == 1:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)
