"""The table of faults has no holes and says what the tests say."""

from __future__ import annotations

from tests.faults import NOT_YET, PAGE, cited, page, titles


def test_each_fault_has_a_test_or_a_reason_why_not() -> None:
    """And none has both."""
    assert sorted(titles()) == list(range(1, 70))
    assert set(titles()) == set(cited()) | set(NOT_YET)
    assert not set(cited()) & set(NOT_YET), "shown by now: no reason is needed any more"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: ``python -m tests.faults > docs/reference/faults.md``."""
    assert PAGE.read_text() == page()
