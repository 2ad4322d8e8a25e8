"""Every fault of the line, met idle, in a task, at a settle and at a heartbeat: the worker works again at once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from quaff import ResultTimeout
from quaff.store import embedded
from tests.helpers import end_embedded, wait_until
from tests.proxy import Proxy
from tests.worker.support import Stage, after, children, kill, side_by_side

pytestmark = [pytest.mark.alone, pytest.mark.early]
#: Seconds of a lease: a third of it is a heartbeat, so that each fault meets some.
LEASE = 3.0


class Line:
    """A server of its own, and a proxy before it.

    Args:
        folder: for the files of its stage.
    """

    def __init__(self, folder: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
        self.path = embedded.ensure(self.home)
        self.proxy = Proxy(self.path)
        self.stage = Stage(f"embedded://{self.home}", folder)

    @property
    def pid(self) -> int:
        """The server's."""
        info = embedded.server_info(self.home)
        assert info is not None
        assert isinstance(info["pid"], int)
        return info["pid"]

    def server(self) -> Any:
        """A client of it."""
        return redis.Redis(unix_socket_path=self.path, socket_timeout=30)

    def end(self) -> None:
        """Nothing of it stays."""
        self.stage.end()
        self.proxy.close()
        end_embedded(self.home)
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def repeatedly(act: Callable[[], object]) -> Iterator[None]:
    """Do something ten times a second."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.1):
            with suppress(redis.RedisError):
                act()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


@contextmanager
def killed_connections(line: Line) -> Iterator[None]:
    """All of them, again and again."""
    with repeatedly(lambda: line.server().client_kill_filter(_type="normal", skipme=True)):
        yield


@contextmanager
def killed_server(line: Line) -> Iterator[None]:
    """By SIGKILL; whoever needs it first starts it again, with its data."""
    kill(line.pid)
    yield


@contextmanager
def frozen_server(line: Line) -> Iterator[None]:
    """By SIGSTOP, for ten seconds."""
    pid = line.pid
    kill(pid, signal.SIGSTOP)
    try:
        after(10 - _SECONDS)
        yield
    finally:
        kill(pid, signal.SIGCONT)


@contextmanager
def blackhole(line: Line) -> Iterator[None]:
    """Nothing gets through, and no error comes; what was open then stays dead for ever."""
    line.proxy.swallow()
    yield
    line.proxy.swallow_no_more()


@contextmanager
def cut_replies(line: Line) -> Iterator[None]:
    """What is sent is applied, and the line breaks before its reply."""
    with repeatedly(lambda: line.proxy.on_reply("cut")):
        yield
    line.proxy.forget_fates()


@contextmanager
def lost_replies(line: Line) -> Iterator[None]:
    """What is sent is applied, its reply is lost, and the line stays."""
    with repeatedly(lambda: line.proxy.on_reply("lose")):
        yield
    line.proxy.forget_fates()


@contextmanager
def flushed_scripts(line: Line) -> Iterator[None]:
    """As after a restart or a failover, again and again."""
    with repeatedly(lambda: line.server().script_flush()):
        yield


@contextmanager
def no_room_for_clients(line: Line) -> Iterator[None]:
    """maxclients is reached, and those that were in are thrown out."""
    server = line.server()
    server.config_set("maxclients", 1)
    with repeatedly(lambda: server.client_kill_filter(_type="normal", skipme=True)):
        yield
    server.config_set("maxclients", 10_000)


@contextmanager
def busy_server(line: Line) -> Iterator[None]:
    """Somebody's script does not end: BUSY to everybody else."""
    server = line.server()
    server.config_set("busy-reply-threshold", 50)
    script = f"local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < {_SECONDS} do end"
    thread = threading.Thread(target=lambda: _ignored(lambda: server.eval(script, 0)), daemon=True)
    thread.start()
    yield
    thread.join()


@contextmanager
def replica(line: Line) -> Iterator[None]:
    """READONLY: a primary that has become a replica, for a while."""
    line.server().execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    line.server().execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def loading(line: Line) -> Iterator[None]:
    """LOADING: it reads its data from another server, slowly."""
    server = line.server()
    with tempfile.TemporaryDirectory(prefix="quaff-t", dir="/tmp") as folder:
        port, mine = _free_ports()
        other = redis.Redis(unix_socket_path=embedded.ensure(Path(folder)), socket_timeout=30)
        other.config_set("bind", "127.0.0.1")
        other.config_set("port", port)
        other.config_set("repl-diskless-sync-delay", 0)
        server.mset({f"junk {number}": os.urandom(2000) for number in range(30)})
        server.config_set("bind", "127.0.0.1")
        server.config_set("port", mine)
        other.execute_command("REPLICAOF", "127.0.0.1", mine)
        wait_until(lambda: other.info("replication")["master_link_status"] == "up", 10, "the copy")
        other.execute_command("REPLICAOF", "NO", "ONE")
        server.set("not there", 1)  # else what it has would do, and nothing would be loaded
        server.config_set("loading-process-events-interval-bytes", 1024)
        server.config_set("key-load-delay", int(_SECONDS * 1_000_000 / 30))
        server.execute_command("REPLICAOF", "127.0.0.1", port)
        wait_until(lambda: _says_loading(line), 10, "LOADING")
        yield
        wait_until(lambda: not _says_loading(line), 20, "its data")
        server.execute_command("REPLICAOF", "NO", "ONE")
        server.config_set("key-load-delay", 0)
        other.close()
        end_embedded(Path(folder))


def _free_ports() -> tuple[int, int]:
    """Two that nobody listens on now."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _says_loading(line: Line) -> bool:
    try:
        # With its usual retries redis-py would ask until it is over.
        redis.Redis(unix_socket_path=line.path, retry=Retry(NoBackoff(), 0)).get("junk 0")
    except redis.exceptions.BusyLoadingError:
        return True
    return False


def _ignored(act: Callable[[], object]) -> None:
    with suppress(redis.RedisError):
        act()


#: How long a fault lasts at least: more than a heartbeat, and than DEADLINE.
_SECONDS = 3.0

Fault = Callable[[Line], Any]
AT_THE_SERVER: list[Fault] = [
    killed_connections,
    killed_server,
    frozen_server,
    flushed_scripts,
    no_room_for_clients,
    loading,
]
ON_THE_WAY: list[Fault] = [blackhole, cut_replies, lost_replies, busy_server, replica]


@pytest.mark.parametrize("faults", [AT_THE_SERVER, ON_THE_WAY], ids=["server", "way"])
def test_a_worker_works_again_within_seconds_of_the_end_of_a_fault(faults: list[Fault], tmp_path: Path) -> None:
    """F15, F25, F27, F28, F30, F33, F36, F37, F38, F39, F69: the same processes, no attempt charged, nothing twice."""

    def scenario(fault: Fault) -> None:
        line = Line(tmp_path)
        try:
            meet(line, fault)
        finally:
            line.end()

    side_by_side(*(lambda fault=fault: scenario(fault) for fault in faults))  # type: ignore[misc]


def meet(line: Line, fault: Fault) -> None:
    """One worker meets a fault twice: idle, and with two jobs, of which one ends in the middle of it."""
    stage, name = line.stage, fault.__name__
    url = line.proxy.url if fault in ON_THE_WAY else stage.url
    within = 10.0 if fault is blackhole else 5.0
    worker = stage.worker("-p", "1", "-c", "3", LEASE=str(LEASE), URL=url)
    stage.send("mark", "before").result(timeout=15)
    processes = [worker.pid, *children(worker)]
    open_before = [open_files(pid) for pid in processes]

    with fault(line):
        after(_SECONDS)
    probe(stage, f"{name}, idle", within)

    settles, runs = stage.file(), stage.file()
    jobs = [stage.send("gate", "settles", str(settles)), stage.send("gate", "runs", str(runs))]
    stage.started("settles")
    stage.started("runs")
    with fault(line):
        after(_SECONDS / 2)
        settles.touch()
        after(_SECONDS / 2)
    probe(stage, f"{name}, busy", within)
    assert jobs[0].result(timeout=within) == "settles", name
    runs.touch()
    assert jobs[1].result(timeout=within) == "runs", name
    assert [worker.pid, *children(worker)] == processes, worker.output
    assert [(run.tag, run.attempt) for run in stage.runs() if run.tag in ("settles", "runs")].count(("runs", 1)) == 1
    assert len(stage.runs()) == 5, name
    for job in jobs:
        assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "succeeded")], name
    assert [open_files(pid) for pid in processes] <= [count + 2 for count in open_before], name
    assert worker.stop() == 0, worker.output
    # It was met, twice. A script that is forgotten is sent again without a word.
    assert worker.output.count("the server answers again") >= 2 or fault is flushed_scripts, worker.output


def test_a_process_has_two_connections(tmp_path: Path) -> None:
    """The supervisor too: one to talk, one to hear; idle, under load and at its end."""
    line = Line(tmp_path)
    try:
        stage, server = line.stage, line.server()
        with pytest.raises(ResultTimeout):
            stage.send("mark", "before").result(0.1)
        before = len(server.client_list())  # with the two of this process: one to talk, one to hear
        worker = stage.worker("-p", "2", "-c", "8")
        jobs = [stage.send(("nap", "anap")[number % 2], f"job {number}", 0.02) for number in range(300)]
        most = 0
        for job in jobs:
            job.result(timeout=15)
            most = max(most, len(server.client_list()) - before)
        assert most == 2 * (1 + len(children(worker)))
        assert worker.stop() == 0
        assert len(server.client_list()) == before
    finally:
        line.end()


def probe(stage: Stage, tag: str, within: float) -> None:
    """A job that is sent now is done soon."""
    stage.send("mark", tag).result(timeout=within)


def open_files(pid: int) -> int:
    """How many file descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
