"""A line to a real server that breaks when a test says so."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path


class Relay:
    """Hands bytes to and fro between a socket of its own and a server's.

    Args:
        server: the path of the server's socket.

    Attributes:
        url: where it listens.
        lost: how many replies it has lost.
    """

    def __init__(self, server: str) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="quaff-r", dir="/tmp"))  # the path of a socket has little room
        self._server = server
        self._lose = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._home / "s"))
        self._listener.listen()
        self.url = f"unix://{self._home / 's'}"
        self.lost = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lose_next_reply(self) -> None:
        """The server does what the next call wants; its answer is lost with the connection."""
        self._lose.set()

    def close(self) -> None:
        """Close everything."""
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for each in [self._listener, *self._open]:
            each.close()
        shutil.rmtree(self._home)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._open += [client, server]
            for ends in ((client, server, False), (server, client, True)):
                self._threads.append(threading.Thread(target=self._pump, args=ends, daemon=True))
                self._threads[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if replies and self._lose.is_set():
                    self._lose.clear()
                    self.lost += 1
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
