"""The tables of faults and of security have no holes and say what the tests say."""

from __future__ import annotations

import pytest

from tests.catalogue import Catalogue
from tests.faults import FAULTS
from tests.threats import THREATS

each_catalogue = pytest.mark.parametrize(("catalogue", "last"), [(FAULTS, 69), (THREATS, 27)], ids=["F", "S"])


@each_catalogue
def test_each_row_has_a_test_or_a_reason_why_not(catalogue: Catalogue, last: int) -> None:
    """And none has both."""
    cited, not_yet = set(catalogue.cited()), set(catalogue.not_yet)
    assert sorted(catalogue.titles()) == list(range(1, last + 1))
    assert set(catalogue.titles()) == cited | not_yet
    assert not cited & not_yet, "shown by now: no reason is needed any more"


@each_catalogue
def test_the_page_is_up_to_date(catalogue: Catalogue, last: int) -> None:
    """Otherwise: ``python -m tests.faults > docs/reference/faults.md``, or the same with ``threats``."""
    assert catalogue.path.read_text() == catalogue.page()
