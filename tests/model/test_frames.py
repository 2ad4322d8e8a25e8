"""Where an exception comes from, in few words."""

from __future__ import annotations

import json

import pytest

from quaff.model.frames import frame_of


def fails_inside() -> None:
    json.loads("{")


def test_the_innermost_frame_of_the_users_own_code_counts() -> None:
    """Not that of the library which raised."""
    with pytest.raises(ValueError, match="Expecting") as caught:
        fails_inside()
    assert frame_of(caught.value.__traceback__) == "test_frames.py in fails_inside"


def test_without_own_code_it_is_the_innermost() -> None:
    """And nothing where there is no traceback."""
    assert frame_of(None) == ""
    with pytest.raises(ValueError, match="Expecting") as caught:
        fails_inside()
    trace = caught.value.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != json.__file__:
        trace = trace.tb_next
    assert frame_of(trace) == "decoder.py in JSONDecoder.raw_decode"


def test_a_recursion_is_not_followed_for_ever() -> None:
    """Its frames are all the same."""

    def again(depth: int) -> None:
        if depth:
            again(depth - 1)
        raise KeyError

    with pytest.raises(KeyError) as caught:
        again(500)
    assert frame_of(caught.value.__traceback__).endswith("again")
