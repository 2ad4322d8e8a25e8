"""Whether a claim costs more in front of a million jobs than in front of a thousand."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import redis

from bench.contestant import Contestant
from bench.plan import BACKLOGS, Sizes
from bench.queues.bare import LEASE_MS
from bench.server import Server
from quaff.model import message
from quaff.store.keys import partition
from quaff.store.scripts import load

BULK = 500


def claims(contestant: Contestant, sizes: Sizes, folder: Path) -> dict[str, float] | None:
    """Microseconds of a claim of one job at each backlog, as the client sees it; and bytes of a queued job there."""
    if contestant.name != "quaff":
        return None
    place, found = partition("quaff", "default"), {}
    enqueue, claim = load("enqueue"), load("claim")
    data = message.encode("noop", [1], {})
    with Server(folder) as server:
        client = redis.Redis(host="127.0.0.1", port=server.port, protocol=2)
        for script in (enqueue, claim):
            client.script_load(script.source)
        connection: Any = client.connection_pool.get_connection()
        process, number, jobs, empty = os.urandom(8), 0, 0, server.counters().memory
        for backlog in BACKLOGS:
            while jobs < backlog:
                count = min(BULK, backlog - jobs)
                flat = [each for _ in range(count) for each in (os.urandom(16), data)]
                connection.send_command(*enqueue.head(place), *flat)
                connection.read_response()
                jobs += count
            found[f"bytes_{backlog}"] = (server.counters().memory - empty) / jobs
            took = []
            for _ in range(sizes.claims):
                number += 1
                command = (*claim.head(place), process, number, os.urandom(8).hex(), 1, 1, 0, LEASE_MS)
                began = time.perf_counter()
                connection.send_command(*command)
                connection.read_response()
                took.append((time.perf_counter() - began) * 1e6)
            found[f"us_{backlog}"] = statistics.median(took)
    return found
