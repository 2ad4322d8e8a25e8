"""How values look on a page: the filters of the templates."""

from __future__ import annotations

import re
from datetime import datetime

from markupsafe import Markup

from quaff.model import sizes

#: Nothing of this has a place in a page: what a terminal obeys, and what turns the direction of the text around it.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def when(at: datetime | None) -> str | Markup:
    """An instant, in UTC; with scripts the page tells how long ago instead."""
    if at is None:
        return "–"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%SZ"))


def lasting(seconds: float | None) -> str:
    """A duration: ``140 µs``, ``340 ms``, ``2.4 s``, ``3 min 20 s``, ``2 d 4 h``."""
    if seconds is None:
        return "–"
    if seconds == 0:
        return "< 1 ms"  # what jobs and attempts say of themselves they say in whole milliseconds
    if 0 < seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    left, parts = round(seconds), []
    for unit, name in _UNITS:
        if left >= unit:
            parts.append(f"{left // unit} {name}")
            left %= unit
    return " ".join(parts[:2])


def number(value: float | None) -> str:
    """``1,234``; a fraction keeps one digit."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def size(count: float | None) -> str:
    """Bytes: ``4.2 MiB``, ``128 KiB``."""
    return "–" if count is None else sizes.told(count)


def plural(count: int, word: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def seen(page: str) -> str:
    """A page in which characters that nobody would see, and that do something all the same, are shown instead."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), page)


FILTERS = {each.__name__: each for each in (when, lasting, number, size, plural)}
