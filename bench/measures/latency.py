"""A worker that has nothing to do: what that costs, and how soon it begins a job."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contestant import Contestant, Failed
from bench.line import line
from bench.plan import Sizes
from bench.processes import Processes
from bench.server import Server
from bench.slots import Slots

START, LATE = 30.0, 10.0  # seconds until the first job, and until the last one after it was sent
SETTLED = 2.0  # seconds after the first job until a worker counts as idle


@contextmanager
def idle_worker(
    contestant: Contestant, url: str, slots: Slots, path: Path, *, results: bool = False
) -> Iterator[Processes]:
    """A worker that has run a job and has nothing more to do."""
    kind = contestant.kinds[0]
    contestant.drive(url, "fill", kind, "noop", 1, results=results)
    with contestant.work(url, path, 1, kind, results=results) as processes:
        _until_begun(slots, 1, START, processes)
        time.sleep(SETTLED)
        yield processes


def latency(contestant: Contestant, delay_ms: float | None, sizes: Sizes, folder: Path) -> dict[str, object] | None:
    """Milliseconds from before the call to the first line of the task, and what being idle costs."""
    if not contestant.takes_part("latency") or (contestant.is_peer and delay_ms is not None):
        return None
    path = folder / "slots"
    slots = Slots(path, sizes.latency)
    with (
        Server(folder) as server,
        line(server, delay_ms) as url,
        idle_worker(contestant, url, slots, path) as processes,
    ):
        resting = _idle(server, processes, sizes.idle) if delay_ms is None else {}
        slots.clear()
        told = contestant.drive(url, "latency", contestant.kinds[0], sizes.latency, contestant.about["gap"])
        _until_begun(slots, sizes.latency, LATE, processes)
        pairs = zip(slots.spans(), told["sent"], strict=True)
        took = [(began - sent) / 1e6 for (began, _), sent in pairs]
    # The first ones find connections that are not open yet.
    warm = took[len(took) // 20 :]
    return {"ms": warm, "call_p50": statistics.median(told["took"]) / 1e6, **percentiles(warm), **resting}


def answers(contestant: Contestant, delay_ms: float | None, sizes: Sizes, folder: Path) -> dict[str, object] | None:
    """Milliseconds from before the call until its result is there."""
    asks = contestant.about["asks"] and contestant.takes_part("latency")
    if not asks or (contestant.is_peer and delay_ms is not None):
        return None
    path = folder / "slots"
    slots = Slots(path, sizes.asked)
    with (
        Server(folder) as server,
        line(server, delay_ms) as url,
        idle_worker(contestant, url, slots, path, results=True),
    ):
        told = contestant.drive(
            url, "ask", contestant.kinds[0], sizes.asked, contestant.about["gap"], results=True, timeout=30
        )
    warm = told["took"][len(told["took"]) // 20 :]
    return {"ms": warm, **percentiles(warm)}


def _idle(server: Server, processes: Processes, seconds: float) -> dict[str, float]:
    """What a worker costs that does nothing: bytes, commands sent and executed a second, parts of a core."""
    before, used, began = server.counters(), processes.cpu(), time.monotonic()
    sent = server.watch(seconds)
    since, cpu, took = server.counters().since(before), processes.cpu() - used, time.monotonic() - began
    rss, pss, count = processes.memory()
    return {
        "rss": rss,
        "pss": pss,
        "processes": count,
        "sent_s": sent / took,
        "executed_s": since.executed / took,
        "worker_cpu": cpu / took,
        "server_cpu": since.cpu / took,
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    ranked = sorted(values)
    return {f"p{part}": ranked[min(len(ranked) - 1, len(ranked) * part // 100)] for part in (50, 95, 99)}


def _until_begun(slots: Slots, count: int, patience: float, processes: Processes) -> None:
    until = time.monotonic() + patience
    while slots.first() < count:
        processes.check()
        if time.monotonic() > until:
            raise Failed(f"{slots.first()} of {count} jobs began within {patience:g} s:\n{processes.last_words()}")
        time.sleep(0.01)
