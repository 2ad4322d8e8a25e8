"""Batch tasks: one run of the function for many calls, and what one of those calls looks like."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from quaff.errors import ConfigurationError
from quaff.model.signature import type_hints
from quaff.model.times import Seconds, seconds

#: What one claim hands out, and one settle takes.
LARGEST = 500

_SCALARS = (int, float, bool, str, bytes, dict, list, set)


class Batch(msgspec.Struct, frozen=True):
    """Run a task once for up to ``size`` calls: it takes a list of them and gives a list of what each came to.

    Attributes:
        size: the most calls of one run.
        within: seconds that the first of them waits for company, at most.
    """

    size: int
    within: Seconds = 0.5

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= LARGEST:
            raise ConfigurationError(f"Batch({self.size!r}): give a whole number from 1 to {LARGEST}.")
        if seconds("Batch(within=)", self.within) > 60:
            raise ConfigurationError(
                f"Batch(within={self.within!r}): give at most 60 seconds; a job waits in a worker."
            )

    @property
    def seconds(self) -> float:
        """``within`` as a number."""
        return seconds("within", self.within)


class Shape:
    """One call of a batch task, as a function that makes what the task finds in its list.

    Args:
        make: makes it from a call's arguments.
        signature, hints: what those are; ``return`` is what comes of one call.
    """

    def __init__(self, make: Callable[..., Any], signature: inspect.Signature, hints: dict[str, Any]) -> None:
        self._make = make
        self.__signature__ = signature
        self.__annotations__ = hints

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._make(*args, **kwargs)


def shape_of(name: str, fn: Callable[..., Any]) -> Shape:
    """What one call of a batch task takes, by the hint of its one parameter.

    ``list[tuple[int, str]]`` takes a number and a text, ``list[Mail]`` what the class ``Mail`` takes (a NamedTuple, a
    dataclass), a plain ``list`` anything.

    Args:
        name: the task's name, for the error.

    Raises:
        ConfigurationError: the function does not take one list, or a list of something else.
    """
    parameters = list(inspect.signature(fn).parameters.values())
    if len([each for each in parameters if each.default is each.empty]) != 1:
        raise ConfigurationError(
            f"task {name!r} has batch=, so it is called with one list of calls: def {fn.__name__}(calls)."
        )
    hints = type_hints(fn)
    item = next(iter(get_args(hints.get(parameters[0].name, Any))), Any)
    result = next(iter(get_args(hints.get("return", Any))), Any)
    makes: dict[str, Any] = {"return": result}
    if isinstance(item, type) and item not in (*_SCALARS, tuple):
        made = inspect.signature(item)
        return Shape(item, made, {p: type_hints(item).get(p, Any) for p in made.parameters} | makes)
    kind, fields = inspect.Parameter, get_args(item)
    if item in (Any, tuple) or fields[1:] == (...,):
        makes["calls"] = fields[0] if fields else Any
        return Shape(_as_tuple, inspect.Signature([kind("calls", kind.VAR_POSITIONAL)]), makes)
    if getattr(item, "__origin__", None) is not tuple:
        raise ConfigurationError(
            f"task {name!r} has batch=, and the hint of its parameter is a list of {item!r}: "
            "hint it as list[tuple[int, str]], or as a list of a NamedTuple or dataclass."
        )
    names = [f"argument{place}" for place in range(1, len(fields) + 1)]
    made = inspect.Signature([kind(each, kind.POSITIONAL_ONLY) for each in names])
    return Shape(_as_tuple, made, dict(zip(names, fields, strict=True)) | makes)


def _as_tuple(*arguments: Any) -> tuple[Any, ...]:
    return arguments
