"""The bare script loop: the calls that a Quaff worker and a producer make, with no framework around them.

Same scripts, same messages, same records, eight threads fed by a queue. It is made as fast as its author could make
it, because a slow floor flatters what stands on it: arguments are laid out flat by hand, the next claim travels with
the last settles, and threads get jobs sixteen at a time. What it leaves out is what Quaff is for: no type hints, no
start records, no contexts, no errors, no retries, no waking, no stopping, one queue.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import msgspec
import redis

from bench.queues import URL
from bench.tasks import BODIES
from quaff.model import message
from quaff.store.keys import partition
from quaff.store.scripts import load

TITLE = "bare script loop"
PACKAGES = ("msgspec",)
SETTINGS = "Quaff's scripts in a loop, eight threads, at most 200 jobs held"
GUARANTEE = "as Quaff, once somebody sweeps"
REDELIVERS = True
SLOTS = {"sync": 8}
IMPORT = "import redis, msgspec"
FLOOR_OF = ("enqueue", "noop", "echo")

Job = tuple[bytes, bytes, bytes]  # id, message, lease token

HELD = 200  # the best of 100, 200, 400 and 800
CHUNK = 16  # jobs a thread takes at once: one by one costs a fifth
PAUSE = 0.0002  # seconds; the loop has nothing to do until the threads have finished something
FIELDS = 6  # arguments of one job in a settle
LEASE_MS, WINDOW_MS, RESULT_MS = 30_000, 3_600_000, 500_000  # Quaff's defaults
PLACE = partition("quaff", "default")
ENQUEUE = load("enqueue")
KEYS = PLACE.keys(ENQUEUE.keys)
client: Any = redis.Redis.from_url(URL, protocol=2)


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[sys.executable, "-m", "bench.queues.bare"]] * processes


def connect() -> None:
    client.script_load(ENQUEUE.source)


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> None:
    """One EVALSHA, by the client that Quaff uses."""
    data = message.encode(task, list(args), {})
    client.evalsha(ENQUEUE.sha, len(KEYS), *KEYS, os.urandom(16), data)


def bulk(kind: str, task: str, calls: Sequence[tuple[Any, ...]]) -> None:
    flat: list[bytes] = []
    for args in calls:
        flat += (os.urandom(16), message.encode(task, list(args), {}))
    client.evalsha(ENQUEUE.sha, len(KEYS), *KEYS, *flat)


def work(inbox: SimpleQueue[list[Job]], done: deque[list[Any]]) -> None:
    """One thread: messages in, the arguments of a settle out."""
    decode = msgspec.msgpack.Decoder().decode
    encode = msgspec.msgpack.Encoder().encode
    pid, tasks = os.getpid(), BODIES["sync"]
    while True:
        outcomes: list[Any] = []
        for id, data, token in inbox.get():
            began = time.time()
            task, args, kwargs, created_ms = decode(memoryview(data)[1:])
            value = tasks[task](*args, **kwargs)
            attempt = (1, int(began * 1000), int(time.time() * 1000), "floor", pid, "succeeded", None)
            outcomes += (id, token, b"s", RESULT_MS, b"", encode((task, created_ms, attempt, value)))
        done.append(outcomes)


def serve(threads: int) -> None:
    """Claim, run and settle until killed."""
    inbox: SimpleQueue[list[Job]] = SimpleQueue()
    done: deque[list[Any]] = deque()
    for _ in range(threads):
        threading.Thread(target=work, args=(inbox, done), daemon=True).start()
    for name in ("settle", "claim"):
        client.script_load(load(name).source)
    connection = client.connection_pool.get_connection()
    settle, claim = load("settle").head(PLACE), load("claim").head(PLACE)
    process = os.urandom(8)
    held = number = 0
    while True:
        outcomes: list[Any] = []
        while done:
            outcomes += done.popleft()
        held -= len(outcomes) // FIELDS
        if not outcomes and held > HELD // 2:
            time.sleep(PAUSE)
            continue
        commands: list[tuple[Any, ...]] = [(*settle, process, WINDOW_MS, *outcomes)] if outcomes else []
        number += 1
        commands.append((*claim, process, number, os.urandom(8).hex(), HELD - held, 0, int(held == 0), LEASE_MS))
        connection.send_packed_command(connection.pack_commands(commands))
        answer = [connection.read_response() for _ in commands][-1]
        leases = list(zip(answer[7::3], answer[8::3], answer[9::3], strict=True))
        if not leases and not outcomes:
            time.sleep(PAUSE)
        held += len(leases)
        for at in range(0, len(leases), CHUNK):
            inbox.put(leases[at : at + CHUNK])


if __name__ == "__main__":
    serve(SLOTS["sync"])
