"""Job ids: ordered by time, one text form, the same for the same key."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaff.model import ids
from quaff.model.ids import JobId
from tests.helpers import Program, python

NAMES = st.from_regex(ids.NAME, fullmatch=True)
quick = settings(max_examples=100, deadline=None)


@quick
@given(NAMES, st.integers(0, 9999), st.binary(min_size=16, max_size=16))
def test_an_id_comes_back_from_its_text(queue: str, partition: int, raw: bytes) -> None:
    """Any queue name, also one that ends like an id, and any partition."""
    id = JobId(queue, partition, raw)
    assert ids.parse(str(id)) == id


@quick
@given(NAMES, st.binary(min_size=16, max_size=16))
def test_a_queue_named_like_an_id_is_no_trap(queue: str, raw: bytes) -> None:
    """The last three parts of the text are the id; everything before is the queue."""
    id = JobId(f"{queue[:80]}-1-{'0' * 32}", 2, raw)
    assert ids.parse(str(id)) == id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "default",
        "default-0-",
        f"default-0-{'0' * 31}",
        f"default-0-{'0' * 33}",
        f"default-0-{'G' * 32}",
        f"default-0-{'A' * 32}",
        f"default--{'0' * 32}",
        f"de fault-0-{'0' * 32}",
        f"default-0-{'0' * 32}\n",
        f"{'q' * 129}-0-{'0' * 32}",
        f"default-00000-{'0' * 32}",
        f"{{x}}-0-{'0' * 32}",
        f"default-٠-{'0' * 32}",
    ],
)
def test_what_is_no_id_is_told_apart(text: str) -> None:
    """Nothing raises, and no text is taken for an id that ``str`` would not write (S11)."""
    assert ids.parse(text) is None


@quick
@given(st.text())
def test_no_text_makes_the_parser_raise(text: str) -> None:
    """Ids come from URLs and strangers."""
    parsed = ids.parse(text)
    assert parsed is None or str(parsed).rpartition("-")[2] == text.rpartition("-")[2]


def test_new_ids_sort_by_time_and_never_repeat() -> None:
    """48 bits of milliseconds, then 74 random bits: version 7 of RFC 9562."""
    before = time.time_ns() // 1_000_000
    made = [ids.new_raw() for _ in range(2000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == len(made)
    assert [ids.created_ms(raw) for raw in made] == sorted(ids.created_ms(raw) for raw in made)
    for raw in made:
        assert before <= ids.created_ms(raw) <= after
        assert (len(raw), raw[6] >> 4, raw[8] >> 6) == (16, 7, 2)


@quick
@given(NAMES, NAMES, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_gives_the_same_id_to_everybody(queue: str, task: str, key: str) -> None:
    """Queue, task and key are its scope; it does not know when it was created."""
    raw = ids.keyed_raw(queue, task, key)
    assert raw == ids.keyed_raw(queue, task, key)
    assert (len(raw), raw[6] >> 4, raw[8] >> 6, ids.created_ms(raw)) == (16, 8, 2, 0)
    others = [(queue + "x", task, key), (queue, task + "x", key), (queue, task, key + "x")]
    assert raw not in [ids.keyed_raw(*other) for other in others]


def test_a_key_cannot_be_moved_into_the_names() -> None:
    """A slash in the key does not make it another task's key, because names hold none."""
    assert ids.keyed_raw("q", "t", "a/b") == ids.keyed_raw("q", "t", "a/b") != ids.keyed_raw("q", "t", "b")
    assert not ids.NAME.fullmatch("t/a")


def test_another_process_gives_a_key_the_same_id(tmp_path: Path, running: Callable[[Program], Program]) -> None:
    """Whatever its hash seed is."""
    code = "from quaff.model import ids; print(ids.keyed_raw('mail', 'shop.send', 'order 7').hex())"
    for seed in ("1", "2"):
        program = running(python("-c", code, cwd=tmp_path, env={"PYTHONHASHSEED": seed}))
        assert program.wait() == 0, program.output
        assert program.stdout == [ids.keyed_raw("mail", "shop.send", "order 7").hex()]


@pytest.mark.parametrize("raw", [b"", b"short", bytes(16), bytes(17), b"\xff" * 16], ids=repr)
def test_a_strange_id_has_no_time(raw: bytes) -> None:
    """0 stands for "it does not know"."""
    assert ids.created_ms(raw) == 0
