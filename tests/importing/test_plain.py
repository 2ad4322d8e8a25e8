"""Pickles are read by their opcodes: what is plain comes out as it went in, and nothing else comes out, or runs."""

from __future__ import annotations

import builtins
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quaff.importing import plain

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)


@given(PLAIN, st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_what_is_plain_comes_out_as_it_went_in(value: Any, protocol: int) -> None:
    """In each protocol that knows bytes."""
    data = pickle.dumps(value, protocol)
    assert plain.is_pickle(data)
    found = plain.read(data)
    assert found == value
    assert repr(found) == repr(value)  # True is no 1, and a tuple no list


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([each.code for each in pickletools.opcodes])).map("".join).map(str.encode)
)
def test_any_other_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    """S8: also those that begin like an instruction."""
    try:
        plain.read(b"\x80\x04" + data)
    except plain.NotPlain:
        pass


@given(PLAIN, st.data())
def test_what_is_cut_off_or_continued_is_refused(value: Any, data: st.DataObject) -> None:
    """A signature behind it is more than plain data, too."""
    pickled = pickle.dumps(value)
    place = data.draw(st.integers(0, len(pickled) - 1))
    for broken in (pickled[:place], pickled + b":00"):
        with pytest.raises(plain.NotPlain):
            plain.read(broken)


class Runs:
    """Pickled, it is a call of whatever one likes."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


class Plain:
    """An object of somebody's."""

    def __init__(self) -> None:
        self.x = 1


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_a_pickle_would_run_does_not_run(protocol: int, tmp_path: Path) -> None:
    """S1: no call is made, no module is imported, no object is made; the canary stays where it is."""
    canary = tmp_path / "canary"
    for hostile in (
        Runs(os.mkdir, (str(canary),)),
        Runs(builtins.eval, (f"__import__('os').mkdir({str(canary)!r})",)),
        Runs(getattr, ("x", "upper")),
        [1, {"a": Plain()}],
        {1, 2},
        Path("x"),
        1j,
    ):
        with pytest.raises(plain.NotPlain, match=r"names|more than plain"):
            plain.read(pickle.dumps(hostile, protocol))
    assert not canary.exists()


def test_a_name_that_is_used_as_a_value_is_no_value() -> None:
    """Also one that may be named."""
    records = {("some", "Record"): lambda *parts: parts}
    call = b"\x80\x02csome\nRecord\nK\x01\x85R."
    assert plain.read(call, records) == (1,)
    with pytest.raises(plain.NotPlain, match=r"names other\.Record"):
        plain.read(call.replace(b"some", b"other"), records)
    with pytest.raises(plain.NotPlain):
        plain.read(b"\x80\x02csome\nRecord\nK\x01R.", records)


def test_a_few_lines_do_not_become_more_values_than_there_is_memory() -> None:
    """S7: what is used twice is refused; so is what holds itself."""
    level: Any = ["x"]
    for _ in range(60):
        level = [level, level]
    circle: list[Any] = []
    circle.append(circle)
    for shared in (level, circle, [(pair := ("a", "b")), pair]):
        with pytest.raises(plain.NotPlain, match="two places"):
            plain.read(pickle.dumps(shared))
    assert plain.read(pickle.dumps(["x", word := "word", word])) == ["x", "word", "word"]
