"""What a process owes to the programs whose parents are gone: it inherits them, as the first one of a container, or
because it has asked for them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection

from quaff.store import embedded

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> bool:
    """From now on what descends from this process comes to be its child when its parent ends; False: it cannot be."""
    if sys.platform != "linux":
        return False
    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return not refused


def collect(own: Collection[int], *, adopting: bool) -> None:
    """Collect those that have ended, which nobody else would; in a process that inherits none nothing is done.

    Not while a thread starts an embedded server: it waits for its own programs, and has to learn how they ended.

    Args:
        own: the pids of children that somebody waits for.
        adopting: whether it has asked for them.
    """
    if not (adopting or os.getpid() == 1) or not embedded.starting.acquire(blocking=False):
        return
    try:
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in own:
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        return  # there is none, or another thread has waited for that one meanwhile
    finally:
        embedded.starting.release()
