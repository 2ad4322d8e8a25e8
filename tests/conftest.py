"""Fixtures of all tests: one real server per run, and workers that end with their test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests import helpers
from tests.catalogue import ID
from tests.helpers import Program
from tests.matrix import ENGINES, WORKER, chosen, known_as, leave_out, line_to, prepare
from tests.proxy import Proxy

if TYPE_CHECKING:
    from tests.store.engine import Desk


def pytest_configure() -> None:
    """Which server it is has to be known before the first one starts."""
    prepare(chosen())
    # A shell has what it starts with & ignore Ctrl+C, and so would each program of a test.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``-k F54.`` and ``-k S4.`` find the tests that cite the row in their docstring; see also ``matrix.leave_out``.

    With the point: ``-k`` looks for parts of words, and ``S4`` is one of ``S40``.
    """
    if besides := leave_out(items, chosen()):
        config.hook.pytest_deselected(items=besides)
        items[:] = [item for item in items if item not in besides]
    for item in items:
        if isinstance(item, pytest.Function):
            above = item.cls.__doc__ if item.cls else ""
            found = ID.findall(f"{above} {item.function.__doc__}")
            item.extra_keyword_matches.update(f"{id}." for id in found)
    early = {item.path for item in items if item.get_closest_marker("early")}
    # Then those that start workers: what is quick comes last, so that nobody has a long file alone at the end.
    items.sort(key=lambda item: (item.path not in early, "worker" not in item.path.parts))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a server that all tests of this process share; keep apart by ``namespace``."""
    with ENGINES[chosen()]() as url:
        yield url


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def desk(server_url: str, namespace: str) -> Iterator[Desk]:
    """A queue without a worker: the test is it."""
    from tests.store.engine import Desk

    with closing(Desk(server_url, namespace, queue="default")) as desk:
        yield desk


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

    def start(*arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Program:
        own = {name: known_as(WORKER, value) for name, value in (env or {}).items()}
        return running(helpers.start_worker(*arguments, env=own, **options))

    return start


@pytest.fixture
def proxy(server_url: str) -> Iterator[Proxy]:
    """A proxy before the shared server."""
    proxy = Proxy(line_to(server_url))
    yield proxy
    proxy.close()
