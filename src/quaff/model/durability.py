"""What a job has to survive before ``delay`` returns, beside the end of any process of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from quaff.errors import ConfigurationError

PRIMARY = "primary"
_FORM = re.compile(r"(replicas):([1-9]\d{0,2})|(fsync)(?::([1-9]\d{0,2}))?")


class Durability(NamedTuple):
    """More than the memory of the primary.

    Attributes:
        fsync: the primary's disk has it; with ``replicas``, theirs have, too.
        replicas: so many of them have it.
    """

    fsync: bool
    replicas: int

    def __str__(self) -> str:
        if self.fsync:
            return f"fsync:{self.replicas}" if self.replicas else "fsync"
        return f"replicas:{self.replicas}"


@cache
def read(text: str) -> Durability | None:
    """``primary`` (None), ``replicas:N``, ``fsync`` or ``fsync:N``; N from 1 to 999.

    Raises:
        ValueError: it is none of these.
    """
    found = _FORM.fullmatch(text)
    if found is not None:
        return Durability(found[3] is not None, int(found[2] or found[4] or 0))
    if text != PRIMARY:
        raise ValueError('give "primary", "replicas:2", "fsync" or "fsync:2", with any number from 1 to 999')
    return None


def check(where: str, given: Any) -> None:
    """Raise ConfigurationError for what is no durability; ``where`` says who gave it."""
    try:
        read(given)
    except (TypeError, ValueError) as error:
        why = error if isinstance(error, ValueError) else 'give a text, such as "fsync"'
        raise ConfigurationError(f"durability={given!r}{where}: {why}.") from None


def strongest(several: Iterable[Durability | None]) -> Durability | None:
    """The least that has all that each of them asks for."""
    asked = [each for each in several if each is not None]
    return Durability(any(each.fsync for each in asked), max(each.replicas for each in asked)) if asked else None
