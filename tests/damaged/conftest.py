"""Something in every kind of key, to be damaged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.damaged.world import World


@pytest.fixture(scope="module")
def world(server_url: str) -> Iterator[World]:
    """Mended after each test."""
    world = World(server_url)
    yield world
    world.end()
