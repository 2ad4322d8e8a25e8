"""Real servers in the shapes that the tests of engines need: with TLS, behind sentinels, as a cluster."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import redis

from bench.cluster import form, free_port
from quaff.store import embedded
from tests.helpers import wait_until
from tests.lacking import lacks
from tests.plain import PlainCluster

#: Seconds for servers to find each other.
_LONG = 30.0
#: A primary waits five seconds for other replicas before it makes a copy for the first one.
_COPY_AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Server:
    """One server process on a port of the loopback, in a directory of its own.

    Args:
        *options: of its command line.
        program: the binary; by default the one that embedded servers use.
        tls: nothing but TLS on its port, with the certificate in this folder; see ``certificates.py``.
        sentinel: it is one, with this in its file.
        environment: laid over this process's.
    """

    def __init__(
        self,
        *options: str,
        program: str = "",
        tls: Path | None = None,
        sentinel: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
        self.port = free_port()
        self._tls = tls
        self._environment = environment
        self.url = f"rediss://127.0.0.1:{self.port}{query(tls)}" if tls else f"redis://127.0.0.1:{self.port}"
        self.redis = self.client()
        port = ["--port", "0", "--tls-port"] if tls else ["--port"]
        common = [*port, str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home)]
        if tls:
            common += ["--tls-cert-file", f"{tls}/server.pem", "--tls-key-file", f"{tls}/server.key"]
            common += ["--tls-ca-cert-file", f"{tls}/ca.pem", "--tls-auth-clients", "no", "--tls-replication", "yes"]
        self.command = [program or (tls_program() if tls else str(embedded.find_binary()))]
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
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={**os.environ, **self._environment},
            )
        wait_until(self.answers, 10, f"an answer of {self.command}")

    def answers(self) -> bool:
        """Whether it takes connections, and has loaded what it had."""
        assert self.process.poll() is None, (self.home / "log").read_text()
        try:
            return bool(self.redis.ping())
        except redis.ConnectionError:  # also while it loads
            return False

    def client(self) -> Any:
        """A plain client, for which any certificate is good."""
        unchecked: dict[str, Any] = {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False}
        secure = unchecked if self._tls else {}
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=2, socket_timeout=10, **secure)

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
    """One primary, two replicas and three sentinels, which call it ``shop``.

    Args:
        down_after: milliseconds of silence after which a server counts as down. Half a second is too little: on a busy
            machine each new primary was silent for that long, and they passed the place around.
        tls: as of ``Server``.
    """

    def __init__(self, *, down_after: int = 1500, tls: Path | None = None) -> None:
        # Who comes back has to have what it had, or a primary that is back before it is missed takes all with it.
        options = ("--appendonly", "yes", *_COPY_AT_ONCE)
        first = Server(*options, tls=tls)
        follow = ("--replicaof", "127.0.0.1", str(first.port))
        self.servers = [first, *(Server(*options, *follow, tls=tls) for _ in range(2))]
        lines = (
            f"sentinel monitor shop 127.0.0.1 {first.port} 2",
            f"sentinel down-after-milliseconds shop {down_after}",
            "sentinel failover-timeout shop 3000",
        )
        self.sentinels = [Server(sentinel="\n".join(lines) + "\n", tls=tls) for _ in range(3)]
        for each in self.sentinels:
            # They look at servers every ten seconds, and again at one that came back after four more notices of theirs:
            # with others on the machine that is half a minute in which a test sees nothing happen.
            each.redis.execute_command("SENTINEL", "DEBUG", "INFO-PERIOD", 500, "PUBLISH-PERIOD", 500)
        wait_until(self.settled, _LONG, "sentinels that know each other")
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        self.url = f"redis{'s' if tls else ''}+sentinel://{hosts}/shop{query(tls)}"

    def settled(self) -> bool:
        """Whether all know each other and have two replicas to choose from."""
        told = [each.redis.sentinel_master("shop") for each in self.sentinels]
        return all(
            each["num-other-sentinels"] == 2 and each["num-slaves"] >= 2 and each["flags"] == "master" for each in told
        ) and all(self._follows(each) for each in self.servers if each is not self.primary())

    @staticmethod
    def _follows(server: Server) -> bool:
        role = server.redis.role()
        return role[0] == b"slave" and role[3] == b"connected"

    def primary(self) -> Server:
        """Who the sentinels say it is."""
        _, port = self.sentinels[0].redis.sentinel_get_master_addr_by_name("shop")
        return next(each for each in self.servers if each.port == port)

    def fail_over(self) -> None:
        """An orderly change of the primary."""
        self.sentinels[0].redis.execute_command("SENTINEL", "FAILOVER", "shop")

    def end(self) -> None:
        """All are gone."""
        for each in (*self.sentinels, *self.servers):
            each.end()


class Cluster:
    """Three primaries, each with a third of the slots, and if asked for a replica of each.

    Attributes:
        nodes: the primaries as they began, then their replicas.
        ids: theirs.
    """

    def __init__(self, *, replicas: bool = False, tls: Path | None = None, down_after: int = 1500) -> None:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(down_after), "--appendonly", "no"]
        options += _COPY_AT_ONCE
        options += ["--tls-cluster", "yes"] if tls else []
        self.nodes = [Server(*options, tls=tls) for _ in range(6 if replicas else 3)]
        self.ids = form([node.client() for node in self.nodes], _LONG)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        self.url = f"redis{'s' if tls else ''}+cluster://{hosts}{query(tls)}"

    def owner(self, slot: int) -> int:
        """The number of the node that serves a slot, waited for: while it is handed over, for a moment, none does."""
        wait_until(lambda: self.owner_now(slot) is not None, 20, f"somebody who serves slot {slot}")
        found = self.owner_now(slot)
        return self.owner(slot) if found is None else found

    def owner_now(self, slot: int) -> int | None:
        """The number of the node that serves a slot, as that node has it; None where no living one does."""
        for number, node in enumerate(self.nodes):
            if node.process.poll() is None:
                for first, last, (_, port, *_), *_ in node.redis.execute_command("CLUSTER", "SLOTS"):
                    if first <= slot <= last and port == node.port:
                        return number
        return None

    def move(self, slot: int, target: int) -> None:
        """In one step, and all of it is there; Valkey 9 can."""
        source = self.nodes[self.owner(slot)].redis
        source.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self.ids[target])
        try:
            wait_until(lambda: self.owner_now(slot) == target, 20, "the migration")
        except AssertionError as error:
            raise AssertionError(f"{error}; {source.execute_command('CLUSTER', 'GETSLOTMIGRATIONS')}") from None

    def end(self) -> None:
        """All are gone."""
        for node in self.nodes:
            node.end()


class Mover:
    """A thread that moves slots with something in them from node to node, one after the other, until it is stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._moved = 0
        self._trouble: Exception | None = None
        PlainCluster([("127.0.0.1", cluster.nodes[0].port)]).set("something to move", 1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        chance = random.Random()  # the one that all share is hypothesis's while it draws
        try:
            while not self._over.wait(0.2):
                source = chance.randrange(3)
                node = self._cluster.nodes[source].redis
                key = node.randomkey()
                if key is not None:
                    slot = node.execute_command("CLUSTER", "KEYSLOT", key)
                    try:
                        self._cluster.move(slot, (source + chance.choice((1, 2))) % 3)
                        self._moved += 1
                    except (AssertionError, redis.RedisError):
                        pass  # a test has cut all connections, also those of the migration: the slot stays
        except Exception as error:  # noqa: BLE001
            self._trouble = error

    def stop(self) -> int:
        """No more; how many have moved. Raises what has ended it before."""
        wait_until(lambda: self._moved or self._trouble, _LONG, "a slot that moves")
        self._over.set()
        self._thread.join(30)
        if self._trouble:
            raise self._trouble
        return self._moved


# TLS


def tls_program() -> str:
    """A server that speaks it, or the test is left out."""
    program = shutil.which("redis-server")
    if program is None:
        lacks("needs redis-server on PATH: the Valkey of the tests is built without TLS")
    return program


def query(tls: Path | None) -> str:
    """What a URL says of the authority."""
    return f"?ssl_ca_certs={tls}/ca.pem" if tls else ""
