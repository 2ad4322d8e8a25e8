"""Times to wait, as people give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from quaff.errors import ConfigurationError

#: Seconds. A pause longer than a year is a slip in the arithmetic, not a plan.
LONGEST = 366 * 24 * 3600.0

Seconds: TypeAlias = float | timedelta
#: Also as a text: ``"2d"``, ``"1h30m"``.
Duration: TypeAlias = float | timedelta | str

_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
#: Below so many seconds: the unit in which a duration is told, and how long that is.
_TOLD_IN = ((0.001, "µs", 1e-6), (1, "ms", 1e-3), (100, "s", 1.0), (7200, "min", 60.0), (172_800, "h", 3600.0))
_TEXT = re.compile(r"(?:\d+[wdhms])+", re.ASCII)


def instant(ms: float) -> datetime:
    """Unix milliseconds as an aware datetime in UTC; the epoch for what is no time that anybody could have written."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def checked(value: Any) -> float:
    """Seconds from 0 to LONGEST. Raises ValueError."""
    given = value.total_seconds() if isinstance(value, timedelta) else value
    if type(given) not in (int, float) or not 0 <= given <= LONGEST:  # a NaN is in no range
        raise ValueError(f"{value!r} is no time to wait: give seconds from 0 to {LONGEST:.0f}, or a timedelta")
    return float(given)


def seconds(where: str, given: Any) -> float:
    """As ``checked``, of an argument. Raises ConfigurationError."""
    try:
        return checked(given)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}.") from None


def milliseconds(given: float) -> int:
    """Seconds, to the microsecond, as whole milliseconds: rounded up, so that nothing comes before its time."""
    return -(-round(given * 1_000_000) // 1000)


def spoken(given: float) -> str:
    """Seconds in few characters: ``12 ms``, ``3.4 s``, ``2.0 h``."""
    for most, unit, size in _TOLD_IN:
        if given < most:
            value = given / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{given / 86_400:.0f} d"


def duration(where: str, given: Any) -> float:
    """Seconds, of an argument that may also be a text such as ``"1h30m"``. Raises ConfigurationError."""
    if not isinstance(given, str):
        return seconds(where, given)
    if not _TEXT.fullmatch(given):
        raise ConfigurationError(f"{where}: {given!r} is no time to wait: give '2d', '1h30m', seconds, or a timedelta.")
    return seconds(where, sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(.)", given)))
