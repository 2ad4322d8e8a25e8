"""The metrics that Prometheus is given, by name, and the text that they are given as.

Nothing that is different for each job is a label, and no more than ``MOST_TASKS`` tasks are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from quaff.model.histogram import BUCKETS, Histogram

#: Tasks that are told apart by name; further ones are ``OTHER`` together.
MOST_TASKS, OTHER = 200, "other"

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Family(NamedTuple):
    """One metric: its name without what its kind adds to it, its kind, its labels, and what it says."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


#: A value of a metric by the values of its labels, in the order of their names.
Samples = Sequence[tuple[tuple[str, ...], float | Histogram]]

UP = Family("quaff_up", "gauge", (), "1 if the server answers, else 0.")

# A worker, told by its supervisor.
TASKS = Family("quaff_tasks", "counter", ("task", "queue", "outcome"), "Attempts that have ended, by how.")
DURATION = Family("quaff_task_duration_seconds", "histogram", ("task", "queue"), "How long attempts ran.")
WAIT = Family(
    "quaff_task_wait_seconds", "histogram", ("task", "queue"), "How long jobs waited for their first attempt."
)
GREW = Family(
    "quaff_task_memory_bytes",
    "histogram",
    ("task", "queue"),
    "By how much the process grew while an attempt ran in it.",
)
STORED = Family("quaff_task_stored_bytes", "counter", ("task", "queue"), "What the server was given of jobs.")
RUNNING = Family("quaff_tasks_running", "gauge", ("queue",), "Attempts that run now.")
PROCESSES = Family("quaff_worker_processes", "gauge", ("state",), "Processes of this worker.")
CRASHES = Family("quaff_worker_process_crashes", "counter", (), "Processes that ended without being told to.")
MEMORY = Family("quaff_worker_memory_bytes", "gauge", (), "Memory of the supervisor and its processes (RSS).")
STARTED = Family("quaff_worker_start_time_seconds", "gauge", (), "When this worker was started, Unix seconds.")

# Queues, told by whoever asks the server.
DEPTH = Family("quaff_queue_depth", "gauge", ("queue", "state"), "Jobs that are kept in a queue, by state.")
PARKED = Family(
    "quaff_queue_parked", "gauge", ("queue",), "Queued jobs that are blocked, or whose task a worker did not know."
)
BACKLOG = Family("quaff_queue_backlog", "gauge", ("queue",), "Jobs that a worker could run now, or runs.")
AGE = Family("quaff_queue_oldest_age_seconds", "gauge", ("queue",), "Since when the head of the line was sent.")
PAUSED = Family("quaff_queue_paused", "gauge", ("queue",), "1 while nothing is handed out.")
JOBS = Family("quaff_queue_jobs", "counter", ("queue", "event"), "What became of jobs since the queue exists.")
SERVED = Family("quaff_queue_workers", "gauge", ("queue",), "Workers that serve a queue.")
WORKERS = Family("quaff_workers", "gauge", (), "Workers that serve any of these queues.")
LAG = Family("quaff_schedule_lag_seconds", "gauge", (), "How late the schedule is that should have fired first.")

FAMILIES = (
    *(UP, TASKS, DURATION, WAIT, GREW, STORED, RUNNING, PROCESSES, CRASHES, MEMORY, STARTED),
    *(DEPTH, PARKED, BACKLOG, AGE, PAUSED, JOBS, SERVED, WORKERS, LAG),
)

#: Every fourth of the buckets that are counted: each ends at four times the end of the one before.
_STEP = 4


def render(found: Iterable[tuple[Family, Samples]], *, open_metrics: bool = False) -> str:
    """The text format of Prometheus, or that of OpenMetrics."""
    lines: list[str] = []
    for family, samples in found:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        titled = family.name if open_metrics else name
        lines += [f"# HELP {titled} {family.help}", f"# TYPE {titled} {family.kind}"]
        for values, value in samples:
            labels = [f'{label}="{_escaped(each)}"' for label, each in zip(family.labels, values, strict=True)]
            if isinstance(value, Histogram):
                lines += _histogram(family.name, labels, value)
            else:
                lines.append(_line(name, labels, value))
    return "\n".join([*lines, *(["# EOF"] if open_metrics else []), ""])


def _histogram(name: str, labels: list[str], found: Histogram) -> Iterator[str]:
    for last in range(0, BUCKETS, _STEP):
        # What is in the last one may be longer than it says.
        within = sum(count for bucket, count in found.counts.items() if bucket <= last and bucket < BUCKETS - 1)
        yield _line(f"{name}_bucket", [*labels, f'le="{found.end(last):.10g}"'], within)
    yield _line(f"{name}_bucket", [*labels, 'le="+Inf"'], found.count)
    yield _line(f"{name}_sum", labels, found.sum)
    yield _line(f"{name}_count", labels, found.count)


def _line(name: str, labels: list[str], value: float) -> str:
    number = str(value) if isinstance(value, int) or not math.isfinite(value) else f"{value:.15g}"
    return f"{name}{{{','.join(labels)}}} {number}" if labels else f"{name} {number}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
