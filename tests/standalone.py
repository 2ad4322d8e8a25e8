"""A server of one's own with any options, for tests about how a server is set up; it ends with its test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from quaff.store.embedded import find_binary
from tests.helpers import wait_until


class Standalone:
    """A server on a loopback port.

    Args:
        *options: of its command line; without any it keeps nothing on disk.
    """

    def __init__(self, *options: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="quaff-s", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._options = options
        self.url = f"redis://127.0.0.1:{self.port}"
        self.redis: Any = redis.Redis(port=self.port, socket_timeout=5)
        self.start()

    def start(self) -> None:
        """Start it, also again, with what it has on disk."""
        fixed = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.home), "--save", ""]
        self._process = subprocess.Popen(
            [str(find_binary()), *fixed, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, 10, "the server's first answer")

    def kill(self) -> None:
        """As ``kill -9``."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.ConnectionError:  # also while it loads
            return False

    def __enter__(self) -> Standalone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.redis.close()
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
