"""One producer and no worker: jobs a second, one by one, in a batch block and in bulk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.contestant import Contestant
from bench.plan import Sizes
from bench.server import Server


def enqueue(contestant: Contestant, sizes: Sizes, folder: Path) -> dict[str, Any] | None:
    """Rates by way, and processor time of the producer in microseconds a job."""
    if not contestant.takes_part("enqueue"):
        return None
    with Server(folder) as server:
        found: dict[str, Any] = contestant.drive(server.url, "enqueue", contestant.kinds[0], sizes.enqueue)
        return found
