"""Arguments bound, encoded and taken apart again: the function gets what the caller gave, or the caller is told."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaff.errors import EncodeError
from quaff.model import message
from quaff.model.signature import Signature

if TYPE_CHECKING:
    from some_package import OnlyForCheckers  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

quick = settings(max_examples=100, deadline=None)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@dataclass(frozen=True)
class Point:
    x: int
    y: Decimal


class Pair(NamedTuple):
    left: UUID
    right: dt.date


class Order(msgspec.Struct):
    id: UUID
    lines: list[Point]
    state: Colour
    due: dt.datetime | None = None
    tags: set[str] = msgspec.field(default_factory=set)


@dataclass
class Tree:
    name: bytes
    children: list[Tree] = field(default_factory=list)
    pairs: dict[tuple[int, str], Pair] = field(default_factory=dict)


class Options(TypedDict, total=False):
    size: int


class Drawable(Protocol):
    def draw(self) -> None: ...


POINTS = st.builds(Point, st.integers(), st.decimals(allow_nan=False))
PAIRS = st.builds(Pair, st.uuids(), st.dates())
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ORDERS = st.builds(
    Order,
    st.uuids(),
    st.lists(POINTS, max_size=3),
    st.sampled_from(Colour),
    st.none() | st.datetimes(timezones=st.just(dt.UTC)),
    st.sets(TEXT, max_size=3),
)
TREES = st.recursive(
    st.builds(
        Tree, st.binary(max_size=5), pairs=st.dictionaries(st.tuples(st.integers(0, 9), TEXT), PAIRS, max_size=2)
    ),
    lambda inner: st.builds(Tree, st.binary(max_size=5), st.lists(inner, max_size=3)),
    max_leaves=6,
)


def arrives(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """What the function is called with on the other side of the wire."""
    signature = Signature("shop.send", fn)
    sent = signature.bind(args, kwargs)
    heard = message.decode(message.encode("shop.send", sent.args, sent.kwargs))
    return signature.unbind(heard.args, heard.kwargs)


def through(hint: Any, value: Any) -> Any:
    """One value through a parameter with that hint."""

    def fn(x: Any) -> None: ...

    fn.__annotations__["x"] = hint
    return arrives(fn, value)[0][0]


def returned(hint: Any, value: Any) -> Any:
    """One value through a result with that hint."""

    def fn() -> Any: ...

    fn.__annotations__["return"] = hint
    signature = Signature("shop.send", fn)
    return signature.decode_result(signature.encode_result(value))


class TestHints:
    """What type hints bring back."""

    @quick
    @given(ORDERS, TREES, st.sampled_from(Mode), st.lists(PAIRS, max_size=3).map(tuple))
    def test_instances_come_back_as_what_they_were(self, order: Order, tree: Tree, mode: Mode, pairs: Any) -> None:
        """Struct, dataclass, Enum, Flag and named tuple, nested in each other and in containers."""
        values = [order, tree, mode, pairs, {"a": [order]}, frozenset([Level.HIGH]), None, {Colour.RED: tree}]
        hints = [
            *(Order, Tree, Mode, tuple[Pair, ...], dict[str, list[Order]]),
            *(frozenset[Level], Order | None, Mapping[Colour, Tree]),
        ]
        for hint, value in zip(hints, values, strict=True):
            for back in (through(hint, value), returned(hint, value)):
                assert back == value
                assert type(back) is type(value)

    @pytest.mark.parametrize(
        ("hint", "value", "told"),
        [
            (int, "2", "Expected `int`, got `str`"),
            (int, 2.5, "Expected `int`, got `float`"),
            (str, b"x", "Expected `str`, got `bytes`"),
            (bool, 1, "Expected `bool`, got `int`"),
            (UUID, "no", "Expected `uuid`, got `str`"),
            (list[int], [1, "x"], r"\$\[1\]"),
            (Order, {"id": 1}, r"\$\.id"),
            (Literal["a"], "b", "'b'"),
            (Options, {"size": "big"}, r"\$\.size"),
            (type(None), 0, "Expected `null`"),
            (Colour, "green", "'green'"),
            (float, 10**400, "out of range"),
        ],
    )
    def test_a_value_that_does_not_fit_its_hint_is_refused_by_name(self, hint: Any, value: Any, told: str) -> None:
        """The error is a TypeError and names task, argument and what is wrong with it."""
        with pytest.raises(EncodeError, match=rf"shop\.send\.delay\(\): argument 'x' is an? .*{told}") as caught:
            through(hint, value)
        assert isinstance(caught.value, TypeError)

    def test_a_subclass_is_taken_where_its_base_is_asked_for(self) -> None:
        """As a type checker sees it: True is an int, a datetime is a date; and they stay what they are."""
        moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        assert through(int, True) is True
        assert through(dt.date, moment) == moment
        assert through(float, 1) == 1
        assert through(str, type("Sub", (str,), {})("x")) == "x"

    @pytest.mark.parametrize(
        "hint", [Any, object, int, str, list, dict[str, Any], list[Any], Mixed, Drawable, Point | Order, None], ids=repr
    )
    def test_an_instance_that_its_hint_cannot_bring_back_is_refused(self, hint: Any) -> None:
        """Nothing becomes plain data in silence, at the top or deep inside, as argument or as result."""
        for value in (Point(1, Decimal(2)), Level.LOW, Mixed.ONE, [Point(1, Decimal(2))], {"a": [(Colour.RED,)]}):
            with pytest.raises(EncodeError, match="argument 'x'"):
                through(hint, value)
        with pytest.raises(EncodeError, match=r"shop\.send returned a list; a Point comes back only"):
            returned(list, [Point(1, Decimal(2))])
        with pytest.raises(EncodeError, match=r"shop\.send returned a Colour"):
            returned(Any, Colour.RED)

    def test_hints_that_nobody_can_build_count_as_none(self) -> None:
        """A Protocol, a Callable or an arbitrary class as a hint lets plain data pass as it is."""
        for hint in (Drawable, Callable[[], int], Signature, list[Signature], Mixed):
            assert through(hint, [1, (2,)]) == [1, (2,)]

    def test_a_hint_that_only_a_checker_can_see_spoils_no_other(self) -> None:
        """An import under TYPE_CHECKING leaves the other parameters their hints."""

        def fn(order: Order, other: OnlyForCheckers, colour: Colour) -> OnlyForCheckers: ...

        order = Order(UUID(int=1), [], Colour.BLUE)
        assert arrives(fn, order, [1], Colour.RED) == ([order, [1], Colour.RED], {})

    def test_a_result_that_does_not_fit_its_hint_stays_plain(self) -> None:
        """The job succeeded: what it gave is not thrown away because the hint is wrong."""
        assert returned(int, "text") == "text"
        assert returned(Order, {"id": 1}) == {"id": 1}
        assert returned(Sequence[int], [1]) == [1]
        assert returned(None, None) is None


class TestBinding:
    """How a call becomes arguments."""

    @pytest.mark.parametrize(
        ("args", "kwargs", "told"),
        [
            ((), {}, "missing a required argument: 'a'"),
            ((1, 2, 3), {}, "too many positional arguments"),
            ((1,), {"c": 1}, "unexpected keyword argument 'c'"),
            ((1,), {"a": 1}, "multiple values for argument 'a'"),
        ],
    )
    def test_a_wrong_call_is_a_type_error_that_names_the_task(self, args: Any, kwargs: Any, told: str) -> None:
        """Before anything is sent, in Python's own words."""

        def fn(a: int, b: int = 0) -> None: ...

        with pytest.raises(TypeError, match=rf"shop\.send\.delay\(\): .*{told} for \(a, b=0\)$"):
            arrives(fn, *args, **kwargs)

    def test_every_kind_of_parameter_is_bound(self) -> None:
        """Positional-only, plain, *args, keyword-only and **kwargs, each with its hint."""

        def fn(a: Colour, /, b: int = 2, *rest: Point, c: Pair | None = None, **more: Colour) -> None: ...

        point, pair = Point(1, Decimal(1)), Pair(UUID(int=1), dt.date(2024, 1, 1))
        assert arrives(fn, Colour.RED) == ([Colour.RED], {})
        assert arrives(fn, Colour.RED, b=5) == ([Colour.RED, 5], {})
        assert arrives(fn, Colour.RED, c=pair) == ([Colour.RED], {"c": pair})
        assert arrives(fn, Colour.RED, 3, point, point, c=pair, z=Colour.BLUE) == (
            [Colour.RED, 3, point, point],
            {"c": pair, "z": Colour.BLUE},
        )
        assert arrives(fn, Colour.RED, a=Colour.BLUE, rest=Colour.BLUE, more=Colour.RED) == (
            [Colour.RED],
            {"a": Colour.BLUE, "rest": Colour.BLUE, "more": Colour.RED},
        )

    @pytest.mark.parametrize(
        ("call", "name"),
        [
            (lambda f: arrives(f, object()), "'a'"),
            (lambda f: arrives(f, 1, 2, object()), r"'rest\[1\]'"),
            (lambda f: arrives(f, 1, b=object()), "'b'"),
            (lambda f: arrives(f, 1, z=object()), "'z'"),
        ],
        ids=["positional", "star", "keyword only", "keywords"],
    )
    def test_the_error_names_the_argument(self, call: Callable[..., Any], name: str) -> None:
        """By its name, or by its place among *args."""

        def fn(a: Any, *rest: Any, b: Any = None, **more: Any) -> None: ...

        with pytest.raises(EncodeError, match=f"argument {name} is an object, which cannot be sent"):
            call(fn)

    def test_lone_surrogates_are_refused_by_name(self) -> None:
        """In a text, deep inside, in a key, and in the name of a keyword."""

        def fn(a: str = "", b: Any = None, **more: Any) -> None: ...

        for args, kwargs, name in (
            (("\ud800",), {}, "a"),
            (("é", "\ud800"), {}, "b"),
            (("", {"\ud800": 1}), {}, "b"),
            (("", [("\ud800",)]), {}, "b"),
            ((), {"z": "\ud800"}, "z"),
            ((), {"\ud800": 1}, r"\\ud800"),
        ):
            with pytest.raises(EncodeError, match=f"argument '{name}'.*surrogates"):
                arrives(fn, *args, **kwargs)

    def test_what_contains_itself_is_refused_by_name(self) -> None:
        """With a hint and without one."""
        loop: list[Any] = []
        loop.append(loop)
        tree = Tree(b"")
        tree.children.append(tree)
        for hint, value in ((Any, loop), (list, loop), (list[Any], loop), (Tree, tree)):
            with pytest.raises(EncodeError, match=r"argument 'x' is an? .* contains itself"):
                through(hint, value)

    def test_defaults_are_those_of_the_worker(self) -> None:
        """A default is not sent: the code that runs the job has its own."""

        def old(a: int, b: int = 1) -> None: ...

        def new(a: int, b: int = 2) -> None: ...

        sent = Signature("t", old).bind((1,), {})
        args, kwargs = Signature("t", new).unbind(sent.args, sent.kwargs)
        assert (args, kwargs) == ([1], {})

    def test_a_message_of_other_code_is_told_from_a_bug_in_the_task(self) -> None:
        """Too many arguments, or of another kind: a TypeError that says the message does not fit (F57)."""

        def fn(a: int, b: Colour = Colour.RED) -> None: ...

        for args, kwargs in (([], {}), ([1, "red", 3], {}), ([1], {"z": 1}), (["x"], {}), ([1, "green"], {})):
            with pytest.raises(TypeError, match=r"the message does not fit shop\.send\(a: .*\)"):
                Signature("shop.send", fn).unbind(args, kwargs)

    @quick
    @given(st.integers(), TEXT, st.lists(st.integers() | TEXT, max_size=3), st.dictionaries(TEXT, st.integers()))
    def test_what_python_would_call_is_what_arrives(self, a: int, b: str, rest: Any, more: Any) -> None:
        """The function sees the same arguments as in a plain call."""

        def fn(a: int, /, b: str, *rest: int | str, **more: int) -> tuple[Any, ...]:
            return a, b, rest, more

        more.pop("b", None)
        args, kwargs = arrives(fn, a, b, *rest, **more)
        assert fn(*args, **kwargs) == fn(a, b, *rest, **more)
