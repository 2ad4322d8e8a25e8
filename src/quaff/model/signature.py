"""What a task's function takes and gives: bound and encoded before anything is sent, and taken apart again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, get_type_hints

import msgspec

from quaff.errors import EncodeError
from quaff.model import codec

_EXACT: frozenset[type] = frozenset({int, str, float, bool, bytes, type(None)})
_EMPTY: dict[str, Any] = {}


class Arguments(NamedTuple):
    """A call's arguments as MessagePack can hold them."""

    args: list[Any]
    kwargs: dict[str, Any]


class Signature:
    """The parameters and type hints of one function.

    Hints that msgspec cannot build (a Protocol, an arbitrary class) count as no hint.

    Args:
        name: the task's name, for error texts.
        fn: the function.
    """

    def __init__(self, name: str, fn: Callable[..., Any]) -> None:
        self._name = name
        self._fn = fn

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self._fn)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        # A name that only a type checker can see must not make the task unusable.
        try:
            hints = get_type_hints(self._fn)
        except (NameError, TypeError, AttributeError):
            hints = {}
        return {name: hint for name, hint in hints.items() if _buildable(hint)}

    @cached_property
    def _plan(self) -> tuple[tuple[str, ...], tuple[Any, ...], bool]:
        """Names and hints of the positional parameters, and whether nothing else is declared."""
        parameters = self._signature.parameters.values()
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names = tuple(p.name for p in positional)
        return names, tuple(self._hints.get(name, Any) for name in names), len(names) == len(self._signature.parameters)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Check a call against the signature and make its arguments ready to send.

        Raises:
            TypeError: wrong number or names of arguments, or (as EncodeError) a value that cannot be sent or does
                not fit its type hint; the text names the argument.
        """
        names, hints, only_positional = self._plan
        if kwargs or len(args) != len(names) or not only_positional:
            try:
                bound = self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self._name}.delay(): {error}") from None
            args, kwargs = bound.args, bound.kwargs
            rest = tuple(self._rest_names(len(args) - len(names)))
            names, hints = names + rest, hints + tuple(self._hints.get(name.split("[")[0], Any) for name in rest)
        sent = [
            value if type(value) is hint and hint in _EXACT and hint is not int else self._checked(name, value, hint)
            for name, value, hint in zip(names, args, hints, strict=False)
        ]
        if not kwargs:
            return Arguments(sent, _EMPTY)
        var_keyword = next((p.name for p in self._signature.parameters.values() if p.kind is p.VAR_KEYWORD), "")
        return Arguments(
            sent,
            {k: self._checked(k, v, self._hints.get(k, self._hints.get(var_keyword, Any))) for k, v in kwargs.items()},
        )

    def _rest_names(self, count: int) -> Sequence[str]:
        star = next((p.name for p in self._signature.parameters.values() if p.kind is p.VAR_POSITIONAL), None)
        return [f"{star}[{index}]" for index in range(count)] if star else []

    def _checked(self, name: str, value: Any, hint: Any) -> Any:
        """``value`` ready to send, proved to come back as what it is."""
        try:
            sent = codec.wire(value)
            if hint is Any or (hint in _EXACT and type(value) is hint):
                if hint is Any and codec.is_instance_of_class(value):
                    raise EncodeError(
                        f"a {type(value).__qualname__} comes back only where the parameter has a type hint"
                    )
                return sent
            back = codec.convert(codec.unpack(codec.pack(sent)), hint)
            if codec.is_instance_of_class(value) and type(back) is not type(value):
                raise EncodeError(f"its type hint {hint!r} would bring it back as {type(back).__qualname__}")
            return sent
        except RecursionError:
            problem = "it is nested too deeply, or contains itself"
        except msgspec.ValidationError as error:
            # A subclass is fine where its base is asked for (True for int, as type checkers see it too).
            if _is_one(value, hint):
                return codec.wire(value)
            problem = str(error)
        except (EncodeError, UnicodeEncodeError, ValueError, TypeError, OverflowError) as error:
            problem = str(error.args[0]) if isinstance(error, EncodeError) else str(error)
        raise EncodeError(
            f"{self._name}.delay(): argument {name!r} is a {type(value).__qualname__}: {problem}. "
            "Send plain data (numbers, text, bytes, dates, lists, dicts) or an id, and load the object in the task."
        )

    def unbind(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """A message's arguments as the function wants them.

        Raises:
            TypeError: the message does not fit the function as it is now (another version of the code sent it).
        """
        hints = self._hints
        try:
            self._fits(args, kwargs)
            if hints:
                names = self._plan[0]
                args = [
                    value if i >= len(names) else self._as_hinted(value, hints.get(names[i], Any))
                    for i, value in enumerate(args)
                ]
                kwargs = {k: self._as_hinted(v, hints.get(k, Any)) for k, v in kwargs.items()} if kwargs else kwargs
        except msgspec.ValidationError as error:
            raise TypeError(f"the message does not fit {self._name}{self._signature}: {error}") from None
        return args, kwargs

    def _fits(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        names, _, only_positional = self._plan
        if kwargs or len(args) != len(names) or not only_positional:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"the message does not fit {self._name}{self._signature}: {error}") from None

    @staticmethod
    def _as_hinted(value: Any, hint: Any) -> Any:
        if hint is Any or type(value) is hint:
            return value
        if hint in _EXACT and _is_one(value, hint):
            return value
        return codec.convert(value, hint)

    def encode_result(self, value: Any) -> bytes:
        """A return value as bytes.

        Raises:
            EncodeError: it cannot be stored so that it comes back as what it is.
        """
        data = codec.encode(value)
        if codec.is_instance_of_class(value):
            back = self.decode_result(data)
            if type(back) is not type(value):
                raise EncodeError(
                    f"{self._name} returned a {type(value).__qualname__}, which comes back only where the function's "
                    "return type hint says so"
                )
        return data

    def decode_result(self, data: bytes) -> Any:
        """A stored value as the return hint has it; as plain data where the hint does not fit it."""
        value = codec.unpack(data)
        hint = self._hints.get("return", Any)
        if hint is Any or type(value) is hint:
            return value
        try:
            return codec.convert(value, hint)
        except msgspec.ValidationError:
            return value


def _is_one(value: Any, hint: Any) -> bool:
    return isinstance(hint, type) and isinstance(value, hint)


def _buildable(hint: Any) -> bool:
    """Whether msgspec can build the hinted type from plain data, every part of it."""
    try:
        return not _has_custom(msgspec.inspect.type_info(hint), set())
    except (TypeError, NameError, AttributeError, ValueError, RecursionError):
        return False


def _has_custom(info: Any, seen: set[int]) -> bool:
    if isinstance(info, msgspec.inspect.CustomType):
        return True
    if id(info) in seen or not isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)):
        return False
    seen.add(id(info))
    parts = [getattr(info, field) for field in info.__struct_fields__]
    return any(_has_custom(part, seen) for value in parts for part in (value if isinstance(value, tuple) else (value,)))
