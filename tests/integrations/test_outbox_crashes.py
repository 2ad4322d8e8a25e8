"""An order is committed if and only if its job runs, wherever the web process dies."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from tests.helpers import Program, python, wait_until

ROOT = Path(__file__).parents[2]
REQUESTS = 1000 if os.environ.get("FULL") else 60
#: Of a hundred requests.
FATES = {"fine": 55, "rollback": 30, "flush": 5, "commit": 5, "publish": 5}

Running = Callable[[Program], Program]


def ask(port: int, number: int, fate: str) -> int:
    """The status of the answer; 0 if the process died instead."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", f"/orders/{number}?fate={fate}")
        return connection.getresponse().status
    except (HTTPException, OSError):
        return 0
    finally:
        connection.close()


@pytest.mark.early
@pytest.mark.timeout(600 if os.environ.get("FULL") else 120)
def test_each_committed_order_is_shipped_once_and_no_other(
    database: str,
    server_url: str,
    namespace: str,
    running: Running,
    start_worker: Callable[..., Program],
    tmp_path: Path,
) -> None:
    """The web process is killed after the flush, after the commit, and when the job is sent and its row still there."""
    engine = create_engine(database, poolclass=NullPool)
    kills = tmp_path / "kills"
    kills.touch()
    environment = {
        "QUAFF_URL": server_url,
        "QUAFF_NAMESPACE": namespace,
        "DATABASE_URL": f"{database}?timeout=60" if engine.dialect.name == "sqlite" else database,
        "KILLS": str(kills),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT))),
    }
    site = "tests.integrations.outbox_site"
    assert running(python("-m", "flask", "--app", site, "init", cwd=ROOT, env=environment)).wait() == 0
    start_worker(f"{site}:create_app", "-p", "1", cwd=ROOT, env=environment)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    served = [
        "-m",
        "gunicorn",
        "--preload",
        "-w",
        "3",
        "--graceful-timeout",  # one that is told to end while it begins does not hear it
        "5",
        "-b",
        f"127.0.0.1:{port}",
        "-c",
        f"python:{site}",
        f"{site}:web()",
    ]
    web = running(python(*served, cwd=ROOT, env=environment))
    web.wait_for("Booting worker")

    fates = [fate for fate, count in FATES.items() for _ in range(count * REQUESTS // 100)]
    random.Random(1).shuffle(fates)
    orders, asked = itertools.count(), dict[int, tuple[str, int]]()

    def died(where: str) -> set[int]:
        """The orders whose process ended there."""
        lines = map(str.split, kills.read_text().splitlines())
        return {int(number) for place, number, *_ in lines if place == where}

    def see_through(fate: str) -> None:
        """Ask; anew, with another order, where a relay's thread took along a request that was to die by itself."""
        number = next(orders)
        asked[number] = fate, ask(port, number, fate)
        while fate in ("flush", "commit") and number not in died(fate):
            number = next(orders)
            asked[number] = fate, ask(port, number, fate)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(see_through, fates))

    def numbers(query: str) -> list[int]:
        with engine.connect() as connection:
            return list(connection.scalars(text(query)))

    wait_until(lambda: not numbers("SELECT id FROM quaff_outbox"), 60, "the end of the outbox")
    committed = numbers("SELECT number FROM orders ORDER BY number")
    wait_until(lambda: len(numbers('SELECT "order" FROM shipments')) >= len(committed), 60, "every shipment")
    assert sorted(numbers('SELECT "order" FROM shipments')) == committed
    assert web.stop() == 0
    assert sorted(numbers('SELECT "order" FROM shipments')) == committed

    assert all(len(died(each)) == fates.count(each) for each in ("flush", "commit")), kills.read_text()
    # Each of these that was committed: the first one was, for until then no relay has died.
    assert died("publish") == {number for number in committed if asked[number][0] == "publish"} != set()
    for number, (fate, answer) in asked.items():
        assert (number in committed) or answer != 202, f"{number} was answered and is not there"
        assert number not in committed or fate not in ("rollback", "flush")
