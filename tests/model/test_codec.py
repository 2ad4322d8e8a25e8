"""Values through MessagePack and back: what went in comes out, of the same type, or is refused before it is sent."""

from __future__ import annotations

import datetime as dt
import enum
import math
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quaff.errors import EncodeError
from quaff.model import codec

quick = settings(max_examples=150, deadline=None)

ZONES = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

#: Everything that can be a key of a dict or a member of a set. Floats that equal an integer would make `==` too kind.
HASHABLE_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=20)
    | st.datetimes()
    | st.datetimes(timezones=ZONES)
    | st.dates()
    | st.times()
    | st.times(timezones=ZONES)
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    HASHABLE_LEAVES | st.binary(max_size=20).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types all the way down: 1 is not True, (1,) is not [1]."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(map(kinds, one)) == list(map(kinds, other)) and all(map(same, one.values(), other.values()))
    if isinstance(one, (set, frozenset)):
        return one == other and sorted(map(kinds, one)) == sorted(map(kinds, other))
    return repr(one) == repr(other)


def kinds(value: Any) -> str:
    """A hashable value with the types of all its parts, as text."""
    if isinstance(value, frozenset):
        return f"frozenset{sorted(map(kinds, value))}"
    return f"tuple{[*map(kinds, value)]}" if isinstance(value, tuple) else f"{type(value).__name__} {value!r}"


def back(value: Any) -> Any:
    """``value`` after a trip over the wire."""
    return codec.unpack(codec.encode(value))


@quick
@given(VALUES)
@example({(1, ("a", None)): {UUID(int=1): [{dt.date(2024, 2, 29): 2**64}]}})
@example([0, "", b"", None, False, (), [], {}, set(), frozenset(), 0.0, -0.0, Decimal("-0"), dt.timedelta(0)])
@example([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
@example(Decimal("1.500"))
def test_every_value_comes_back_as_what_it_was(value: Any) -> None:
    """Equal, of the same type in every part, and dicts in the same order."""
    assert same(back(value), value)


def test_a_time_in_a_zone_comes_back_with_its_offset() -> None:
    """The zone's rules stay behind: the instant and the offset travel, on both sides of an hour that comes twice."""
    for fold, hours in ((0, 2), (1, 1)):
        value = dt.datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Vienna"))
        assert back(value).utcoffset() == dt.timedelta(hours=hours)
        assert back(value).timestamp() == value.timestamp()


def test_values_that_do_not_equal_themselves_come_back() -> None:
    """NaN of every kind, and the infinities."""
    assert math.isnan(back(float("nan")))
    assert math.isnan(back([float("nan")])[0])
    assert [back(x) for x in (math.inf, -math.inf)] == [math.inf, -math.inf]
    assert [str(back(Decimal(x))) for x in ("NaN", "sNaN", "-Infinity")] == ["NaN", "sNaN", "-Infinity"]
    assert math.isnan(back(complex("nan+1j")).real)


def test_subclasses_of_plain_types_come_back_as_the_plain_type() -> None:
    """Subclasses of text, numbers, bytes and containers are plain data: none keeps its class."""
    subclass = {base: type("Sub", (base,), {}) for base in (str, int, float, bytes, list, dict, tuple, set, UUID)}
    for base, kind in subclass.items():
        value = kind("5") if base in (str, int, float) else kind(int=5) if base is UUID else kind()
        assert type(back(value)) is base
        assert type(back([value])[0]) is base
    assert type(back(OrderedDict(a=1))) is dict
    assert back(defaultdict(int, a=1)) == {"a": 1}
    assert back(MappingProxyType({"a": (1,)})) == {"a": (1,)}


class Colour(enum.Enum):
    RED = "r"


@dataclass
class Point:
    x: int
    seen: dict[UUID, tuple[int, ...]]


class Record(msgspec.Struct):
    when: dt.datetime
    tags: frozenset[str]


class Pair(NamedTuple):
    left: int
    right: Any


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Point(1, {UUID(int=1): (1, 2)}),
        Record(dt.datetime(2024, 1, 1), frozenset({"a"})),  # noqa: DTZ001  naive on purpose
        Pair(1, b"x"),
    ],
)
def test_an_instance_travels_as_plain_data_and_is_rebuilt_by_its_hint(value: Any) -> None:
    """Enum, dataclass, Struct and named tuple: no message ever names a class (S2)."""
    plain = back(value)
    assert type(plain) is not type(value)
    assert codec.convert(plain, type(value)) == value


@pytest.mark.parametrize(
    "value", [object(), deque([1]), range(3), memoryview(b"x"), iter([]), test_every_value_comes_back_as_what_it_was]
)
def test_any_other_object_is_refused_by_name(value: object) -> None:
    """The error is a TypeError and says which kind it met, however deep."""
    for nested in (value, [value], {"a": (value,)}):
        with pytest.raises(EncodeError, match=type(value).__name__) as caught:
            codec.encode(nested)
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"], ids=["alone", "within"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    """A text that UTF-8 cannot hold is an EncodeError wherever it stands."""
    for value in (text, [text], {text: 1}, {(text,): 1}, {text}, (1, text)):
        with pytest.raises(EncodeError, match="surrogates"):
            codec.encode(value)


def nested(kind: type, depth: int) -> Any:
    """A container in a container in a container."""
    value: Any = kind()
    for _ in range(depth):
        value = {"a": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_what_may_be_sent_can_be_read_however_deep_it_is(kind: type) -> None:
    """The limit is the same for sender and reader, whatever their stacks look like (S8)."""
    deepest = nested(kind, codec.MAX_DEPTH)
    assert back(deepest) == deepest
    with pytest.raises(EncodeError, match="too deeply"):
        codec.encode(nested(kind, codec.MAX_DEPTH + 1))


def test_what_contains_itself_is_refused() -> None:
    """Lists, dicts and instances alike, and so is a list of a hundred thousand levels."""
    items: list[Any] = []
    items.append(items)
    table: dict[str, Any] = {}
    table["a"] = [table]
    pair = Pair(1, [])
    pair.right.append(pair)
    for value in (items, table, pair, nested(list, 100_000)):
        with pytest.raises(EncodeError, match="contains itself"):
            codec.encode(value)


@quick
@given(st.binary(max_size=60), st.integers(0, 255))
@example(b"\xff" * 8, 1)
def test_hostile_tagged_values_raise_nothing_unexpected(data: bytes, code: int) -> None:
    """Whatever stands in an extension, it becomes a value or one of the errors that the readers catch (F56)."""
    wire = msgspec.msgpack.encode(msgspec.msgpack.Ext(code - 128, data))
    try:
        codec.unpack(wire)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError, ArithmeticError):
        pass


@quick
@given(st.dictionaries(HASHABLE, VALUES, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_digest_form_of_equal_dicts_is_equal(value: dict[Any, Any], random: Any) -> None:
    """The order of a dict's items does not count; any other difference does."""
    items = list(value.items())
    random.shuffle(items)
    assert codec.canonical([dict(items)]) == codec.canonical([value])
    assert codec.canonical(dict(items[1:])) != codec.canonical(value)


def test_the_digest_form_tells_types_and_places_apart() -> None:
    """Values that look alike are not the same arguments."""
    values: list[Any] = [1, "1", b"1", 1.0, True, [1], (1,), {1}, frozenset({1}), {1: None}, [[1]], [1, None], None, []]
    assert len({codec.canonical(value) for value in values}) == len(values)


def test_the_digest_form_of_a_set_is_the_same_in_every_process() -> None:
    """Each process orders a set of texts in its own way."""
    code = (
        "from quaff.model import codec; import sys;"
        "sys.stdout.write(codec.canonical({'s': {*'abcdefgh'}, 'f': (frozenset(['x', 'yy', 'zzz']),)}).hex())"
    )
    source = str(Path(codec.__file__).parents[2])
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": source},
        ).stdout
        for seed in "123"
    }
    assert len(seen) == 1
