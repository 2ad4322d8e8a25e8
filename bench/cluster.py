"""A cluster on loopback: three primaries and a replica of each, with a directory that goes with them."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from bench.server import CONFIGURATION
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
        self.ports = [self._start(number) for number in range(2 * PRIMARIES)]
        every = [redis.Redis(port=port, protocol=2) for port in self.ports]
        for client in every:
            _until(client.ping, "a node that answers")
        form(every)
        self.nodes = every[:PRIMARIES]

    @staticmethod
    def place(slot: int) -> int:
        """Whose slot it is."""
        return next(place for place in range(PRIMARIES) if slot < _first(place + 1))

    def cpu(self) -> list[float]:
        """Seconds of processor time that each primary has had."""
        found: list[dict[str, Any]] = [node.info("cpu") for node in self.nodes]
        return [each["used_cpu_user"] + each["used_cpu_sys"] for each in found]

    def _start(self, number: int) -> int:
        port = free_port()
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


def form(nodes: Sequence[Any], seconds: float = 20) -> list[str]:
    """Make a cluster of nodes that run: primaries with a share of the slots each, then a replica of each, or none.

    Args:
        nodes: plain clients, three or six.
        seconds: for them to meet, and again to agree.

    Returns:
        Their ids.
    """
    for place, client in enumerate(nodes[:PRIMARIES]):
        _ask(client, "ADDSLOTSRANGE", _first(place), _first(place + 1) - 1)
        _ask(client, "SET-CONFIG-EPOCH", place + 1)
    port = nodes[0].get_connection_kwargs()["port"]
    for client in nodes[1:]:
        _ask(client, "MEET", "127.0.0.1", port)
    met = f"cluster_known_nodes:{len(nodes)}"
    _until(lambda: all(met in _ask(each, "INFO") for each in nodes), "nodes that have met", seconds)
    own = [_ask(client, "MYID") for client in nodes]
    for replica, primary in zip(nodes[PRIMARIES:], own, strict=False):
        _ask(replica, "REPLICATE", primary)
    _until(lambda: all("cluster_state:ok" in _ask(each, "INFO") for each in nodes), "a cluster in order", seconds)
    return own


def free_port() -> int:
    """A port of loopback that nobody has; a node takes the one 10,000 above it as well, for its bus."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except (OverflowError, OSError):
                continue
            return port


def _first(place: int) -> int:
    """The first slot of a primary."""
    return _SLOTS * place // PRIMARIES


def _ask(client: Any, *words: Any) -> str:
    # In two words, of which redis-py does not know how to read the answer.
    found: bytes = client.execute_command("CLUSTER", *words)
    return found.decode()


def _until(found: Callable[[], Any], what: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found():
                return
        except redis.ConnectionError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"not in {seconds:g} s: {what}")
