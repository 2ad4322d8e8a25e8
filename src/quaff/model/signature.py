"""What a task's function takes and gives: bound and encoded before anything is sent, and taken apart again."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from quaff.errors import EncodeError
from quaff.model import codec, pydantic
from quaff.model.codec import with_article

_EXACT: frozenset[type] = frozenset({int, str, float, bool, bytes, type(None)})
#: What a generator is said to return, and at which place of its parameters what it yields, and what it returns.
_GENERATORS: dict[Any, tuple[int, int]] = {Generator: (0, 2)} | dict.fromkeys(
    (AsyncGenerator, Iterator, Iterable, AsyncIterator, AsyncIterable), (0, -1)
)
_EMPTY: dict[str, Any] = {}
_SEND_DATA = "Send plain data (numbers, text, bytes, dates, lists, dicts) or an id, and load the object in the task."


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
        hints = type_hints(self._fn)
        if inspect.isgeneratorfunction(self._fn) or inspect.isasyncgenfunction(self._fn):
            # "yield" is no name that a parameter could have.
            hints["yield"], hints["return"] = _parts(hints.get("return"))
        return {name: hint for name, hint in hints.items() if _buildable(hint)}

    @cached_property
    def _by_keyword(self) -> dict[str, Any]:
        """The hints of what can be given by keyword: ``f(a, /, **rest)`` takes another ``a`` in ``rest``."""
        parameters = self._signature.parameters.values()
        return {
            p.name: self._hints.get(p.name, Any)
            for p in parameters
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }

    @cached_property
    def _of_the_rest(self) -> tuple[str, Any, Any]:
        """The name of ``*args``, its hint, and the hint of ``**kwargs``."""
        parameters = self._signature.parameters.values()
        star = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        two_stars = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), "")
        return star, self._hints.get(star, Any), self._hints.get(two_stars, Any)

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
                raise TypeError(f"{self._name}.delay(): {error} for {self._without_hints()}") from None
            args, kwargs = bound.args, bound.kwargs
            star, hint, _ = self._of_the_rest
            rest = range(len(args) - len(names))
            names, hints = names + tuple(f"{star}[{index}]" for index in rest), hints + (hint,) * len(rest)
        sent = [
            value if _passes(value, hint) else self._checked(name, value, hint)
            for name, value, hint in zip(names, args, hints, strict=False)
        ]
        if not kwargs:
            return Arguments(sent, _EMPTY)
        return Arguments(
            sent, {name: self._checked(name, value, self._hint_of(name)) for name, value in kwargs.items()}
        )

    def made(self, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What the function makes of a message's arguments. Raises TypeError as ``unbind``, and what it raises."""
        args, kwargs = self.unbind(args, kwargs)
        return self._fn(*args, **kwargs)

    @property
    def names(self) -> list[str]:
        """The names of the parameters."""
        return list(self._signature.parameters)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """A call's arguments by the names of the parameters, defaults included; the call fits, as ``bind`` has seen."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def some(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Some of a call's arguments by the names of the parameters. Raises TypeError where no call could have them."""
        return self._signature.bind_partial(*args, **kwargs).arguments

    def _without_hints(self) -> inspect.Signature:
        """The parameters and their defaults, for an error text: the hints may be quoted, and are not what is wrong."""
        bare = [p.replace(annotation=p.empty) for p in self._signature.parameters.values()]
        return inspect.Signature(bare)

    def _hint_of(self, keyword: str) -> Any:
        return self._by_keyword.get(keyword, self._of_the_rest[2])

    def _checked(self, name: str, value: Any, hint: Any) -> Any:
        """``value`` ready to send, proved to come back as what it is."""
        advice = _SEND_DATA
        try:
            codec.pack(name)
            sent = codec.wire(value)
            if codec.has_ref(value):
                return sent  # what comes in its place is looked at where it is known
            back = codec.unpack(codec.pack(sent))
            back = back if hint is Any or type(back) is hint else codec.convert(back, hint)
            lost = codec.lost(value, back)
            if lost is None:
                return sent
            kind = with_article(lost.__qualname__)
            problem = f"{kind} comes back only where the type hint says so, and {_text(hint)}"
        except RecursionError:
            problem = "it is nested too deeply, or contains itself"
        except msgspec.ValidationError as error:
            # A subclass is fine where its base is asked for (True for int, as type checkers see it too).
            if _is_one(value, hint):
                return codec.wire(value)
            problem, advice = str(error), "Give what its type hint asks for."
        except (EncodeError, UnicodeEncodeError, ValueError, TypeError, OverflowError) as error:
            problem = str(error.args[0]) if isinstance(error, EncodeError) else str(error)
        raise EncodeError(
            f"{self._name}.delay(): argument {name!r} is {_what_is_wrong(type(value), problem)}. {advice}"
        )

    def unbind(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """A message's arguments as the function wants them.

        Raises:
            TypeError: the message does not fit the function as it is now (another version of the code sent it).
        """
        if self._exactly(args, kwargs):
            return args, kwargs
        try:
            self._fits(args, kwargs)
            if self._hints:
                hints = self._plan[1]
                if len(args) > len(hints):
                    hints += (self._of_the_rest[1],) * (len(args) - len(hints))
                args = [self._as_hinted(value, hint) for value, hint in zip(args, hints, strict=False)]
                kwargs = {k: self._as_hinted(v, self._hint_of(k)) for k, v in kwargs.items()} if kwargs else kwargs
        except msgspec.ValidationError as error:
            raise TypeError(f"the message does not fit {self._name}{self._signature}: {error}") from None
        return args, kwargs

    def _exactly(self, args: list[Any], kwargs: dict[str, Any]) -> bool:
        """The common case, cheaply: each positional parameter is there, with the very type of its hint or with none."""
        names, hints, only_positional = self._plan
        if kwargs or len(args) != len(names) or not only_positional:
            return False
        for value, hint in zip(args, hints, strict=False):  # noqa: SIM110  all(...) costs three times as much, per job
            if hint is not Any and type(value) is not hint:
                return False
        return True

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
        try:
            return codec.convert(value, hint)
        except msgspec.ValidationError:
            if _is_one(value, hint):  # True for int, a datetime for date: bind let it pass
                return value
            raise

    def encode_result(self, value: Any) -> bytes:
        """A return value as bytes.

        Raises:
            EncodeError: it cannot be stored so that it comes back as what it is.
        """
        return self._encode(value, "return", "returned")

    def encode_value(self, value: Any) -> bytes:
        """A value that the generator yielded; as ``encode_result``."""
        return self._encode(value, "yield", "yielded")

    def decode_result(self, data: bytes) -> Any:
        """A stored value as the return hint has it; as plain data where the hint does not fit it."""
        return self._decode(data, "return")

    def decode_value(self, data: bytes) -> Any:
        """As ``decode_result``, for a value that the generator yielded."""
        return self._decode(data, "yield")

    def _encode(self, value: Any, what: str, did: str) -> bytes:
        data = codec.encode(value)
        if type(value) not in _EXACT:
            lost = codec.lost(value, self._decode(data, what))
            if lost is not None:
                given, kind = with_article(type(value).__qualname__), with_article(lost.__qualname__)
                raise EncodeError(
                    f"{self._name} {did} {given}; {kind} comes back only where the function's return type hint says so"
                )
        return data

    def _decode(self, data: bytes, what: str) -> Any:
        value = codec.unpack(data)
        hint = self._hints.get(what, Any)
        if hint is Any or type(value) is hint:
            return value
        try:
            return codec.convert(value, hint)
        except msgspec.ValidationError:
            return value


def _parts(hint: Any) -> tuple[Any, Any]:
    """What a generator of that hint yields, and what it returns."""
    yields, returns = _GENERATORS.get(get_origin(hint), (-1, -1))
    arguments = dict(enumerate(get_args(hint)))
    return arguments.get(yields, Any), arguments.get(returns, Any)


def _is_one(value: Any, hint: Any) -> bool:
    try:
        return isinstance(hint, type) and isinstance(value, hint)
    except TypeError:  # a TypedDict
        return False


def _what_is_wrong(kind: type, problem: str) -> str:
    """What a value is, and what is wrong with it or with something in it."""
    told = with_article(kind.__qualname__)
    for own in (told, with_article(codec.name_of(kind))):
        if problem.startswith(f"{own} "):
            return f"{told}, which {problem[len(own) + 1 :]}"
    return f"{told}: {problem}"


def type_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The hints of ``fn`` that can be told: a name that only a type checker can see must not make the task unusable."""
    try:
        return get_type_hints(fn)
    except (NameError, TypeError, AttributeError):
        pass
    hints: dict[str, Any] = {}
    for name, annotation in getattr(fn, "__annotations__", {}).items():
        try:
            one = SimpleNamespace(__annotations__={name: annotation})
            hints |= get_type_hints(one, getattr(inspect.unwrap(fn), "__globals__", {}))
        except (NameError, TypeError, AttributeError, SyntaxError):
            continue
    return hints


def _passes(value: Any, hint: Any) -> bool:
    """Whether a value needs no look: of the very type asked for, and held by MessagePack as it is."""
    kind = type(value)
    if kind is not hint and hint is not Any:
        return False
    if kind is str:
        return bool(value.isascii())  # anything else may have a lone surrogate
    return -(2**63) <= value < 2**64 if kind is int else kind in _EXACT


def _text(hint: Any) -> str:
    return "this parameter has none that can be built" if hint is Any else f"{hint!r} does not"


def _buildable(hint: Any) -> bool:
    """Whether msgspec can build the hinted type from plain data, every part of it."""
    try:
        return not _has_custom(msgspec.inspect.type_info(hint), set())
    except (TypeError, NameError, AttributeError, ValueError, RecursionError):
        return False


def _has_custom(info: Any, seen: set[int]) -> bool:
    if isinstance(info, msgspec.inspect.CustomType):
        return not pydantic.is_model(info.cls)
    if id(info) in seen or not isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)):
        return False
    seen.add(id(info))
    parts = [getattr(info, field) for field in info.__struct_fields__]
    return any(_has_custom(part, seen) for value in parts for part in (value if isinstance(value, tuple) else (value,)))
