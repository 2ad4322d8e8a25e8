"""What was sent and what ran, as producers and tasks wrote it, outside the server: one append-only file per process.

A line is one ``write`` to a file opened with O_APPEND, so a SIGKILL never tears it and the page cache keeps it; only
who reads meanwhile may see half of it.
Times are those of CLOCK_BOOTTIME, which all processes of a machine share.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The environment variable with the directory of the ledger.
FOLDER = "LEDGER"

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_files: dict[int, int] = {}


@dataclass(frozen=True)
class Run:
    """One run of a job: ``ended`` is None if the process did not live to see it.

    Attributes:
        job: the job's id.
        tag: what the task called itself, for a reader.
        attempt: ``current_job.attempt``.
        pid, parent: the process and, when the run began, its supervisor.
        started, ended: seconds of CLOCK_BOOTTIME.
        raised: whether it ended by an exception.
    """

    job: str
    tag: str
    attempt: int
    pid: int
    parent: int
    started: float
    ended: float | None
    raised: bool = False


@dataclass(frozen=True)
class Sending:
    """One call of a producer.

    Attributes:
        tag: what the job calls itself when it runs.
        outcome: ``accepted``, ``refused`` (for certain), or ``unknown``, also where the producer did not live to say.
        job: the id, where the producer knew it.
        began, ended: when it was sent, and when that was over (the far future if the producer died).
    """

    tag: str
    outcome: str
    job: str
    began: float
    ended: float


def now() -> float:
    """Seconds of the clock that every line carries."""
    return time.clock_gettime(_CLOCK)


def write(**record: Any) -> None:
    """Append one line to this process's file."""
    pid = os.getpid()
    if pid not in _files:
        path = Path(os.environ[FOLDER]) / f"{pid}.jsonl"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.write(_files[pid], json.dumps({"pid": pid, "at": now()} | record).encode() + b"\n")


@contextmanager
def run(tag: str = "") -> Iterator[None]:
    """Around the body of a task: its start, and its end however it ended, unless the process was killed."""
    from quaff import current_job

    job = {"job": current_job.id, "tag": tag, "attempt": current_job.attempt, "parent": os.getppid()}
    write(event="start", **job)
    try:
        yield
    except BaseException:
        write(event="end", raised=True, **job)
        raise
    write(event="end", **job)


def lines(folder: Path, pids: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """Every line of every process or of some, oldest first; not one that is being written, which has no end yet."""
    names = folder.glob("*.jsonl") if pids is None else (folder / f"{pid}.jsonl" for pid in pids)
    whole = (path.read_text().rpartition("\n")[0] for path in names if path.exists())
    found = [json.loads(line) for text in whole for line in text.splitlines()]
    return sorted(found, key=lambda line: float(line["at"]))


def runs(folder: Path, pids: Iterable[int] | None = None) -> list[Run]:
    """Every run, or those in some processes, in the order of their starts."""
    found: list[Run] = []
    open_runs: dict[tuple[str, int, int], int] = {}
    for line in lines(folder, pids):
        if line.get("event") not in ("start", "end"):
            continue
        which = (line["job"], line["pid"], line["attempt"])
        if line["event"] == "start":
            open_runs[which] = len(found)
            found.append(Run(line["job"], line["tag"], line["attempt"], line["pid"], line["parent"], line["at"], None))
        elif which in open_runs:
            begun = found[open_runs[which]]
            ended = {"ended": line["at"], "raised": line.get("raised", False)}
            found[open_runs.pop(which)] = Run(**vars(begun) | ended)
    return found


def starts(folder: Path, tag: str) -> int:
    """How often a job began, of those that began in the last minute: an hour's ledger is too long to be read often."""
    recent = time.time() - 60
    mark = f'"tag": "{tag}"'.encode()
    return sum(
        mark in line and b'"event": "start"' in line
        for path in folder.glob("*.jsonl")
        if path.stat().st_mtime > recent
        for line in path.read_bytes().splitlines()
    )


def sendings(folder: Path) -> list[Sending]:
    """Every call of every producer."""
    found: list[Sending] = []
    begun: dict[str, float] = {}
    for line in lines(folder):
        if line.get("event") == "send":
            begun[line["tag"]] = line["at"]
        elif line.get("event") == "sent":
            tag = line["tag"]
            found.append(Sending(tag, line["outcome"], line["job"], begun.pop(tag), line["at"]))
    return found + [Sending(tag, "unknown", "", at, math.inf) for tag, at in begun.items()]
