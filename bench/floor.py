"""The bare script loop: the calls a Quaff worker makes, with no framework around them. ``drain.py`` starts it.

Same scripts, same messages, same records, eight threads fed by a queue. It is made as fast as its author could make
it, because a slow floor flatters what stands on it: arguments are laid out flat by hand, the next claim travels with
the last settles, and threads get jobs sixteen at a time. What it leaves out is what Quaff is for: no type hints, no
start records, no contexts, no errors, no retries, no waking, no stopping, one queue, one kind of task.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import msgspec
import redis

from quaff.store.keys import Partition, partition
from quaff.store.scripts import load

Job = tuple[bytes, bytes, bytes]  # id, message, lease token

CHUNK = 16  # jobs a thread takes at once: one by one costs a fifth
PAUSE = 0.0002  # seconds; the loop has nothing to do until the threads have finished something
FIELDS = 6  # arguments of one job in a settle
LEASE_MS, WINDOW_MS, RESULT_MS = 30_000, 3_600_000, 500_000  # Quaff's defaults


def work(inbox: SimpleQueue[list[Job]], done: deque[list[Any]], tasks: dict[str, Callable[..., Any]]) -> None:
    """One thread: messages in, the arguments of a settle out."""
    decode = msgspec.msgpack.Decoder().decode
    encode = msgspec.msgpack.Encoder().encode
    pid = os.getpid()
    while True:
        outcomes: list[Any] = []
        for id, message, token in inbox.get():
            began = time.time()
            task, args, kwargs, created_ms = decode(memoryview(message)[1:])
            value = tasks[task](*args, **kwargs)
            attempt = (1, int(began * 1000), int(time.time() * 1000), "floor", pid, "succeeded", None)
            outcomes += (id, token, b"s", RESULT_MS, b"", encode((task, created_ms, attempt, value)))
        done.append(outcomes)


def drain(connection: Any, place: Partition, jobs: int, threads: int, prefetch: int) -> None:
    """Claim, run and settle until ``jobs`` have been settled."""
    inbox: SimpleQueue[list[Job]] = SimpleQueue()
    done: deque[list[Any]] = deque()
    tasks = {"noop.noop": lambda number: None}
    for _ in range(threads):
        threading.Thread(target=work, args=(inbox, done, tasks), daemon=True).start()
    settle, claim = load("settle").head(place), load("claim").head(place)
    process = os.urandom(8)
    settled = held = number = 0
    while settled < jobs:
        outcomes: list[Any] = []
        while done:
            outcomes += done.popleft()
        held -= len(outcomes) // FIELDS
        settled += len(outcomes) // FIELDS
        if not outcomes and prefetch - held < prefetch // 2:
            time.sleep(PAUSE)
            continue
        commands: list[tuple[Any, ...]] = [(*settle, process, WINDOW_MS, *outcomes)] if outcomes else []
        number += 1
        count = min(500, prefetch - held)
        commands.append((*claim, process, number, os.urandom(8).hex(), count, 0, int(held == 0), LEASE_MS))
        connection.send_packed_command(connection.pack_commands(commands))
        answer = [connection.read_response() for _ in commands][-1]
        leases = list(zip(answer[6::3], answer[7::3], answer[8::3], strict=True))
        held += len(leases)
        for at in range(0, len(leases), CHUNK):
            inbox.put(leases[at : at + CHUNK])


def main() -> None:
    """Drain the queue, then stay until standard input closes, so that what this process used can still be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("--namespace", default="quaff")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--prefetch", type=int, default=200)
    given = parser.parse_args()
    pool = redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=given.socket, protocol=2)
    connection: Any = pool.get_connection()
    for name in ("claim", "settle"):
        connection.send_command("SCRIPT", "LOAD", load(name).source)
        connection.read_response()
    drain(connection, partition(given.namespace, "default"), given.jobs, given.threads, given.prefetch)
    sys.stdin.read()


if __name__ == "__main__":
    main()
