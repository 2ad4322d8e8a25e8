"""Tells systemd how the worker is (``Type=notify``; see sd_notify(3)), where it was started by it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping


class Systemd:
    """Sends states to the socket that systemd has named; does nothing where it has named none.

    Args:
        environ: its variables are taken out, so that no program a task starts speaks for the worker.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        mine = pid in ("", str(os.getpid()))
        # Twice as often as it asks for, as its manual page advises.
        self._every = int(watchdog) / 2_000_000 if watchdog.isdigit() and mine else float("inf")
        self._next_at = 0.0

    def tell(self, *states: str) -> None:
        """Send states, such as ``READY=1`` and ``STATUS=...``."""
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.setblocking(False)
                try:
                    end.sendto("\n".join(states).encode(), self._address)
                except OSError:
                    return  # it is gone, or does not read: the worker's work is not to tell

    def alive(self) -> None:
        """The worker's loop has turned; called often, sent as often as systemd asks."""
        now = time.monotonic()
        if now >= self._next_at and self._every < float("inf"):
            self._next_at = now + self._every
            self.tell("WATCHDOG=1")
