"""A proxy between a client and a real server: it loses replies, cuts connections and takes its time, as it is told."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

#: What happens to a chunk.
Fate: TypeAlias = "str | float | bytes"


class Proxy:
    """Listens on a TCP port and passes on to a server's socket, one chunk of bytes at a time.

    Every chunk is passed on unless a fate waits for it: ``lose`` (it is thrown away, the connection stays), ``cut``
    (thrown away, the connection is reset), an ``int`` (so many of its bytes arrive, then the connection is reset),
    ``hold`` (it waits for ``let_go``, in front of all that follows it on its connection), a ``float`` (it waits so many
    seconds, and arrives even if its sender has hung up meanwhile), or ``bytes`` (a request is thrown away and answered
    with these).

    Args:
        upstream: the path of the server's socket, or its host and port.
        watch: is given each chunk of requests, as it comes.

    Attributes:
        upstream: where new connections go.
        port, url: what a client is given.
        met: the fates that have been met, in order.
    """

    def __init__(self, upstream: str | tuple[str, int], watch: Callable[[bytes], object] | None = None) -> None:
        self.upstream = upstream
        self._watch = watch
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        self.met: list[Fate] = []
        self._requests: deque[Fate] = deque()
        self._replies: deque[Fate] = deque()
        self._go = threading.Event()
        self._dead = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._fillers: list[socket.socket] = []
        self._drip = 0.0
        self._last = False
        self._swallowing = False
        self._run(self._accept)

    def on_request(self, *fates: Fate) -> None:
        """What happens to the next chunks on their way to the server."""
        self._requests.extend(fates)

    def on_reply(self, *fates: Fate) -> None:
        """What happens to the next chunks on their way back."""
        self._replies.extend(fates)

    def forget_fates(self) -> None:
        """Whatever waits for the next chunks."""
        self._requests.clear()
        self._replies.clear()

    def swallow(self) -> None:
        """From now on nothing gets through, on old connections and on new ones; nobody is told."""
        self._swallowing = True

    def swallow_no_more(self) -> None:
        """New connections work again; one that has lost something stays silent for ever."""
        self._swallowing = False

    def drip(self, seconds: float) -> None:
        """From now on replies come line by line, with so much time between two."""
        self._drip = seconds

    def let_go(self) -> None:
        """Pass on what is held, and hold nothing more."""
        self._go.set()

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _reset(connection)

    def stop_accepting(self) -> None:
        """After one more connection, connecting hangs: the kernel's line is full and nobody takes from it."""
        self._last = True

    def close(self) -> None:
        """End everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(); close alone would not
        self._listener.close()
        for filler in self._fillers:
            filler.close()
        self._dead.set()
        self.let_go()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = reach(self.upstream)
            except OSError:  # nobody is there: as a port that is closed
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            self._run(self._connection, client, server)
            if self._last:
                self._fill()
                return

    def _fill(self) -> None:
        self._listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)

    def _connection(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._pump, args=(server, client, self._replies), daemon=True)
        back.start()
        self._pump(client, server, self._requests)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, target: socket.socket, fates: deque[Fate]) -> None:
        with suppress(OSError):
            swallowed = False
            while data := source.recv(1 << 20):
                if self._watch is not None and fates is self._requests:
                    self._watch(data)
                swallowed = swallowed or self._swallowing
                if swallowed:
                    continue
                fate = fates.popleft() if fates else "pass"
                if fate != "pass":
                    self.met.append(fate)
                if fate == "hold":
                    self._go.wait(60)
                if isinstance(fate, float):
                    self._dead.wait(fate)
                if fate == "lose":
                    continue
                if isinstance(fate, bytes):
                    source.sendall(fate)
                    continue
                if fate == "cut" or isinstance(fate, int):
                    target.sendall(data[: fate if isinstance(fate, int) else 0])
                    break
                for line in data.splitlines(keepends=True) if self._drip and fates is self._replies else [data]:
                    target.sendall(line)
                    self._dead.wait(self._drip if line is not data else 0)
        for each in (source, target):
            _reset(each)


def reach(upstream: str | tuple[str, int]) -> socket.socket:
    """A connection to a server."""
    if isinstance(upstream, tuple):
        return socket.create_connection(upstream)
    server = socket.socket(socket.AF_UNIX)
    server.connect(upstream)
    return server


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
