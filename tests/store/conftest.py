"""Fixtures of the engine's tests."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import end_embedded
from tests.store.engine import Desk, process_id
from tests.store.wire import Own


@pytest.fixture
def desk(server_url: str, namespace: str) -> Iterator[Desk]:
    """A partition of its own; the invariants are checked once more at the end."""
    desk = Desk(server_url, namespace)
    yield desk
    desk.dump()
    desk.store.endpoint.tidy()
    desk.close()


@pytest.fixture
def own() -> Iterator[Own]:
    """A server of its own, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
    server = Own(home)
    yield server
    server.kill(signal.SIGCONT)
    end_embedded(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def calls(desk: Desk) -> Desk:
    """The desk, with every script of these tests in the server's memory: what the wire loses is no SCRIPT LOAD."""
    process = process_id()
    desk.put(b"")
    desk.settle(process, *desk.take(process))
    desk.look(b"0" * 16)
    return desk
