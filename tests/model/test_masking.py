"""Arguments in one line, without what is secret."""

from __future__ import annotations

from quaff.model.codec import Ref
from quaff.model.masking import shown


def test_what_is_secret_by_its_name_is_not_shown() -> None:
    """As an argument, as a key at any depth, and what the task says is sensitive."""
    line = shown(
        {"user": 7, "password": "hush", "card": "4111", "header": {"Cookie": "c=1", "n": [{"api_key": "k"}]}}, ["card"]
    )
    assert line == "user=7, password=***, card=***, header={'Cookie': ***, 'n': [{'api_key': ***}]}"


def test_however_large_it_is_one_short_line() -> None:
    """Long texts, wide and deep values, line ends and control characters."""
    deep: object = 1
    for _ in range(50):
        deep = [deep]
    line = shown({"a": "x\n\x1b[31m" * 1000, "b": list(range(10_000)), "c": deep}, ())
    assert len(line) <= 200
    assert line.isprintable()
    assert shown({"b": list(range(30))}, ()).endswith("18, 19, …]")
    assert "[…]" in shown({"c": deep}, ())


def test_what_has_no_text_is_shown_as_what_it_is() -> None:
    """The result of another job, which is not known yet, and numbers that Python does not write."""
    line = shown({"values": [Ref(0), 10**5000], "table": {10**5000: Ref(1)}}, ())
    assert line == "values=[<result of another job>, <int>], table={<int>: <result of another job>}"
