"""A server for one measurement, and what can be read from it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import redis

from quaff.store.embedded import OPTIONS, find_binary

#: Quaff's embedded server, but on TCP, because not every queue can use a socket file. Everybody gets the same one.
CONFIGURATION = OPTIONS.replace("--port 0 --unixsocketperm 700 ", "")
#: What the benchmark itself asks; also what a client says at its start.
_OURS = {"info", "ping", "client|list", "client|setinfo", "client|setname", "hello", "config|get", "monitor"}


class Counters(NamedTuple):
    """Totals since the server's start.

    ``executed``: commands, those inside scripts included, ours left out; ``reads``: packets that clients have sent,
    which is how many round trips they made; ``cpu``: seconds; ``memory``: bytes, those for connections left out.
    """

    executed: int
    reads: int
    cpu: float
    memory: int

    def since(self, before: Counters) -> Counters:
        """What has come to it."""
        return Counters(
            self.executed - before.executed,
            self.reads - before.reads,
            self.cpu - before.cpu,
            self.memory - before.memory,
        )


class Server:
    """On loopback, with a directory of its own that goes with it.

    Args:
        folder: where the directory is made.

    Attributes:
        url: what clients are given.
    """

    def __init__(self, folder: Path) -> None:
        self._directory = tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)
        self._socket = str(Path(self._directory.name) / "s")
        for attempt in range(5):
            self.port = _free_port()
            command = [str(find_binary()), "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
            command += ["--dir", self._directory.name, "--unixsocket", self._socket, *CONFIGURATION.split()]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers():
                break
            self._process.kill()
            self._process.wait()
            if attempt == 4:
                raise RuntimeError(f"no server: {' '.join(command)} did not answer")
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def _answers(self) -> bool:
        # By the socket file: somebody else may have taken the port.
        self.client = redis.Redis(unix_socket_path=self._socket, protocol=2, decode_responses=True)
        until = time.monotonic() + 10
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(redis.ConnectionError):
                return bool(self.client.ping())
            time.sleep(0.005)
        return False

    def counters(self) -> Counters:
        """Now. One round trip."""
        pipe = self.client.pipeline(transaction=False)
        for section in ("commandstats", "stats", "cpu", "memory"):
            pipe.info(section)
        commands, stats, cpu, memory = pipe.execute()
        executed = sum(each["calls"] for name, each in commands.items() if name.removeprefix("cmdstat_") not in _OURS)
        used = cpu["used_cpu_user"] + cpu["used_cpu_sys"]
        return Counters(
            executed, stats["total_reads_processed"], used, memory["used_memory"] - memory["mem_clients_normal"]
        )

    def watch(self, seconds: float) -> int:
        """How many commands clients send in so many seconds; what scripts do for them is not among them."""
        connection: Any = self.client.connection_pool.get_connection()
        connection.send_command("MONITOR")
        connection.read_response()
        until, sent = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0 and connection.can_read(timeout=left):
            sent += " lua] " not in str(connection.read_response())
        connection.disconnect()
        self.client.connection_pool.release(connection)
        return sent

    def version(self) -> str:
        """Its name and version."""
        about: dict[str, Any] = self.client.info("server")
        name = "valkey" if "valkey_version" in about else "redis"
        return f"{name} {about[f'{name}_version']}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()
        self._process.kill()  # what it holds is of no use to anybody
        self._process.wait()
        self._directory.cleanup()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
