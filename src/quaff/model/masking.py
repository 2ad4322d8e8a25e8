"""Values of arguments that are not to be shown: taken out of any text that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Mask: TypeAlias = Callable[[str], str]

MASKED = "***"
#: Characters: a shorter text stands in too many others by chance.
_SHORTEST = 4
#: Texts in one call's arguments.
_MOST = 1000


def mask_of(values: Iterable[Any]) -> Mask:
    """What takes these values out of a text, as they are and as ``repr`` shows them, at any depth of containers."""
    found: set[str] = set()
    line = [*values]
    while line and len(found) < _MOST:
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
