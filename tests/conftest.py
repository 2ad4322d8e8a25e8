"""Fixtures of all tests: one real server per run, and workers that end with their test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from quaff.store import embedded
from tests import helpers
from tests.catalogue import ID
from tests.helpers import Program, gone, wait_until
from tests.proxy import Proxy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``-k F54`` and ``-k S4`` find the tests that cite the row in their docstring."""
    for item in items:
        if isinstance(item, pytest.Function):
            above = item.cls.__doc__ if item.cls else ""
            found = ID.findall(f"{above} {item.function.__doc__}")
            item.extra_keyword_matches.update(found)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of an embedded server that all tests of this process share; keep apart by ``namespace``."""
    # Short: the path of a socket has little room, and tmp_path is long.
    home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
    embedded.ensure(home)
    yield f"embedded://{home}"
    end_server(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """What the developer's shell has set is not what a test means."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            # QUAFF_SERVER_BINARY says which server the tests run on.
            if (name.startswith("QUAFF_") and name != "QUAFF_SERVER_BINARY") or name in ("VALKEY_URL", "REDIS_URL"):
                patch.delenv(name)
        yield


@pytest.fixture
def running() -> Iterator[Callable[[Program], Program]]:
    """Give it a program and it is gone after the test: ``program = running(python("x.py"))``."""
    programs: list[Program] = []

    def keep(program: Program) -> Program:
        programs.append(program)
        return program

    yield keep
    for program in programs:
        program.end()


@pytest.fixture
def start_worker(running: Callable[[Program], Program]) -> Callable[..., Program]:
    """As ``helpers.start_worker``; the worker is gone after the test."""
    return lambda *arguments, **options: running(helpers.start_worker(*arguments, **options))


@pytest.fixture
def proxy(server_url: str) -> Iterator[Proxy]:
    """A proxy before the shared server."""
    proxy = Proxy(embedded.ensure(embedded.directory(server_url)))
    yield proxy
    proxy.close()


def end_server(home: Path) -> None:
    """End the embedded server of a directory and wait until it is gone."""
    info = embedded.server_info(home)
    if info is None:
        return
    pid = info["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(pid), 10, "the end of the embedded server")
