"""A bare BLPOP followed by one script call: the least that an idle worker can do to get a job with a lease.

The job is claimed by Quaff's script and runs in the thread that waited, so no thread has to be woken for it. It is
sent as the bare loop's jobs are.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import redis

from bench.queues import URL, bare
from bench.tasks import BODIES
from quaff.model import message
from quaff.store.scripts import load

TITLE = "bare BLPOP + script"
PACKAGES = bare.PACKAGES
SETTINGS = "BLPOP of Quaff's wake-up key, then its claim, run, settle; one thread"
GUARANTEE = bare.GUARANTEE
REDELIVERS = True
SLOTS = {"sync": 1}
IMPORT = bare.IMPORT
FLOOR_OF = ("latency",)

connect, enqueue = bare.connect, bare.enqueue


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[sys.executable, "-m", "bench.queues.bare_wait"]] * processes


def serve() -> None:
    """Until killed."""
    for name in ("claim", "settle"):
        bare.client.script_load(load(name).source)
    # Without redis-py's own limit of some seconds: an idle worker waits for as long as there is nothing.
    client: Any = redis.Redis.from_url(URL, protocol=2, socket_timeout=None)
    connection = client.connection_pool.get_connection()
    claim, settle = load("claim").head(bare.PLACE), load("settle").head(bare.PLACE)
    wait = connection.pack_command("BLPOP", bare.PLACE.key("wake"), 0)
    process, number = os.urandom(8), 0
    while True:
        number += 1
        # Made before the wait: between the token and the job there is nothing but one round trip.
        asking = connection.pack_command(*claim, process, number, os.urandom(8).hex(), 1, 1, 1, bare.LEASE_MS)
        connection.send_packed_command(wait)
        connection.read_response()
        connection.send_packed_command(asking)
        lease = connection.read_response()[7:]
        if lease:
            id, data, token = lease
            call = message.decode(data)
            BODIES["sync"][call.task](*call.args)
            connection.send_command(*settle, process, bare.WINDOW_MS, id, token, b"s", bare.RESULT_MS, b"", b"")
            connection.read_response()


if __name__ == "__main__":
    serve()
