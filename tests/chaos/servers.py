"""A primary with its replica, each with a clock that can be put wrong, and a proxy before both."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from quaff.store import embedded
from tests.chaos import ledger
from tests.chaos.verdict import Window
from tests.engines import Server
from tests.helpers import wait_until
from tests.proxy import Proxy


def _clocks() -> Path | None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    version = subprocess.run([embedded.find_binary(), "--version"], capture_output=True, check=True).stdout
    return None if b"malloc=jemalloc" in version else library


#: Debian's library for wrong clocks (package faketime); without it clocks stay right, and with it a server that has
#: jemalloc, as Debian's own, waits for itself at its start: that asks for the time before the library is there.
FAKETIME = _clocks()
#: Seconds: for a replica to catch up, and of acknowledged writes that a server keeps back while its disk is busy.
CAUGHT_UP, STALLED = 15.0, 2.0
#: Seconds until a server looks at its clock's file, which it does each second, on a busy machine.
NOTICED = 15.0
_OPTIONS = "--appendonly yes --appendfsync everysec --unixsocket sock --repl-diskless-sync-delay 0".split()
#: FAKETIME itself would be obeyed before the file.
_SKEWED = {
    "LD_PRELOAD": str(FAKETIME),
    "FAKETIME_TIMESTAMP_FILE": "clock",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_CACHE_DURATION": "1",
}


class Pair:
    """The servers of a run.

    Args:
        watch: is given what is sent to the primary.

    Attributes:
        proxy: the line of everybody to the primary.
        windows: in which acknowledged writes may have been lost.
        reloads: calls that met a server without our scripts.
    """

    def __init__(self, watch: Callable[[bytes], object]) -> None:
        self.primary, self.replica = (Server(*_OPTIONS, environment=_SKEWED if FAKETIME else {}) for _ in range(2))
        self.proxy = Proxy(_socket(self.primary), watch)
        self._replication = Proxy(_socket(self.primary))
        self.windows: list[Window] = []
        self.reloads = 0
        self._skews: dict[int, float] = {}
        self._follow()

    def client(self) -> Any:
        """A client of who is the primary now, past the proxy."""
        return redis.Redis(unix_socket_path=_socket(self.primary), protocol=2, socket_timeout=30)

    def _follow(self) -> None:
        self.replica.redis.replicaof("127.0.0.1", self._replication.port)

    def caught_up(self) -> bool:
        """Whether the replica follows closely."""
        said = self.replica.redis.info("replication")
        return bool(said.get("master_link_status") == "up" and not said["master_sync_in_progress"])

    def restart(self, pause: float) -> None:
        """The primary is killed and comes back with what it has on disk.

        All that it has acknowledged is in the page cache, unless the disk is so busy that it keeps writes back.
        """
        self.note_reloads()
        said = self.primary.redis.info("persistence")
        self.primary.kill()
        killed = ledger.now()
        if said["aof_pending_bio_fsync"] or said["aof_buffer_length"]:
            self.windows.append(Window(killed - STALLED, killed))
        time.sleep(pause)
        self.primary.start()

    def fail_over(self, lost: float) -> None:
        """The replica hears nothing for so many seconds, the primary dies, and the replica takes its place.

        The old one comes back as the replica of the new one.
        """
        wait_until(self.caught_up, CAUGHT_UP, "a replica that has caught up")
        self.note_reloads()
        since = ledger.now()
        # What comes before this the replica has heard.
        self.primary.redis.incr("chaos")
        assert self.primary.redis.wait(1, int(CAUGHT_UP * 1000)) == 1, "the replica does not follow"
        self._replication.swallow()
        time.sleep(lost)
        self.primary.kill()
        self.windows.append(Window(since, ledger.now()))
        self.replica.redis.execute_command("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        self.proxy.upstream = self._replication.upstream = _socket(self.primary)
        self._replication.cut()
        self._replication.swallow_no_more()
        self.replica.start()
        self._follow()

    def freeze(self, seconds: float) -> None:
        """The primary stands still."""
        self.primary.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.primary.process.send_signal(signal.SIGCONT)

    def skewed(self, server: Server) -> float:
        """By how much a server's clock is wrong."""
        return self._skews.get(server.port, 0.0)

    def skew(self, server: Server, seconds: float) -> None:
        """A server's clock is wrong by so much from now on, and says so."""
        self._skews[server.port] = seconds
        told = server.home / "clock.new"
        told.write_text(f"{seconds:+g}")
        os.replace(told, server.home / "clock")
        wait_until(lambda: abs(self._ahead(server) - seconds) < 0.5, NOTICED, "a clock that has been set")

    @staticmethod
    def _ahead(server: Server) -> float:
        whole, micro = server.redis.time()
        return float(whole) + micro / 1e6 - time.time()

    def note_reloads(self) -> None:
        """Add up what a server forgets when it is started again."""
        self.reloads += self.primary.redis.info("errorstats").get("errorstat_NOSCRIPT", {}).get("count", 0)
        self.primary.redis.config_resetstat()

    def engine(self) -> str:
        """Which server it is: ``Valkey 9.1.0``."""
        said = self.primary.redis.info("server")
        name = said.get("server_name", "redis")
        return f"{name.capitalize()} {said.get(f'{name}_version', '?')}"

    def keep(self, folder: Path) -> None:
        """What each says, and what the primary has: as it is now, and call by call. It is gone then."""
        for name, path in self.logs().items():
            shutil.copy(path, folder / name)
        try:
            self.client().save()
            shutil.copy(self.primary.home / "dump.rdb", folder)
        finally:
            self.primary.kill()  # or it might begin to write the file anew while it is copied
            shutil.copytree(self.primary.home / "appendonlydir", folder / "appendonlydir", dirs_exist_ok=True)

    def logs(self) -> dict[str, Path]:
        """What each server says."""
        return {f"server-{each.port}.log": each.home / "log" for each in (self.primary, self.replica)}

    def end(self) -> None:
        """All are gone, with their files."""
        self.proxy.close()
        self._replication.close()
        for each in (self.primary, self.replica):
            each.end()


def _socket(server: Server) -> str:
    return str(server.home / "sock")
