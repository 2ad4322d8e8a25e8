"""Values to bytes and back: MessagePack through msgspec, with what MessagePack lacks as tagged extensions.

What went in comes out: tuples, sets, UUIDs, Decimals, dates with their offset and big integers are tagged on the
wire, so they need no type hint. Instances of classes (dataclass, Struct, Enum, named tuple, pydantic model) travel as
plain data and are rebuilt from the type hint of the parameter: a message never names a class (see ``signature.py``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from quaff.errors import EncodeError
from quaff.model import pydantic

S = TypeVar("S")
T = TypeVar("T")

NATIVE = (bytes, bytearray, dt.datetime, dt.date, dt.time, dt.timedelta, UUID, Decimal)

(
    _TUPLE,
    _SET,
    _FROZENSET,
    _INT,
    _DATETIME,
    _DATE,
    _TIME,
    _TIMEDELTA,
    _UUID,
    _DECIMAL,
    _COMPLEX,
    _BYTEARRAY,
    _DICT,
    _REF,
    STORED,
    SEALED,
) = range(1, 17)

#: Containers within containers. A limit of our own: Python's is met at another depth in the sender than in the worker.
MAX_DEPTH = 100
_TOO_DEEP = "it is nested too deeply, or contains itself"


class Ref(msgspec.Struct, frozen=True):
    """In the arguments of a job of a flow: the result of another one, the ``place``-th of those that it is given."""

    place: int

    def __format__(self, spec: str) -> str:
        raise ValueError("the result of another job is not known yet")

    def __repr__(self) -> str:
        return format(self)

    def __str__(self) -> str:
        return format(self)


_encoder = msgspec.msgpack.Encoder()
pack: Callable[[object], bytes] = _encoder.encode


def _int(value: int, _: int) -> Any:
    return int(value) if -(2**63) <= value < 2**64 else Ext(_INT, format(value, "x").encode())


def _list(value: list[Any], depth: int) -> list[Any]:
    return [item if type(item) in _SCALARS else wire(item, depth + 1) for item in value]


def _dict(value: dict[Any, Any], depth: int) -> Any:
    keys = [key if type(key) is str else wire(key, depth + 1) for key in value]
    values = [item if type(item) in _SCALARS else wire(item, depth + 1) for item in value.values()]
    if all(type(key) in _SCALARS or type(key) is int for key in keys):
        return dict(zip(keys, values, strict=True))
    # A map of MessagePack cannot have a tagged value as its key.
    return Ext(_DICT, pack(list(zip(keys, values, strict=True))))


def _items(code: int) -> Callable[[Any, int], Ext]:
    return lambda value, depth: Ext(code, pack([wire(item, depth + 1) for item in value]))


def _timedelta(value: dt.timedelta, _: int) -> Ext:
    return Ext(_TIMEDELTA, pack((value.days, value.seconds, value.microseconds)))


def _iso(code: int) -> Callable[[Any, int], Ext]:
    # A fold, which ISO 8601 cannot say, is a "!" at the end.
    return lambda value, _: Ext(code, value.isoformat().encode() + b"!" * getattr(value, "fold", 0))


def _from_iso(kind: type[dt.datetime] | type[dt.time]) -> Callable[[bytes], Any]:
    def rebuild(data: bytes) -> Any:
        value = kind.fromisoformat(data.removesuffix(b"!").decode())
        return value.replace(fold=1) if data.endswith(b"!") else value

    return rebuild


#: Types that MessagePack holds as they are.
_SCALARS = frozenset({type(None), bool, float, str, bytes})

_TO_WIRE: dict[type, Callable[[Any, int], Any]] = {
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
    UUID: lambda value, _: Ext(_UUID, value.bytes),
    Decimal: lambda value, _: Ext(_DECIMAL, str(value).encode()),
    complex: lambda value, _: Ext(_COMPLEX, pack((value.real, value.imag))),
    bytearray: lambda value, _: Ext(_BYTEARRAY, bytes(value)),
    Ref: lambda value, _: Ext(_REF, b"%d" % value.place),
}


#: What decoders raise for bytes that nobody of us wrote.
UNREADABLE = (
    *(msgspec.DecodeError, ValueError, TypeError, AttributeError),
    *(RecursionError, ArithmeticError, LookupError),
)


def readable(decode: Callable[[S], T], data: S, otherwise: T) -> T:
    """What ``decode`` makes of data, or that for data that nobody of us wrote: for people who look at a job."""
    try:
        return decode(data) if data else otherwise
    except UNREADABLE:
        return otherwise


def unpack(data: bytes) -> Any:
    """The value in ``data``. Raises msgspec.DecodeError, or ValueError for a tagged value that is not one."""
    return _decoder.decode(data)


_FROM_WIRE: dict[int, Callable[[bytes], Any]] = {
    _TUPLE: lambda data: tuple(unpack(data)),
    _SET: lambda data: set(unpack(data)),
    _FROZENSET: lambda data: frozenset(unpack(data)),
    _INT: lambda data: int(data, 16),
    _DATETIME: _from_iso(dt.datetime),
    _DATE: lambda data: dt.date.fromisoformat(data.decode()),
    _TIME: _from_iso(dt.time),
    _TIMEDELTA: lambda data: dt.timedelta(*unpack(data)),
    _UUID: lambda data: UUID(bytes=data),
    _DECIMAL: lambda data: Decimal(data.decode()),
    _COMPLEX: lambda data: complex(*unpack(data)),
    _BYTEARRAY: bytearray,
    _DICT: lambda data: dict(unpack(data)),
    _REF: lambda data: Ref(int(data)),
}


def from_ext(code: int, data: memoryview) -> Any:
    """msgspec's hook for a tagged value. Raises ValueError for a tag nobody wrote."""
    rebuild = _FROM_WIRE.get(code)
    if rebuild is None:
        raise ValueError(f"unknown extension type {code}")
    return rebuild(bytes(data))


def with_results(results: Sequence[Any]) -> Callable[[int, memoryview], Any]:
    """As ``from_ext``, with these in the place of each Ref."""
    return lambda code, data: results[int(bytes(data))] if code == _REF else from_ext(code, data)


def has_ref(value: Any) -> bool:
    """Whether there is a Ref in it, in lists, tuples and dicts as deep as it goes."""
    if isinstance(value, Mapping):
        return any(map(has_ref, value.values()))
    return any(map(has_ref, value)) if isinstance(value, (list, tuple)) else isinstance(value, Ref)


_decoder = msgspec.msgpack.Decoder(ext_hook=from_ext)


def is_instance_of_class(value: object) -> bool:
    """True for what travels as plain data and needs a type hint to come back: dataclass, Struct, Enum and the like."""
    return (
        isinstance(value, (msgspec.Struct, Enum))
        or pydantic.is_model(type(value))
        or (dataclasses.is_dataclass(value) and not isinstance(value, type))
        or (isinstance(value, tuple) and hasattr(value, "_fields"))
        or hasattr(type(value), "__attrs_attrs__")
    )


def wire(value: Any, depth: int = 0) -> Any:
    """``value`` as MessagePack can hold it; ``depth`` is how many containers it is in.

    Raises:
        EncodeError: for an object of any other kind, or a value nested without end.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth > MAX_DEPTH:
        raise EncodeError(_TOO_DEEP)
    convert = _TO_WIRE.get(kind)
    if convert is not None:
        return convert(value, depth)
    if pydantic.is_model(kind):
        return wire(_plain(value), depth)
    if is_instance_of_class(value):
        return wire(msgspec.to_builtins(value, builtin_types=NATIVE, enc_hook=_foreign), depth)
    if isinstance(value, Mapping):
        return _dict(dict(value), depth)
    for scalar in (str, bytes, float):
        if isinstance(value, scalar):
            return scalar(value)  # type: ignore[arg-type]  # a subclass of str or bytes or float is one
    for base, convert in _TO_WIRE.items():
        if isinstance(value, base):
            return convert(value, depth)
    raise EncodeError(f"{with_article(name_of(kind))} cannot be sent")


def _plain(model: Any) -> Any:
    """A model of pydantic as data that ``wire`` takes. Raises EncodeError."""
    data = pydantic.dump(model)
    try:
        wire(data)
    except EncodeError:
        return pydantic.dump_json(model)
    return data


def _foreign(value: Any) -> Any:
    """msgspec's hook for what is in a dataclass or Struct and is none of its own. Raises EncodeError."""
    if pydantic.is_model(type(value)):
        return _plain(value)
    raise EncodeError(f"{with_article(name_of(type(value)))} cannot be sent")


def encode(value: Any) -> bytes:
    """``value`` as bytes.

    Raises:
        EncodeError: as ``wire`` does, and for a text with lone surrogates.
    """
    try:
        return pack(value if type(value) in _SCALARS else wire(value))
    except RecursionError:
        raise EncodeError(_TOO_DEEP) from None
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, NotImplementedError) as error:
        raise error if isinstance(error, EncodeError) else EncodeError(str(error)) from None


def canonical(value: Any) -> bytes:
    """Bytes that are the same for equal values, for a digest: the order of a set or dict does not count.

    The order of a set of texts is another one in each process.
    """
    return pack(_sorted(value))


def _sorted(value: Any) -> Any:
    kind = type(value)
    if kind is list or kind is tuple:
        items = [_sorted(item) for item in value]
        return items if kind is list else Ext(_TUPLE, pack(items))
    if kind is dict:
        return Ext(_DICT, b"".join(sorted(pack((_sorted(k), _sorted(v))) for k, v in value.items())))
    if kind is set or kind is frozenset:
        return Ext(_SET if kind is set else _FROZENSET, b"".join(sorted(canonical(item) for item in value)))
    return wire(value)


def lost(value: Any, back: Any) -> type | None:
    """The class of an instance in ``value`` that its copy from the wire, ``back``, lacks; None if all came back."""
    kind = type(value)
    if is_instance_of_class(value):
        return None if type(back) is kind else kind
    if isinstance(value, (set, frozenset)):
        kinds = {type(item) for item in back}
        return next((type(item) for item in value if is_instance_of_class(item) and type(item) not in kinds), None)
    if isinstance(value, Mapping):
        return _first_lost(value, back) or _first_lost(value.values(), back.values())
    return _first_lost(value, back) if isinstance(value, (list, tuple)) else None


def _first_lost(values: Iterable[Any], backs: Iterable[Any]) -> type | None:
    for value, back in zip(values, backs, strict=True):
        if type(value) not in _SCALARS and type(value) is not int and (found := lost(value, back)):
            return found
    return None


def convert(value: Any, hint: Any) -> Any:
    """A decoded value as its type hint has it. Raises msgspec.ValidationError where it does not fit."""
    return msgspec.convert(value, hint, builtin_types=NATIVE, dec_hook=_rebuilt)


def _rebuilt(kind: type, data: Any) -> Any:
    """msgspec's hook for a class that is none of its own: Signature lets only those of pydantic come so far."""
    return data if type(data) is kind else pydantic.load(kind, data)


def name_of(kind: type) -> str:
    """A class as an error names it: with its module, unless it is one of Python's own."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def with_article(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
