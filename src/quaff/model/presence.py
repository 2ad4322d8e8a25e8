"""What a worker says of itself, every few seconds, in a few KiB at most; and of one job, when somebody asks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

#: Processes and running jobs that it names; how many there are is told besides.
MOST_PROCESSES, MOST_RUNNING = 64, 100


class ProcessWord(msgspec.Struct, array_like=True, frozen=True):
    """One of its processes: its id in hex, pid, Unix milliseconds of its start, bytes of memory (0: unknown), how
    many jobs it runs, and whether it claims any."""

    id: str
    pid: int
    started_ms: int
    memory: int
    running: int
    serving: bool


class RunningWord(msgspec.Struct, array_like=True, frozen=True):
    """A job that it runs: its queue and partition, id in hex, number of the attempt, pid, and start (ms)."""

    queue: str
    partition: int
    id: str
    attempt: int
    pid: int
    started_ms: int


class WorkerWord(msgspec.Struct, array_like=True, frozen=True):
    """All of it; times are Unix milliseconds by the worker's clock.

    ``slots``: of all processes. ``running``: how many jobs; ``jobs``: those that began first.
    """

    name: str
    host: str
    pid: int
    version: str
    queues: list[str]
    started_ms: int
    stopping: bool
    slots: str
    memory: int
    running: int
    processes: list[ProcessWord]
    jobs: list[RunningWord]


class DumpWord(msgspec.Struct, array_like=True, frozen=True):
    """Where a job was in its code: when that was (Unix ms), who ran it, and the stacks of its process."""

    at_ms: int
    worker: str
    pid: int
    text: str


encode: Callable[[WorkerWord | DumpWord], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], WorkerWord] = msgspec.msgpack.Decoder(WorkerWord).decode
decode_dump: Callable[[bytes], DumpWord] = msgspec.msgpack.Decoder(DumpWord).decode
