"""Rules by which an operator keeps jobs from being started: a task, and of its arguments those that are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from quaff.errors import EncodeError
from quaff.model import codec


class Rule(msgspec.Struct, frozen=True):
    """``arguments`` by name, as they come back from the wire; none: all jobs of the task."""

    task: str
    arguments: dict[str, Any]

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        """Whether it speaks of a call of its task, given as the function would get it."""
        return all(name in arguments and _same(arguments[name], value) for name, value in self.arguments.items())

    def __str__(self) -> str:
        """As an operator wrote it: ``mails.send(user_id=7)``."""
        return f"{self.task}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


def encode(task: str, arguments: Mapping[str, Any]) -> bytes:
    """The same bytes for the same rule. Raises EncodeError for a value that no call could have."""
    return codec.pack([task, [[name, codec.wire(arguments[name])] for name in sorted(arguments)]])


def decode(data: bytes) -> Rule:
    """A rule again. Raises ValueError for bytes that are none."""
    task, arguments = codec.unpack(data)
    return Rule(task, dict(arguments))


def words(data: bytes) -> str:
    """A rule as an operator wrote it."""
    return codec.readable(lambda kept: str(decode(kept)), data, "a rule that cannot be read (corrupt)")


def _same(given: Any, wanted: Any) -> bool:
    try:
        # A default was never sent; as if it had been, it compares with what was.
        return codec.canonical(codec.unpack(codec.encode(given))) == codec.canonical(wanted)
    except EncodeError:
        return False
