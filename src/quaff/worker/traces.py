"""The stacks of a process whose interpreter does not turn: written by a signal handler in C, into a file that its
supervisor has open as well."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from types import FrameType

from quaff.worker.starts import memory_file

SIGNAL = signal.SIGUSR1
_MOST = 64 * 1024


def create() -> int:
    """Such a file; its descriptor, to be inherited by the process. Raises OSError: there is no room."""
    return memory_file("quaff-traces")


def arm(descriptor: int, note: Callable[[], None]) -> bool:
    """Write this process's stacks to the file at each SIGNAL, and call ``note`` when the interpreter turns again.

    An application that has a handler of its own keeps it. Returns whether there was none.
    """
    os.set_inheritable(descriptor, False)
    if signal.getsignal(SIGNAL) is not signal.SIG_DFL:
        return False

    def handler(_: int, __: FrameType | None) -> None:
        note()

    signal.signal(SIGNAL, handler)
    faulthandler.register(SIGNAL, descriptor, all_threads=True, chain=True)
    return True


def clear(descriptor: int) -> None:
    """Forget what is in the file: both sides have one position in it."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)


def read(descriptor: int) -> str:
    """What is in it: of each thread where it is, the innermost call first."""
    return os.pread(descriptor, _MOST, 0).decode(errors="replace")
