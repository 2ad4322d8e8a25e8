"""Values of arguments that are not to be shown: taken out of any text that has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from quaff.model.codec import Ref

Mask: TypeAlias = Callable[[str], str]

MASKED = "***"
#: Characters: a shorter text stands in too many others by chance.
_SHORTEST = 4
#: Texts in a call's arguments.
_MOST = 1000


def mask_of(values: Iterable[Any], calls: int = 1) -> Mask:
    """What takes these values out of a text, as they are and as ``repr`` shows them, at any depth of containers.

    Args:
        calls: of so many they are; there is a bound for each.
    """
    found: set[str] = set()
    line = [*values]
    while line and len(found) < _MOST * calls:
        value = line.pop()
        if isinstance(value, Mapping):
            line += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            line += value
        elif isinstance(value, (bytes, bytearray)):
            found |= _forms(value.decode("utf-8", "replace")) | _forms(repr(bytes(value))[2:-1])
        elif value is not None and not isinstance(value, bool):
            found |= _forms(str(value))
    hidden = sorted((text for text in found if len(text) >= _SHORTEST), key=len, reverse=True)

    def mask(text: str) -> str:
        for each in hidden:
            text = text.replace(each, MASKED)
        return text

    return mask


def _forms(text: str) -> set[str]:
    """A text as it may be shown: as it is, in a ``repr``, in a ``repr`` of that; with its quotes escaped or not."""
    forms = {text}
    for _ in range(2):
        shown = {repr(form)[1:-1] for form in forms}
        forms |= shown | {form.replace("'", "\\'") for form in shown}
    return forms


#: Names of arguments, and of keys in them, whose values nobody is to see.
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|authorization|cookie|api_?key|private_?key|credential", re.IGNORECASE
)
_DEEPEST, _WIDEST, _LONGEST = 4, 20, 200


def shown(arguments: Mapping[str, Any], sensitive: Iterable[str]) -> str:
    """A call's arguments in one line of 200 characters at most, without what is secret by its name.

    Args:
        arguments: by the names of the parameters.
        sensitive: more that nobody is to see.
    """
    hidden = set(sensitive)
    parts = [f"{name}={MASKED if name in hidden else _plain(name, value)}" for name, value in arguments.items()]
    text = ", ".join(parts)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _plain(name: object, value: Any, depth: int = 0) -> str:
    if isinstance(name, str) and _SECRET.search(name):
        return MASKED
    if isinstance(value, Mapping):
        if depth >= _DEEPEST:
            return "{…}"
        items = [f"{_repr(key):.40}: {_plain(key, each, depth + 1)}" for key, each in [*value.items()][:_WIDEST]]
        return f"{{{', '.join(items)}{', …' if len(value) > _WIDEST else ''}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        if depth >= _DEEPEST:
            return "[…]"
        items = [_plain("", each, depth + 1) for each in [*value][:_WIDEST]]
        return f"[{', '.join(items)}{', …' if len(value) > _WIDEST else ''}]"
    if isinstance(value, (str, bytes, bytearray)):
        return repr(value[:_LONGEST])
    return _repr(value)[:_LONGEST]


def _repr(value: Any) -> str:
    if isinstance(value, Ref):
        return "<result of another job>"
    try:
        return repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"<{type(value).__name__}>"
