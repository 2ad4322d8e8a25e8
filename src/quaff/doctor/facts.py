"""What a server has told, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

Level = Literal["ok", "warn", "danger", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """What was found out about one thing.

    Attributes:
        check: what was looked at.
        level: ``ok``, ``warn``, ``danger`` (jobs can be lost, or nothing works), or ``unknown``: not told.
        text: what is the case.
        remedy: what to do about it; empty where it is ``ok``.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What a server has told. ``None`` and what is missing is what it did not tell.

    Attributes:
        info: the fields of INFO.
        config: what CONFIG GET has said, by name.
        loaded: scripts that it has in memory, of those that a worker calls.
        trip, offset: seconds of a round trip; that its clock is ahead of ours.
    """

    info: dict[str, str]
    config: dict[str, str | None]
    loaded: int | None
    trip: float
    offset: float | None

    def number(self, name: str) -> int:
        """A number of INFO; 0 where it is missing."""
        text = self.info.get(name, "0")
        return int(text) if text.isdigit() else 0

    def setting(self, name: str) -> str | None:
        """A setting, from CONFIG, or from INFO, which is seldom forbidden."""
        return self.config[name] or self.info.get(name.replace("-", "_"))
