"""What priorities, turns, unique keys and limits cost: drains of no-ops with each of them, beside plain ones.

Jobs with a rate or concurrency limit are claimed for free slots only, never in advance, so that claim and start are one
moment.
"""

from __future__ import annotations

from pathlib import Path

from bench.contestant import Contestant
from bench.measures.drain import once
from bench.plan import Cell, Sizes
from bench.queues.quaff import FEATURES


def features(contestant: Contestant, sizes: Sizes, folder: Path) -> dict[str, float] | None:
    """Jobs a second by feature."""
    if contestant.name != "quaff":
        return None
    return {name: once(contestant, Cell(name, "sync"), sizes.features, folder)["rate"] for name in ("noop", *FEATURES)}
