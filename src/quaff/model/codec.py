"""Values to bytes and back: MessagePack through msgspec, with what MessagePack lacks as tagged extensions.

What went in comes out: tuples, sets, UUIDs, Decimals, dates with their offset and big integers are tagged on the
wire, so they need no type hint. Instances of classes (dataclass, Struct, Enum, named tuple) travel as plain data and
are rebuilt from the type hint of the parameter: a message never names a class (see ``signature.py``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from quaff.errors import EncodeError

NATIVE = (bytes, bytearray, dt.datetime, dt.date, dt.time, dt.timedelta, UUID, Decimal)

_TUPLE, _SET, _FROZENSET, _INT, _DATETIME, _DATE, _TIME, _TIMEDELTA, _UUID, _DECIMAL, _COMPLEX, _BYTEARRAY = range(
    1, 13
)

_encoder = msgspec.msgpack.Encoder()
pack = _encoder.encode


def _int(value: int) -> Any:
    return value if -(2**63) <= value < 2**64 else Ext(_INT, format(value, "x").encode())


def _list(value: list[Any]) -> list[Any]:
    return [item if type(item) in _SCALARS else wire(item) for item in value]


def _dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return {(k if type(k) is str else wire(k)): (v if type(v) in _SCALARS else wire(v)) for k, v in value.items()}


def _items(code: int) -> Callable[[Any], Ext]:
    return lambda value: Ext(code, pack([wire(item) for item in value]))


def _timedelta(value: dt.timedelta) -> Ext:
    return Ext(_TIMEDELTA, pack((value.days, value.seconds, value.microseconds)))


def _iso(code: int) -> Callable[[Any], Ext]:
    return lambda value: Ext(code, value.isoformat().encode())


#: Types that MessagePack holds as they are.
_SCALARS = frozenset({type(None), bool, float, str, bytes})

_TO_WIRE: dict[type, Callable[[Any], Any]] = {
    int: _int,
    list: _list,
    dict: _dict,
    tuple: _items(_TUPLE),
    set: _items(_SET),
    frozenset: _items(_FROZENSET),
    dt.datetime: _iso(_DATETIME),
    dt.date: _iso(_DATE),
    dt.time: _iso(_TIME),
    dt.timedelta: _timedelta,
    UUID: lambda value: Ext(_UUID, value.bytes),
    Decimal: lambda value: Ext(_DECIMAL, str(value).encode()),
    complex: lambda value: Ext(_COMPLEX, pack((value.real, value.imag))),
    bytearray: lambda value: Ext(_BYTEARRAY, bytes(value)),
}


def unpack(data: bytes) -> Any:
    """The value in ``data``. Raises msgspec.DecodeError, or ValueError for a tagged value that is not one."""
    return _decoder.decode(data)


_FROM_WIRE: dict[int, Callable[[bytes], Any]] = {
    _TUPLE: lambda data: tuple(unpack(data)),
    _SET: lambda data: set(unpack(data)),
    _FROZENSET: lambda data: frozenset(unpack(data)),
    _INT: lambda data: int(data, 16),
    _DATETIME: lambda data: dt.datetime.fromisoformat(data.decode()),
    _DATE: lambda data: dt.date.fromisoformat(data.decode()),
    _TIME: lambda data: dt.time.fromisoformat(data.decode()),
    _TIMEDELTA: lambda data: dt.timedelta(*unpack(data)),
    _UUID: lambda data: UUID(bytes=data),
    _DECIMAL: lambda data: Decimal(data.decode()),
    _COMPLEX: lambda data: complex(*unpack(data)),
    _BYTEARRAY: bytearray,
}


def from_ext(code: int, data: memoryview) -> Any:
    """msgspec's hook for a tagged value. Raises ValueError for a tag nobody wrote."""
    rebuild = _FROM_WIRE.get(code)
    if rebuild is None:
        raise ValueError(f"unknown extension type {code}")
    return rebuild(bytes(data))


_decoder = msgspec.msgpack.Decoder(ext_hook=from_ext)


def is_instance_of_class(value: object) -> bool:
    """True for what travels as plain data and needs a type hint to come back: dataclass, Struct, Enum, named tuple."""
    return (
        isinstance(value, (msgspec.Struct, Enum))
        or (dataclasses.is_dataclass(value) and not isinstance(value, type))
        or (isinstance(value, tuple) and hasattr(value, "_fields"))
        or hasattr(type(value), "__attrs_attrs__")
    )


def wire(value: Any) -> Any:
    """``value`` as MessagePack can hold it.

    Raises:
        EncodeError: for an object of any other kind, a text with lone surrogates, or a value nested without end.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    convert = _TO_WIRE.get(kind)
    if convert is not None:
        return convert(value)
    if is_instance_of_class(value):
        return wire(msgspec.to_builtins(value, builtin_types=NATIVE))
    if isinstance(value, Mapping):
        return _dict(dict(value))
    for scalar in (str, bytes, float):
        if isinstance(value, scalar):
            return scalar(value)  # type: ignore[arg-type]  # a subclass of str or bytes or float is one
    for base, convert in _TO_WIRE.items():
        if isinstance(value, base):
            return convert(value)
    raise EncodeError(f"a {_name(kind)} cannot be sent")


def encode(value: Any) -> bytes:
    """``value`` as bytes.

    Raises:
        EncodeError: as ``wire`` does.
    """
    try:
        return pack(value if type(value) in _SCALARS else wire(value))
    except RecursionError:
        raise EncodeError("it is nested too deeply, or contains itself") from None
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, NotImplementedError) as error:
        raise error if isinstance(error, EncodeError) else EncodeError(str(error)) from None


def convert(value: Any, hint: Any) -> Any:
    """A decoded value as its type hint has it. Raises msgspec.ValidationError where it does not fit."""
    return msgspec.convert(value, hint, builtin_types=NATIVE)


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
