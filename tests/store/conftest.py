"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.engine import Desk


@pytest.fixture
def desk(server_url: str, namespace: str) -> Iterator[Desk]:
    """A partition of its own; the invariants are checked once more at the end."""
    desk = Desk(server_url, namespace)
    yield desk
    desk.dump()
    desk.close()
