"""A kit on the shop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quaff.testing import Kit, kit
from tests.testing import shop


@pytest.fixture
def jobs() -> Iterator[Kit]:
    """Its jobs; nothing has run before."""
    shop.ran.clear()
    with kit(shop.quaff) as jobs:
        yield jobs
