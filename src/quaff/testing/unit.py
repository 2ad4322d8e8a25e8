"""For ``unittest``: a TestCase that has a kit."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING

from quaff.testing.jobs import Kit, kit

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class JobsMixin(_Base):
    """``class TestShop(JobsMixin, unittest.TestCase)``: each test has ``self.jobs``.

    Attributes:
        quaff_app: what ``kit`` takes: an application, or ``"module:object"``; a property, where each test has another.
        jobs: the kit.
    """

    quaff_app: object = None
    jobs: Kit

    def setUp(self) -> None:
        """Begin; a ``setUp`` of one's own calls this one first."""
        super().setUp()
        self.jobs = self.enterContext(kit(self.quaff_app))
