"""F35: the password of a worker's user is changed under it: it is loud, patient, and there again when it may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.helpers import wait_until
from tests.matrix import logged_in
from tests.worker.support import Stage, after, children

OwnServer = tuple[Callable[[], Stage], int]

OLD, NEW = "opensesame", "abracadabra"
#: What a server says to a wrong one.
REFUSED = "invalid username-password pair"
#: Seconds in which a worker is as before when it may log in again, and of those in which it may not.
SOON, LOCKED_OUT = 5.0, 3.0


def allow(server: Any, *rules: str) -> None:
    """Change the worker's user."""
    server.execute_command("ACL", "SETUSER", "shop", *rules)


def hang_up(server: Any) -> None:
    """Who is in has to log in again, as after a restart of the server."""
    server.execute_command("CLIENT", "KILL", "USER", "shop")


def knocks(server: Any) -> int:
    """How often somebody has connected."""
    count: int = server.info("stats")["total_connections_received"]
    return count


def test_a_worker_whose_password_was_changed_says_so_and_waits(own_server: OwnServer) -> None:
    """F35, F69, S17: a job that ends meanwhile is recorded later and once; nobody learns either password."""
    stage = own_server[0]()
    server = stage.raw()
    allow(server, "on", f">{OLD}", "~*", "&*", "+@all")
    worker = stage.worker("-p", "1", URL=logged_in(stage.url, "shop", OLD))
    path = stage.file()
    job = stage.send("gate", "held", str(path))
    stage.started("held")
    processes = children(worker)
    # A second one beside the first, as whoever changes passwords in order begins: nobody notices.
    allow(server, f">{NEW}")
    hang_up(server)
    assert stage.send("mark", "both").result(timeout=SOON) == "both"
    said = len(worker.stderr)

    allow(server, f"<{OLD}")
    hang_up(server)
    assert "shop:***@" in worker.wait_for(REFUSED)
    path.touch()
    before = knocks(server)
    after(LOCKED_OUT)
    tries = knocks(server) - before
    waiting = stage.send("mark", "waits")
    print(f"{tries} logins in {LOCKED_OUT:g} s")
    # Process and supervisor, on each of their connections: it is not given up, and it is no storm.
    assert 2 <= tries / LOCKED_OUT < 40
    told = [line for line in worker.stderr[said:] if REFUSED in line]
    assert len(told) <= 4, worker.output
    assert (job.state, waiting.state) == ("running", "queued")

    allow(server, f">{OLD}")
    assert job.result(timeout=SOON) == "held"
    assert waiting.result(timeout=SOON) == "waits"
    assert children(worker) == processes
    assert [(each.number, each.outcome) for each in job.info().attempts] == [(1, "succeeded")]
    assert len(stage.runs("held")) == 1
    wait_until(lambda: min(stage.leases().values()) > 10, SOON, "leases that are renewed")
    assert worker.stop() == 0
    assert OLD not in worker.output
    assert NEW not in worker.output
