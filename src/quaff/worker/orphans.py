"""What the first process of a container owes to the programs whose parents are gone: it inherits them."""

from __future__ import annotations

import os
from collections.abc import Collection


def collect(own: Collection[int]) -> None:
    """Collect those that have ended, which nobody else would; in any other process nothing is done.

    Args:
        own: the pids of children that somebody waits for.
    """
    while os.getpid() == 1:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)
