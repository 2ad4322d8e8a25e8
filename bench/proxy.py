"""A line that takes its time: ``python -m bench.proxy PORT MILLISECONDS`` prints the port that it listens on.

Half of the time is taken on the way there, half on the way back. Bytes are delayed, not slowed down: what comes while
others wait is on its way already. Standard library only.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue


def pump(source: socket.socket, target: socket.socket, delay: float) -> None:
    """Pass on what comes, ``delay`` seconds later each."""
    line: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def deliver() -> None:
        with suppress(OSError):
            while True:
                due, data = line.get()
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
                target.sendall(data)

    if delay:
        threading.Thread(target=deliver, daemon=True).start()
    data = b"."
    with suppress(OSError):
        while data:
            data = source.recv(1 << 18)
            if delay:
                line.put((time.perf_counter() + delay, data))
            elif data:
                target.sendall(data)
            else:
                target.shutdown(socket.SHUT_WR)


def main(port: int, delay: float) -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=pump, args=(*ends, delay / 2), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1000)
