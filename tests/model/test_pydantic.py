"""Models of pydantic as arguments and results: they come back as what they are, or the caller is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, HttpUrl, RootModel, SecretStr, computed_field

from quaff.errors import EncodeError
from quaff.model import message
from quaff.model.signature import Signature

T = TypeVar("T")


class Kind(Enum):
    BOOK = "book"


class Line(BaseModel):
    article: UUID
    price: Decimal
    kind: Kind = Kind.BOOK


class Order(BaseModel):
    number: int = Field(alias="orderNumber")
    lines: list[Line]
    at: dt.datetime
    note: bytes = b"\xff\x00"
    tags: set[str] = set()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> Decimal:
        return sum((line.price for line in self.lines), Decimal())


class Names(RootModel[list[str]]):
    pass


class Box(BaseModel, Generic[T]):
    inside: T


class Link(BaseModel):
    url: HttpUrl
    path: Path


class Login(BaseModel):
    password: SecretStr


class Ours(BaseModel):
    x: int


@dataclass
class Shelf:
    top: Ours
    rest: dict[str, Ours]


LINE = Line(article=uuid4(), price=Decimal("9.90"))
ORDER = Order(orderNumber=7, lines=[LINE, LINE], at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC), tags={"new"})


def one(order: Order) -> Order:
    return order


def several(orders: list[Order]) -> dict[str, Line]:
    return {"first": orders[0].lines[0]}


def maybe(order: Order | None = None) -> None: ...


def names(given: Names) -> None: ...


def box(given: Box[int]) -> None: ...


def link(given: Link) -> None: ...


def shelf(given: Shelf) -> None: ...


def anything(given: Any) -> None: ...


def login(given: Login) -> None: ...


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (one, ORDER),
        (several, [ORDER]),
        (maybe, ORDER),
        (maybe, None),
        (names, Names(["a", "b"])),
        (box, Box[int](inside=1)),
        (link, Link(url=HttpUrl("https://example.com/a?b=c"), path=Path("/tmp"))),
        (shelf, Shelf(Ours(x=1), {"a": Ours(x=2)})),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_model_comes_to_the_task_as_what_was_sent(fn: Callable[..., Any], value: Any) -> None:
    """By the names of its fields: an alias is for others. What only pydantic knows travels as in JSON."""
    signature = Signature("task", fn)
    sent = message.decode(message.encode("task", *signature.bind((value,), {})))
    [back], _ = signature.unbind(sent.args, sent.kwargs)
    assert back == value
    assert type(back) is type(value)


def test_a_result_comes_back_as_the_model_of_the_return_hint() -> None:
    signature = Signature("task", one)
    assert signature.decode_result(signature.encode_result(ORDER)) == ORDER
    signature = Signature("task", several)
    assert signature.decode_result(signature.encode_result({"first": LINE})) == {"first": LINE}


def test_a_model_without_a_hint_is_refused() -> None:
    with pytest.raises(EncodeError, match="an Ours, which comes back only where the type hint says so"):
        Signature("task", anything).bind((Ours(x=1),), {})


def test_a_model_that_would_come_back_as_something_else_is_refused() -> None:
    with pytest.raises(EncodeError, match="Login has a field that does not come back"):
        Signature("task", login).bind((Login(password=SecretStr("x")),), {})


def test_a_model_that_does_not_hold_what_it_says_is_refused() -> None:
    with pytest.raises(EncodeError, match="Ours holds a value of another type"):
        Signature("task", shelf).bind((Shelf(Ours.model_construct(x="one"), {}),), {})


def test_a_message_that_does_not_fit_says_which_field_and_not_what_was_in_it() -> None:
    """Another version of the code may have sent it."""
    with pytest.raises(TypeError, match="lines: Field required") as caught:
        Signature("task", one).unbind([{"number": "secret", "at": 0}], {})
    assert "number: Input should be a valid integer" in str(caught.value)
    assert "secret" not in str(caught.value)
