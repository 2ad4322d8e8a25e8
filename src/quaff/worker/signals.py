"""Signals become intents: the handler only notes them, the supervisor's loop acts."""

from __future__ import annotations

import os
import signal
from types import FrameType


class Signals:
    """Collects SIGINT, SIGTERM and SIGCHLD; ``fileno`` becomes readable when one has come."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        self._stops: list[int] = []
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._stops.append(number)

    def fileno(self) -> int:
        """For ``select``."""
        return self._read

    def take(self) -> list[int]:
        """The stop signals since the last call, oldest first."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        taken, self._stops[:] = list(self._stops), []
        return taken
