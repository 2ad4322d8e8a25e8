"""Times to wait, as people give them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from quaff import ConfigurationError
from quaff.model.times import duration


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("2d", 172_800), ("1h30m", 5400), ("1w", 604_800), ("90s", 90), (1.5, 1.5), (timedelta(minutes=2), 120)],
)
def test_a_time_may_be_a_text(given: Any, seconds: float) -> None:
    """Of weeks, days, hours, minutes and seconds."""
    assert duration("sleep()", given) == seconds


@pytest.mark.parametrize("given", ["", "2", "2 d", "2x", "-2d", "d", "1.5h", "\u0662d", "9999d", None, -1, True])
def test_what_is_no_time_is_an_error_that_says_what_would_be(given: Any) -> None:
    """Before anything waits."""
    with pytest.raises(ConfigurationError, match=r"sleep\(\): .* is no time to wait: give "):
        duration("sleep()", given)
