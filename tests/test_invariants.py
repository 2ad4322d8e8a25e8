"""The table of invariants has no holes and says what the tests say."""

from __future__ import annotations

import pytest

from quaff.audit.rules import INVARIANTS
from tests.invariants import CATALOGUE, PAGE, cited, page, planted
from tests.store import test_audit, test_engine_plants


def test_each_invariant_has_a_test() -> None:
    """All of them; and nobody cites, or reports, one that there is not."""
    assert sorted(CATALOGUE) == list(range(1, 23))
    assert set(cited()) == set(CATALOGUE)
    assert {number for number, _ in INVARIANTS.values()} <= set(CATALOGUE)


def test_each_invariant_is_broken_by_a_test_that_sees_it() -> None:
    """Or nobody knows whether those that cite it can fail."""
    assert set(planted()) == set(CATALOGUE)


@pytest.mark.parametrize(
    ("test", "broken"),
    [
        (
            "tests/store/test_engine_plants.py::test_what_is_not_as_it_was_left_is_seen",
            {plant.breaks for plant in test_engine_plants.PLANTS.values()},
        ),
        (
            "tests/store/test_audit.py::test_each_violation_is_named_and_repaired",
            {INVARIANTS[name][0] for name, _ in test_audit.PLANTS.values()},
        ),
    ],
)
def test_what_a_test_says_it_breaks_is_what_its_table_breaks(test: str, broken: set[int]) -> None:
    """No word without a plant, and no plant without a word."""
    assert {number for number, tests in planted().items() if test in tests} == broken


def test_the_page_of_invariants_is_up_to_date() -> None:
    """Otherwise: ``python -m tests.invariants > docs/reference/invariants.md``."""
    assert PAGE.read_text() == page()
