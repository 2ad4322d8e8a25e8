"""A cluster on loopback: three primaries and a replica of each, with a directory that goes with them."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from bench.server import CONFIGURATION, free_port
from quaff.store.embedded import find_binary

PRIMARIES = 3
_SLOTS = 16384


class Cluster:
    """Six nodes. The slots lie where they were put: nobody moves them.

    Attributes:
        nodes: a client of each primary, in the order of their slots.
    """

    def __init__(self, folder: Path) -> None:
        self._directory = tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        # Their bus listens 10,000 above, so the port of a client must leave room for that.
        self.ports = [self._start(number) for number in range(2 * PRIMARIES)]
        every = [redis.Redis(port=port, protocol=2, decode_responses=True) for port in self.ports]
        for client in every:
            _until(client.ping, "a node that answers")
        for place, client in enumerate(every[:PRIMARIES]):
            _ask(client, "ADDSLOTSRANGE", self.first(place), self.first(place + 1) - 1)
            _ask(client, "SET-CONFIG-EPOCH", place + 1)
        for port in self.ports[1:]:
            _ask(every[0], "MEET", "127.0.0.1", port)
        _until(
            lambda: all(len(_ask(each, "NODES").splitlines()) == len(every) for each in every), "nodes that have met"
        )
        for primary, replica in zip(every[:PRIMARIES], every[PRIMARIES:], strict=True):
            _ask(replica, "REPLICATE", _ask(primary, "MYID"))
        _until(lambda: all("cluster_state:ok" in _ask(each, "INFO") for each in every), "a cluster in order")
        self.nodes = every[:PRIMARIES]

    @staticmethod
    def first(place: int) -> int:
        """The first slot of a primary."""
        return _SLOTS * place // PRIMARIES

    def place(self, slot: int) -> int:
        """Whose slot it is."""
        return next(place for place in range(PRIMARIES) if slot < self.first(place + 1))

    def cpu(self) -> list[float]:
        """Seconds of processor time that each primary has had."""
        found: list[dict[str, Any]] = [node.info("cpu") for node in self.nodes]
        return [each["used_cpu_user"] + each["used_cpu_sys"] for each in found]

    def _start(self, number: int) -> int:
        port = free_port(below=55_000)
        folder = Path(self._directory.name) / str(number)
        folder.mkdir()
        command = [str(find_binary()), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
        command += ["--cluster-enabled", "yes", "--maxclients", "12000", *CONFIGURATION.split()]
        self._processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return port

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()  # what it holds is of no use to anybody
        for process in self._processes:
            process.wait()
        self._directory.cleanup()


def _ask(client: Any, *words: Any) -> Any:
    return client.execute_command("CLUSTER", *words)


def _until(found: Any, what: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found():
                return
        except redis.ConnectionError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"not in {seconds:g} s: {what}")
