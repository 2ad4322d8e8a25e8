"""Pydantic's models (2.11 or later) as plain data and back. It is never imported: a model brings its own methods."""

from __future__ import annotations

from typing import Any

from quaff.errors import EncodeError


def is_model(kind: object) -> bool:
    """Whether it is a class of pydantic's models."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate")


def dump(value: Any) -> Any:
    """A model by the names of its fields, with dates, bytes and numbers as they are.

    Raises:
        EncodeError: it holds something else than its fields say.
    """
    try:
        return value.model_dump(mode="python", by_alias=False, round_trip=True, warnings="error")
    except ValueError:  # whose text shows values
        raise EncodeError(f"{type(value).__qualname__} holds a value of another type than its field says") from None


def dump_json(value: Any) -> Any:
    """As ``dump``, with texts for what only pydantic knows, such as a URL or a path.

    Raises:
        EncodeError: it would not come back as what it is (a SecretStr, whose text is stars).
    """
    data = value.model_dump(mode="json", by_alias=False, round_trip=True)
    try:
        same = load(type(value), data) == value
    except ValueError:
        same = False
    if not same:
        raise EncodeError(f"{type(value).__qualname__} has a field that does not come back from JSON as what it is")
    return data


def load(kind: Any, data: Any) -> Any:
    """The model again. Raises ValueError with the field and what is wrong with it, and not with its value."""
    try:
        return kind.model_validate(data, by_alias=False, by_name=True)
    except ValueError as error:
        details = getattr(error, "errors", None)
        if details is None:
            raise
        told = [
            f"{'.'.join(map(str, each['loc'])) or kind.__qualname__}: {each['msg']}"
            for each in details(include_url=False, include_input=False, include_context=False)
        ]
        raise ValueError("; ".join(told)) from None
