"""A queue that is full, and a worker that starts: rates, and what a job costs."""

from __future__ import annotations

import time
from pathlib import Path

from bench.contestant import Contestant, Failed
from bench.line import line
from bench.plan import Cell, Sizes
from bench.processes import Processes
from bench.server import Server
from bench.slots import Slots

POLL = 0.01  # seconds between two looks
START, STALL = 30.0, 10.0  # seconds until the first job, and between two of them at most
PILOT = 300  # jobs of the first drain of a cell, which only tells how many make a good one
LEFT = 0.5  # seconds after the last job until what is left over is counted


def drain(contestant: Contestant, cell: Cell, sizes: Sizes, folder: Path) -> dict[str, float] | None:
    """Jobs a second from the first that begins to the last that ends, and costs. Raises Failed."""
    if not contestant.takes_part(cell.task, cell.kind) or (contestant.is_peer and not cell.peers):
        return None
    jobs = _jobs(contestant, cell, sizes) if cell.name in contestant.rates else PILOT
    while True:
        found = once(contestant, cell, jobs, folder)
        contestant.rates[cell.name] = found["rate"]
        enough = _jobs(contestant, cell, sizes)
        if found["jobs"] >= enough / 2:
            return found
        jobs = enough


def _jobs(contestant: Contestant, cell: Cell, sizes: Sizes) -> int:
    return max(PILOT, min(sizes.most, int(contestant.rates[cell.name] * sizes.drain)))


def once(contestant: Contestant, cell: Cell, jobs: int, folder: Path) -> dict[str, float]:
    """One drain of so many jobs."""
    results = cell.task == "echo"
    with Server(folder) as server, line(server, cell.delay_ms) as url:
        path = folder / "slots"
        slots = Slots(path, jobs)
        # One job more, for the scripts and groups that the first one brings and that are no part of a job.
        contestant.drive(server.url, "fill", cell.kind, cell.task, 1, results=results)
        before = server.counters()
        filled = contestant.drive(server.url, "fill", cell.kind, cell.task, jobs, results=results)
        queued = server.counters()
        began = time.time()
        with contestant.work(url, path, cell.processes, cell.kind, results=results) as processes:
            _wait(slots, 1, processes, START)
            seen, here, used = _begun(slots), server.counters(), processes.cpu()
            _wait(slots, jobs, processes, STALL)
            last, spent = server.counters().since(here), processes.cpu() - used
            time.sleep(LEFT)
            left, spans = server.counters(), slots.spans()
        first = min(start for start, _ in spans)
        seconds = (max(max(span) for span in spans) - first) / 1e9
        counted = max(1, jobs - seen)
        return {
            "jobs": jobs,
            "rate": jobs / seconds,
            "fill": jobs / filled["seconds"],
            "start_s": first / 1e9 - began,
            "commands": last.executed / counted,
            "round_trips": last.reads / counted,
            "server_us": last.cpu / counted * 1e6,
            "worker_us": spent / counted * 1e6,
            "bytes_queued": (queued.memory - before.memory) / jobs,
            "bytes_left": (left.memory - before.memory) / jobs,
        }


def _begun(slots: Slots) -> int:
    return sum(1 for start, _ in slots.spans() if start)


def _wait(slots: Slots, count: int, processes: Processes, patience: float) -> None:
    """Until so many jobs have begun, as long as one begins every ``patience`` seconds."""
    seen, moved = -1, time.monotonic()
    while (now := slots.first()) < count:
        processes.check()
        if now != seen:
            seen, moved = now, time.monotonic()
        elif time.monotonic() > moved + patience:
            raise Failed(f"{_begun(slots):,} of {slots.places:,} jobs began, then nothing:\n{processes.last_words()}")
        time.sleep(POLL)
