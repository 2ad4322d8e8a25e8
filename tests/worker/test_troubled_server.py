"""F25, F30, F37, F46: a server that takes no writes, gives no rights or hears nothing: no noise, and work later."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.chaos import ledger
from tests.helpers import Program, wait_until
from tests.matrix import line_to
from tests.proxy import reach
from tests.worker.support import Stage, after, children, kill, load_of, side_by_side

OwnServer = tuple[Callable[[], Stage], int]

#: The share of a core that an idle process may use; the review found two thirds.
LITTLE = 0.2
#: Seconds in which a job starts where its process asks twice a second.
SOON = 2.0


def quiet(worker: Program) -> None:
    """The supervisor and its only process use next to nothing for two seconds."""
    (child,) = children(worker)
    loads: dict[int, float] = {}

    def look(pid: int) -> None:
        loads[pid] = load_of(pid)

    side_by_side(lambda: look(worker.pid), lambda: look(child))
    print("load:", [f"{load:.2f}" for load in loads.values()])
    assert max(loads.values()) < LITTLE, worker.output


def test_a_server_that_became_a_replica_is_waited_for(own_server: OwnServer) -> None:
    """F37: nothing can be written: it is said and not repeated, the CPU is left alone, and later jobs run at once."""
    stage = own_server[0]()
    worker = stage.worker("-p", "1")
    raw = stage.raw()
    raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    worker.wait_for("read only replica")
    quiet(worker)
    after(1.0)
    said = [line for line in worker.stderr if "eplica" in line]
    raw.execute_command("REPLICAOF", "NO", "ONE")
    assert stage.send("mark", "first").result(timeout=SOON + 1) == "first"
    for number in range(3):
        assert stage.send("mark", f"later {number}").result(timeout=SOON) == f"later {number}"
    # Once the process, and once each chore of the supervisor that could not be done.
    assert 1 <= len(said) <= 5, worker.output
    assert worker.stop() == 0


def test_jobs_run_without_the_right_to_wait(own_server: OwnServer) -> None:
    """F46: a user without BLPOP: said once; the process asks twice a second, and waits again when it may."""
    stage = own_server[0]()
    stage.raw().execute_command("ACL", "SETUSER", "default", "-blpop")
    worker = stage.worker("-p", "1")
    line = worker.wait_for("does not let this process wait")
    assert "blpop" in line
    quiet(worker)
    for number in range(3):
        assert stage.send("mark", f"asked {number}").result(timeout=SOON) == f"asked {number}"
    assert sum("blpop" in line for line in worker.stderr) == 1, worker.output
    stage.raw().execute_command("ACL", "SETUSER", "default", "+blpop")
    waiting = stage.raw()
    wait_until(lambda: any(client["cmd"] == "blpop" for client in waiting.client_list()), 5)
    assert worker.stop() == 0


def test_a_server_that_stands_still_costs_no_cpu(own_server: OwnServer) -> None:
    """F25: with a job in hand and a result that cannot be told, nobody turns in a circle."""
    make, server = own_server
    stage = make()
    worker = stage.worker("-p", "1")
    path = stage.file()
    running, ended = stage.file(), stage.send("gate", "ended", str(path))
    job = stage.send("gate", "running", str(running))
    stage.started("ended")
    stage.started("running")
    kill(server, 19)
    path.touch()
    try:
        quiet(worker)
        quiet(worker)
    finally:
        kill(server, 18)
    assert ended.result(timeout=15) == "ended"
    running.touch()
    assert job.result(timeout=10) == "running"
    assert len(stage.runs()) == 2
    assert worker.stop() == 0


class Deafness:
    """A line to the server on which connections that wait can go silent, as after a router has forgotten them."""

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._waiting: set[int] = set()
        self._silent: set[int] = set()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def fall(self) -> int:
        """From now on nothing gets through on the connections that wait at this moment; how many there are."""
        self._silent |= self._waiting
        return len(self._waiting)

    def close(self) -> None:
        """End everything."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = reach(self._upstream)
                self._sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(*ends, number), daemon=True).start()
                number += 1

    def _pump(self, source: socket.socket, target: socket.socket, number: int) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if number in self._silent:
                    continue
                if b"BLPOP" in data:
                    self._waiting.add(number)
                target.sendall(data)
        # A silent connection is not even closed.
        if number not in self._silent:
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def deafness(stage: Stage) -> Iterator[Deafness]:
    """A line to the server of the stage."""
    line = Deafness(line_to(stage.url))
    yield line
    stage.end()
    line.close()


def test_a_wake_connection_that_went_silent_is_made_anew(stage: Stage, deafness: Deafness) -> None:
    """F30: no token arrives and no error either: jobs start late for some seconds, not for ever."""
    worker = stage.worker("-p", "1", URL=deafness.url, DEADLINE="1")
    count = 0

    def latency() -> float:
        nonlocal count
        count += 1
        since = ledger.now()
        stage.send("mark", f"mark {count}").result(timeout=20)
        return ledger.now() - since

    assert latency() < SOON
    wait_until(lambda: deafness.fall() > 0)
    fallen, latencies = ledger.now(), [latency()]
    while not (len(latencies) >= 4 and max(latencies[-3:]) < 0.5):
        assert ledger.now() - fallen < 20, latencies
        latencies.append(latency())
        after(0.2)
    print(f"silent for {ledger.now() - fallen:.1f} s:", [f"{each:.2f}" for each in latencies])
    assert "no longer answers on the connection that wakes" in worker.wait_for("no longer answers")
    assert worker.stop() == 0
