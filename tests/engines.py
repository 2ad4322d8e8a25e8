"""Real servers in the shapes that the tests of engines need: with TLS, behind sentinels, as a cluster."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from bench.cluster import form, free_port
from quaff.store import embedded
from tests.helpers import wait_until

#: Seconds for servers to find each other.
_LONG = 30.0


class Server:
    """One server process on a port of the loopback, in a directory of its own.

    Args:
        *options: of its command line.
        program: the binary; by default the one that embedded servers use.
        tls: nothing but TLS on its port.
        sentinel: it is one, with this in its file.
    """

    def __init__(self, *options: str, program: str = "", tls: bool = False, sentinel: str = "") -> None:
        self.home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.redis = self.client()
        self._tls = tls
        port = ["--port", "0", "--tls-port"] if tls else ["--port"]
        common = [*port, str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home)]
        self.command = [program or str(embedded.find_binary())]
        if sentinel:
            (self.home / "sentinel.conf").write_text(sentinel)
            self.command += [str(self.home / "sentinel.conf"), *common, "--sentinel"]
        else:
            self.command += [*common, "--save", "", *options]
        self.start()

    def start(self) -> None:
        """Start it, or start it again with what it has on disk, and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home
            )
        wait_until(self.answers, 10, f"an answer of {self.command}")

    def answers(self) -> bool:
        """Whether it takes connections, and has loaded what it had."""
        assert self.process.poll() is None, (self.home / "log").read_text()
        try:
            if self._tls:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            return bool(self.redis.ping())
        except (redis.ConnectionError, OSError):  # the former also while it loads
            return False

    def client(self) -> Any:
        """A plain client."""
        return redis.Redis(port=self.port, protocol=2, socket_timeout=10)

    def kill(self) -> None:
        """As a power cut."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """It is gone, with its files."""
        self.redis.close()
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Sentinels:
    """One primary, two replicas and three sentinels, which call it ``shop``."""

    def __init__(self) -> None:
        first = Server()
        self.servers = [first, *(Server("--replicaof", "127.0.0.1", str(first.port)) for _ in range(2))]
        lines = (
            f"sentinel monitor shop 127.0.0.1 {first.port} 2",
            "sentinel down-after-milliseconds shop 500",
            "sentinel failover-timeout shop 3000",
        )
        self.sentinels = [Server(sentinel="\n".join(lines) + "\n") for _ in range(3)]
        wait_until(self.settled, _LONG, "sentinels that know each other")
        self.url = "redis+sentinel://" + ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels) + "/shop"

    def settled(self) -> bool:
        """Whether all know each other and have two replicas to choose from."""
        told = [each.client().sentinel_master("shop") for each in self.sentinels]
        return all(
            each["num-other-sentinels"] == 2 and each["num-slaves"] >= 2 and each["flags"] == "master" for each in told
        ) and all(self._follows(each) for each in self.servers if each is not self.primary())

    @staticmethod
    def _follows(server: Server) -> bool:
        role = server.client().role()
        return role[0] == b"slave" and role[3] == b"connected"

    def primary(self) -> Server:
        """Who the sentinels say it is."""
        _, port = self.sentinels[0].client().sentinel_get_master_addr_by_name("shop")
        return next(each for each in self.servers if each.port == port)

    def fail_over(self) -> None:
        """An orderly change of the primary."""
        self.sentinels[0].client().execute_command("SENTINEL", "FAILOVER", "shop")

    def end(self) -> None:
        """All are gone."""
        for each in (*self.sentinels, *self.servers):
            each.end()


class Cluster:
    """Three primaries, each with a third of the slots."""

    def __init__(self) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--appendonly", "no")
        self.nodes = [Server(*options) for _ in range(3)]
        self.ids = form([node.client() for node in self.nodes], _LONG)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def owner(self, slot: int) -> int:
        """The number of the node that serves a slot, as that node has it."""
        for number, node in enumerate(self.nodes):
            for first, last, (_, port, *_), *_ in node.client().execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last and port == node.port:
                    return number
        raise AssertionError(f"nobody serves slot {slot}")

    def end(self) -> None:
        """All are gone."""
        for node in self.nodes:
            node.end()
