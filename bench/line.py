"""The way from a client to the server: straight, or through the proxy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.contestant import HERE
from bench.server import Server


@contextmanager
def line(server: Server, delay_ms: float | None) -> Iterator[str]:
    """The URL of the server over a line that takes so many milliseconds more there and back; None: no proxy at all."""
    if delay_ms is None:
        yield server.url
        return
    command = [sys.executable, "-m", "bench.proxy", str(server.port), str(delay_ms)]
    proxy = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    try:
        assert proxy.stdout is not None  # a pipe, as asked
        yield f"redis://127.0.0.1:{int(proxy.stdout.readline())}/0"
    finally:
        proxy.kill()
        proxy.communicate()
