"""Fixtures for pytest. Loaded in every project where Quaff is installed, so nothing of Quaff is imported here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from quaff.testing.jobs import Kit


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting ``quaff_app``."""
    parser.addini("quaff_app", "the application whose jobs are tested, as -A of a worker takes it: module:object")


def pytest_unconfigure() -> None:
    """Clear up: a worker of pytest-xdist ends without the exit handlers of a program."""
    server = sys.modules.get("quaff.testing.server")
    if server is not None:
        server.clear()


@pytest.fixture
def quaff_app(request: pytest.FixtureRequest) -> object:
    """The application under test: what the setting of that name says, else the fixture ``app``; to be overridden."""
    spec = request.config.getini("quaff_app")
    if spec:
        return spec
    try:
        return request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        if error.argname != "app":
            raise
        raise pytest.UsageError(
            "no application is known whose jobs could be tested: set quaff_app = module:object in pytest's settings, "
            "or write a fixture quaff_app (or app) that gives a Quaff, or a Flask or Quart application that has one."
        ) from None


@pytest.fixture
def quaff_jobs(quaff_app: object) -> Iterator[Kit]:
    """The jobs of ``quaff_app`` for one test: ``run_all``, ``perform``, ``assert_enqueued`` and others, see Kit."""
    from quaff.testing.jobs import kit

    with kit(quaff_app) as jobs:
        yield jobs
