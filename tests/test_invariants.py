"""The table of invariants has no holes and says what the tests say."""

from __future__ import annotations

from quaff.audit.rules import INVARIANTS
from tests.invariants import CATALOGUE, PAGE, cited, page


def test_each_invariant_has_a_test() -> None:
    """All twenty; and nobody cites, or reports, one that there is not."""
    assert sorted(CATALOGUE) == list(range(1, 21))
    assert set(cited()) == set(CATALOGUE)
    assert {number for number, _ in INVARIANTS.values()} <= set(CATALOGUE)


def test_the_page_of_invariants_is_up_to_date() -> None:
    """Otherwise: ``python -m tests.invariants > docs/reference/invariants.md``."""
    assert PAGE.read_text() == page()
