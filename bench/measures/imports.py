"""How long every program waits that imports a queue."""

from __future__ import annotations

import statistics

from bench.contestant import Contestant
from bench.plan import Sizes


def imports(contestant: Contestant, sizes: Sizes) -> dict[str, float] | None:
    """Milliseconds, of a new interpreter each."""
    if not contestant.takes_part("imports"):
        return None
    return {"ms": statistics.median(contestant.import_seconds() * 1000 for _ in range(sizes.imports))}
