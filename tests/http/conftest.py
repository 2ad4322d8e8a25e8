"""Real web servers before a real worker."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests import helpers
from tests.helpers import Program, wait_until
from tests.http.site import SERVERS
from tests.http.support import Site
from tests.matrix import WORKER, known_as

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(server_url: str) -> dict[str, str]:
    """What makes the programs of one file belong together."""
    return {"QUAFF_URL": server_url, "QUAFF_NAMESPACE": f"n{uuid4().hex[:12]}", "SITE_WORKER": "1"}


@pytest.fixture(scope="module", autouse=True)
def worker(environment: dict[str, str]) -> Iterator[Program]:
    """It runs the jobs of a file's sites."""
    own = environment | {"QUAFF_URL": known_as(WORKER, environment["QUAFF_URL"])}
    worker = helpers.start_worker("tests.http.site:worker_quaff", "-p", "1", "-c", "20", cwd=ROOT, env=own)
    yield worker
    worker.end()


@pytest.fixture(scope="module")
def open_site(environment: dict[str, str]) -> Iterator[Callable[[str], Site]]:
    """Gives the site that a server of that name serves; it is started once for a file."""
    sites: dict[str, tuple[Program, Site]] = {}

    def give(name: str) -> Site:
        if name not in sites:
            sites[name] = start_site(name, environment)
        return sites[name][1]

    yield give
    for program, _ in sites.values():
        program.end()


def start_site(name: str, environment: dict[str, str]) -> tuple[Program, Site]:
    """A server of its own; whoever calls it calls ``end()``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    first, *rest = SERVERS[name]
    command = [sys.executable, *rest, port] if first == sys.executable else [sys.executable, "-m", first, *rest]
    program = Program(*(word.format(port=port) for word in command), cwd=ROOT, env=environment)

    def answers() -> bool:
        assert program.process.poll() is None, program.output
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            return True
        return False

    try:
        wait_until(answers, 20, f"{name}: {program.output}")
    except BaseException:
        program.end()
        raise
    return program, Site(f"http://127.0.0.1:{port}/")
