"""What ran, written by the tasks themselves, outside the server: one append-only file per process.

A line is one ``write`` to a file opened with O_APPEND, so a SIGKILL never tears it and the page cache keeps it; only
who reads meanwhile may see half of it.
Times are those of CLOCK_BOOTTIME, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
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
    """

    job: str
    tag: str
    attempt: int
    pid: int
    parent: int
    started: float
    ended: float | None


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
    finally:
        write(event="end", **job)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Every line of every process, oldest first; not one that is being written, which has no end yet."""
    whole = (path.read_text().rpartition("\n")[0] for path in folder.glob("*.jsonl"))
    found = [json.loads(line) for text in whole for line in text.splitlines()]
    return sorted(found, key=lambda line: float(line["at"]))


def runs(folder: Path) -> list[Run]:
    """Every run, in the order of their starts."""
    found: list[Run] = []
    open_runs: dict[tuple[str, int, int], int] = {}
    for line in lines(folder):
        if line.get("event") not in ("start", "end"):
            continue
        which = (line["job"], line["pid"], line["attempt"])
        if line["event"] == "start":
            open_runs[which] = len(found)
            found.append(Run(line["job"], line["tag"], line["attempt"], line["pid"], line["parent"], line["at"], None))
        elif which in open_runs:
            begun = found[open_runs[which]]
            found[open_runs.pop(which)] = Run(**{**vars(begun), "ended": line["at"]})
    return found
