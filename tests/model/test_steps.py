"""Steps as bytes, and what may be the name of one."""

from __future__ import annotations

from typing import Any

import pytest

from quaff import StepError
from quaff.model import steps
from quaff.model.steps import DONE, RECEIVED, WAIT, Step, checked_name


def stored(untimed: bytes, ms: int = 7) -> bytes:
    """As the server keeps it."""
    record = b"%013d" % ms + untimed
    return len(record).to_bytes(4, "big") + record


def test_steps_come_back_as_they_were() -> None:
    """In their order; the value of a signal without its id."""
    long = "n" * 200
    data = stored(steps.encode(long, DONE, 2**31, b"\x00\xff")) + stored(steps.encode("w", WAIT, 1, b"", "zusage €"))
    data += stored(steps.encode("r", RECEIVED, 3, b"i" * 16 + b"value", "s"))
    assert steps.decode(data) == [
        Step(long, DONE, 7, 2**31, "", b"\x00\xff"),
        Step("w", WAIT, 7, 1, "zusage €", b""),
        Step("r", RECEIVED, 7, 3, "s", b"value"),
    ]


@pytest.mark.parametrize("name", ["", "n" * 201, "€" * 67, "\ud800", None, 7, b"charge"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    """With what would be."""
    with pytest.raises(StepError, match=r"step\(\): .* is no name: give a text of 1 to 200 bytes"):
        checked_name("step()", name)
