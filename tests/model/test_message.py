"""A job's bytes: what a worker reads from a server that anybody may have written to."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quaff.model import codec, message
from quaff.model.message import CorruptMessage, Message, NewerMessage
from tests.helpers import SRC

#: One value of every kind that has a form of its own on the wire.
EVERYTHING: list[Any] = [
    *(1, -1, 2**80, -(2**80), 1.5, True, None, "é", b"\x00", bytearray(b"x"), (1, (2,)), {3}, frozenset({"a"})),
    *(dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC), dt.date(1, 1, 1), dt.time(23, 59, fold=1)),
    *(dt.timedelta(-1, 2, 3), UUID(int=7), 1 + 2j, {(1, 2): [{"k": ()}]}, {"a": {"b": []}}),
]

quick = settings(max_examples=300, deadline=None)


def plain(args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """A message as ``delay`` makes it."""
    return message.encode("shop.send", codec.wire(args), codec.wire(kwargs))


def keyed(args: list[Any], kwargs: dict[str, Any], created_ms: int = 1) -> bytes:
    """A message as ``options(key=...).delay`` makes it."""
    return message.encode_keyed("shop.send", codec.wire(args), codec.wire(kwargs), created_ms)


def read(data: bytes) -> Message | None:
    """The message, or None for one of the two errors that a worker knows; anything else comes through."""
    try:
        return message.decode(data)
    except (CorruptMessage, NewerMessage):
        return None


def test_a_message_comes_back() -> None:
    """Task, arguments of every kind and, for a keyed one, the time."""
    for data, created in ((plain(EVERYTHING, {"k": (1,)}), 0), (keyed(EVERYTHING, {"k": (1,)}, 99), 99)):
        assert message.decode(data) == Message("shop.send", EVERYTHING, {"k": (1,)}, created)


@pytest.mark.parametrize("data", [plain(EVERYTHING, {"k": 1}), keyed(EVERYTHING, {"k": 1})], ids=["plain", "keyed"])
def test_a_truncated_message_is_corrupt_at_every_length(data: bytes) -> None:
    """Cut anywhere, it is CorruptMessage; a keyed one cut inside its digest too (F56)."""
    for length in range(len(data)):
        with pytest.raises(CorruptMessage):
            message.decode(data[:length])


@pytest.mark.parametrize("data", [plain(EVERYTHING, {"k": 1}), keyed(EVERYTHING, {"k": 1})], ids=["plain", "keyed"])
def test_no_flipped_byte_raises_anything_unexpected(data: bytes) -> None:
    """Every byte to every one of a dozen others: a message or one of the two errors, never another exception (F56)."""
    for place in range(len(data)):
        for flip in (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF, data[place], data[place] ^ 0xC1, 0x55):
            read(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])


@quick
@given(st.binary(max_size=100))
@example(b"")
@example(b"\x02" + bytes(16))
@example(b"\x01\x94\xa1t\xdd\xff\xff\xff\xff")  # an array of four thousand million
@example(b"\x01\x94\xa1t\x90\xdf\xff\xff\xff\xff")
@example(b"\x01\x94\xa1t\xc6\xff\xff\xff\xff")
@example(b"\x01\x94\xa1t\x91\xc9\xff\xff\xff\xff\x01")
@example(b"\x01\x94\xa1t" + b"\x91" * 100_000)
@example(b"\x01\x94\xa1t\x91\xc7\x04\x03\x91\x92\x01\x02\x80\x00")  # a set of lists
@example(b"\x01\x94\xa1t\x91\xc7\x02\x0d\x91\x01\x80\x00")  # a dict of no pairs
@example(b"\x01\x94\xa1t\x91\xc7\x03\x0asnan\x80\x00")
@example(b"\x01\x94\xa1t\x91\xd4\x7f\x00\x80\x00")  # a tag that nobody wrote
def test_no_bytes_raise_anything_unexpected(data: bytes) -> None:
    """With or without a beginning that looks like ours (F56)."""
    for start in (b"", b"\x01", b"\x02" + bytes(16), b"\x01\x94\xa1t\x91"):
        read(start + data)


def test_tagged_values_within_tagged_values_cannot_overflow_the_stack() -> None:
    """A bomb of tuples in tuples, ten thousand deep, ends as CorruptMessage in a process that lives on (S8)."""
    code = (
        "from quaff.model import message\nfrom msgspec.msgpack import Ext, encode\nimport threading\n"
        "data = b'\\x90'\n"
        "for _ in range(10000): data = b'\\x91' + encode(Ext(1, data))\n"
        "def look():\n"
        "    try: message.decode(b'\\x01\\x94\\xa1t\\x91' + data[1:] + b'\\x80\\x00')\n"
        "    except message.CorruptMessage: print('corrupt')\n"
        "look()\n"
        "thread = threading.Thread(target=look); thread.start(); thread.join()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SRC)}, timeout=50
    )
    assert (done.returncode, done.stdout) == (0, "corrupt\n" * 2), done.stderr


def test_a_later_version_is_told_from_garbage() -> None:
    """A worker that knows the format may come, so these wait; anything else will never be ours (F57)."""
    for first in range(256):
        data = bytes([first]) + plain([], {})[1:]
        if first in (1, 2, 3, 4, 5, 6, 7):
            continue
        with pytest.raises(NewerMessage if first <= 9 else CorruptMessage):
            message.decode(data)


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    """An optional field at the end does not stop an old worker (F57)."""
    data = b"\x01" + codec.pack(("shop.send", [1], {}, 5, {"new": "x"}, "newer", {"more": 1}))
    assert message.decode(data) == Message("shop.send", [1], {}, 5, {"new": "x"})


def test_a_term_that_must_be_understood_leaves_the_job_to_a_worker_that_does() -> None:
    """The must-understand flag (F57): an old worker must not run what it would run wrongly."""
    known = message.encode("shop.send", [], {}, {message.EXPIRES: 5, message.TIMEOUT: 7, "note": 1})
    assert message.decode(known).terms == {message.EXPIRES: 5, message.TIMEOUT: 7, "note": 1}
    for make in (message.encode("t", [], {}, {"!new": 1}), message.encode_keyed("t", [], {}, 5, {"!new": 1})):
        with pytest.raises(NewerMessage, match="!new"):
            message.decode(make)


def test_a_carried_message_is_passed_over() -> None:
    """Task, digest and errors are those of the job's own."""
    other = message.encode("shop.after", ["id"], {})
    for own in (plain([1], {}), keyed([1], {})):
        data = message.carrying(other, own)
        assert message.decode(data) == message.decode(own)
        assert message.digest(data) == message.digest(own)
    for broken in (b"\x03", b"\x03\x00\x00\x00\x09abc", message.carrying(other, b"?")):
        with pytest.raises(CorruptMessage):
            message.decode(broken)


@pytest.mark.parametrize(
    "body",
    [
        {"task": "t"},
        ["t"],
        ["t", [], []],
        ["t", {}, {}],
        [1, [], {}],
        ["t", [], {1: 2}],
        ["t", [], {}, "soon"],
        ["t", [], {}, 2**70],
        None,
        "t",
    ],
    ids=repr,
)
def test_a_body_of_another_shape_is_corrupt(body: Any) -> None:
    """Well-formed MessagePack that is no call."""
    with pytest.raises(CorruptMessage):
        message.decode(b"\x01" + codec.pack(codec.wire(body)))


def test_the_same_call_has_the_same_digest() -> None:
    """Whenever it was made, and in whatever order its dicts and sets come."""
    one = keyed([{"a": 1, "b": [{(1,): 2, (3,): 4}]}], {"x": 1, "y": 2}, created_ms=1)
    two = keyed([{"b": [{(3,): 4, (1,): 2}], "a": 1}], {"y": 2, "x": 1}, created_ms=2)
    assert message.digest(one) == message.digest(two)
    assert len(message.digest(one)) == 16


def test_other_calls_have_other_digests() -> None:
    """Other arguments, other types, or the same value in another place."""
    calls: list[tuple[list[Any], dict[str, Any]]] = [
        ([1], {}),
        ([1.0], {}),
        ([True], {}),
        (["1"], {}),
        ([[1]], {}),
        ([(1,)], {}),
        ([], {"a": 1}),
        ([1, 1], {}),
    ]
    assert len({message.digest(keyed(args, kwargs)) for args, kwargs in calls}) == len(calls)
    assert message.digest(message.encode_keyed("other", [1], {}, 1)) != message.digest(keyed([1], {}))


def test_a_plain_message_has_no_digest() -> None:
    """Nor have bytes that are not ours."""
    assert message.digest(plain([1], {})) == message.digest(b"") == message.digest(b"\x08" * 40) == b""


def test_a_set_of_texts_has_the_same_digest_in_every_process() -> None:
    """Each process orders it in its own way; the key= of one must not be the conflict of another."""
    code = (
        "from quaff.model import codec, message; import sys;"
        "args = codec.wire([{*'abcdefgh'}, {'x': frozenset(['y', 'zz'])}]);"
        "sys.stdout.write(message.digest(message.encode_keyed('t', args, {}, 0)).hex())"
    )
    command = [sys.executable, "-c", code]
    seen = {
        subprocess.check_output(command, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(SRC)})
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1
