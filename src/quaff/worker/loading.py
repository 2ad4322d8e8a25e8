"""``module:object`` becomes the application's ``Quaff``, in a worker's process, never from a message."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from importlib import import_module
from types import ModuleType
from typing import Any

from quaff.app import Quaff
from quaff.errors import ConfigurationError, QuaffError, did_you_mean
from quaff.model.codec import with_article

#: An application before a bare Quaff: what a factory makes is what the Quaff of its module belongs to.
_USUAL = ("app", "application", "create_app", "make_app", "quaff")


def load(spec: str) -> Quaff:
    """The application that ``spec`` names.

    Args:
        spec: ``module:object``, ``module:factory``, ``module:factory()``, or ``module`` alone. The object is a Quaff,
            a Flask application that has one, or a function without parameters that returns either.

    Raises:
        ConfigurationError: no such module or object, or nothing of Quaff in it; the text has the nearest name. Or the
            module raises; the text has the frames of its code.
    """
    try:
        return _load(spec)
    except QuaffError:
        raise
    except BaseException as error:
        raise ConfigurationError(f"{spec!r} cannot be loaded: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """What user code raised, without our frames and those of the import system."""
    *where, what = (line.rstrip() for line in traceback.format_exception_only(error))  # where: of a syntax error
    if isinstance(error, SystemExit):
        what += '. It ends the program when it is imported; put that under if __name__ == "__main__":'
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return "\n".join([what, *(line.rstrip() for line in traceback.format_list(frames)), *where])


def _load(spec: str) -> Quaff:
    name, _, attribute = spec.partition(":")
    module = _module(name, spec)
    attribute = attribute.removesuffix("()")
    if "(" in attribute:
        raise ConfigurationError(f"{spec!r}: a factory is called without arguments; name one that needs none.")
    if attribute:
        target: Any = module
        for part in attribute.split("."):
            if not hasattr(target, part):
                raise ConfigurationError(f"{spec!r}: {name} has no {attribute!r}.{did_you_mean(part, dir(target))}")
            target = getattr(target, part)
        found = unwrap(target)
        if found is None:
            raise ConfigurationError(
                f"{spec!r} is {with_article(type(target).__name__)}, not a Quaff, nor an application that has one."
            )
        return found
    for usual in _USUAL:
        if (found := unwrap(getattr(module, usual, None))) is not None:
            return found
    return _only_one(module, name)


def _only_one(module: ModuleType, name: str) -> Quaff:
    """The Quaff of a module that calls it, or its application, what it likes; what may be a factory is not called.

    Raises:
        ConfigurationError: there is none, or several, of which nobody has said which.
    """
    found: dict[str, Quaff] = {}
    for each, value in vars(module).items():
        quaff = None if inspect.isroutine(value) else _belonging(value)
        if quaff is not None and quaff not in found.values():
            found[each] = quaff
    if not found:
        raise ConfigurationError(f"{name} has no Quaff object in it; say which: -A {name}:object")
    if len(found) > 1:
        several = " or ".join(f"-A {name}:{each}" for each in found)
        raise ConfigurationError(f"{name} has {len(found)} Quaff objects in it; say which: {several}")
    unwrap(getattr(module, next(iter(found))))
    return next(iter(found.values()))


def _module(name: str, spec: str) -> ModuleType:
    if not name:
        raise ConfigurationError(f"{spec!r}: give -A module:object")
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"{name!r} is not the name of a module: give -A package.module:object, not a path.")
    # At the end, never in front: a file in the working directory must not hide a module of the standard library.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        names = [
            entry.removesuffix(".py") for entry in os.listdir(here) if entry.endswith(".py") or os.path.isdir(entry)
        ]
        module, _, attribute = name.rpartition(".")
        meant = module if attribute == "py" else f"{module}:{attribute}"
        hint = f" Did you mean {meant!r}?" if module in names else did_you_mean(name, names)
        raise ConfigurationError(f"no module {name!r} in {here} or on sys.path.{hint}") from None


def _belonging(target: Any) -> Quaff | None:
    """The Quaff in an object that is one, or an application that has one."""
    if isinstance(target, Quaff):
        return target
    try:
        extensions = getattr(target, "extensions", None)
    except RuntimeError:  # Flask's current_app and the like, where no application is
        return None
    found = extensions.get("quaff") if isinstance(extensions, dict) else None
    return found if isinstance(found, Quaff) else None


def unwrap(target: Any) -> Quaff | None:
    """The Quaff in an object: itself, a web application's, or what a factory makes."""
    found = _belonging(target)
    if found is not None:
        serve = getattr(found, "serve", None)
        if serve is not None and found is not target:
            serve(target)
        return found
    if inspect.isfunction(target) and not any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        for p in inspect.signature(target).parameters.values()
    ):
        made = target()
        return None if inspect.isfunction(made) else unwrap(made)
    return None
