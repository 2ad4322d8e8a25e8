"""Signals become intents: the handler only notes them, the supervisor's loop acts."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType


class Signals:
    """Collects SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGCHLD; ``fileno`` becomes readable when one has come.

    SIGUSR1 asks for the stacks, SIGHUP for a reload. A terminal that is closed sends SIGHUP, too: where there is one it
    is a stop like the others.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._stops: list[int] = []
        self._reload = self._dump = False
        self._before_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._note if os.isatty(2) else self._note_reload)
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._note_dump)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)

    def restore(self) -> None:
        """Put back what was there before: a program may go on after its worker has stopped."""
        signal.set_wakeup_fd(self._before_wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._stops.append(number)

    def _note_reload(self, _: int, __: FrameType | None) -> None:
        self._reload = True

    def _note_dump(self, _: int, __: FrameType | None) -> None:
        self._dump = True

    def ask_reload(self) -> None:
        """As SIGHUP does, from any thread."""
        self._reload = True
        with suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def take_reload(self) -> bool:
        """Whether a reload was asked for since the last call."""
        asked, self._reload = self._reload, False
        return asked

    def take_dump(self) -> bool:
        """Whether the stacks were asked for since the last call."""
        asked, self._dump = self._dump, False
        return asked

    def fileno(self) -> int:
        """For ``select``."""
        return self._read

    def take(self) -> list[int]:
        """The stop signals since the last call, oldest first."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        taken = self._stops[:]
        del self._stops[: len(taken)]  # no more than that: another one may have come in between
        return taken
