"""``quaff info``, ``queues``, ``tasks`` and ``top``: how things stand."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from quaff.cli.application import application, as_json, homes_of, inspector_of, inspector_over, nothing_of
from quaff.cli.printing import ago, counted, plain, put_json, put_table, size, summary, table, took

if TYPE_CHECKING:
    from quaff.app import Quaff
    from quaff.inspector import Inspector
    from quaff.inspector.shapes import QueueRow, TaskRow, WorkerRow

#: The columns of each table.
QUEUES = ("QUEUE", *">QUEUED >RUNNING >SCHEDULED >BLOCKED >FAILED >ENDED/H >WAITED >WORKERS NOTES".split())
WORKERS = ("WORKER", ">PROCESSES", ">RUNNING", ">MEMORY", "SINCE", "QUEUES")
TASKS = ("TASK", *">ENDED >FAILED >RETRIED >RAN >WAITED >TIME >MEMORY >SIZE >BYTES LAST QUEUES".split())
FAILURES = ("FAILS", "WITH", "IN", ">TIMES", "LAST", "SAYS")


def _queue(row: QueueRow) -> tuple[object, ...]:
    stats = row.stats
    notes = []
    if stats.paused:
        notes.append(f"paused, resumes in {took(stats.resumes_in)}" if stats.resumes_in else "paused")
    if stats.parked:
        notes.append(f"{stats.parked} parked: blocked, or claimed by a worker that does not know their task")
    if stats.head_since and stats.queued:
        notes.append(f"head sent {ago(stats.head_since)}")
    return (
        *(row.name, stats.queued, stats.running, stats.scheduled, stats.blocked, stats.dead_letters),
        *(row.recent.ended, took(row.recent.wait.percentile(0.95)), row.workers, "; ".join(notes)),
    )


def _worker(row: WorkerRow) -> tuple[object, ...]:
    state = " (stopping)" if row.stopping else ""
    return (
        row.name + state,
        len(row.processes),
        row.running,
        size(row.memory),
        ago(row.started_at),
        ",".join(row.queues),
    )


def _task(row: TaskRow) -> tuple[object, ...]:
    total = row.total
    return (
        *(row.name, total.ended, total.failed, total.retried, took(total.run.percentile(0.95))),
        *(took(total.wait.percentile(0.95)), took(total.run.sum), size(total.memory.percentile(0.95))),
        *(size(total.stored_each), size(total.stored), ago(row.last_at), ",".join(row.queues)),
    )


def _document(row: QueueRow) -> dict[str, Any]:
    import msgspec

    return {"name": row.name, **msgspec.to_builtins(row.stats), "workers": row.workers, "recent": summary(row.recent)}


def _costs(row: TaskRow) -> dict[str, Any]:
    return {"name": row.name, "queues": row.queues, "last_at": row.last_at, "total": summary(row.total)}


def server_of(quaff: Quaff) -> dict[str, Any]:
    """Where the server is, and what it says that it is."""
    from quaff.store.probe import Line
    from quaff.store.urls import mask

    (told,) = Line(quaff.store.endpoint).ask([("INFO", "server")])
    text = told if isinstance(told, dict) else _fields(told)
    version = text.get("valkey_version") or text.get("redis_version")
    pid = str(text.get("process_id", ""))
    return {"url": mask(quaff.settings.url), "pid": int(pid) if pid.isdigit() else None, "version": version}


def _fields(told: Any) -> dict[str, str]:
    lines = told.decode(errors="replace").splitlines() if isinstance(told, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


@click.command(short_help="How things stand: server, queues, workers.")
@application
@as_json
def info(app: str | None, queues: str | None, as_json: bool) -> None:
    """Show the server, each queue with its jobs, and the workers."""
    quaff, homes, untold = homes_of(app, queues)
    server, seen = server_of(quaff), inspector_over(quaff, homes).overview()
    if nothing := nothing_of(quaff, homes, queues, untold):
        click.echo(nothing, err=as_json)
    if as_json:
        put_json(
            {
                "server": server,
                "namespace": quaff.settings.namespace,
                "queues": [_document(row) for row in seen.queues],
                "workers": seen.workers,
            }
        )
        return
    version = plain(server["version"] or "unknown")
    click.echo(f"{plain(quaff.store.endpoint.where)}, version {version}, namespace {quaff.settings.namespace}\n")
    put_table(QUEUES, [_queue(row) for row in seen.queues], "no queues")
    click.echo()
    put_table(WORKERS, [_worker(row) for row in seen.workers], _no_workers(quaff))


@click.command(short_help="Each queue with its jobs.")
@application
@as_json
def queues(app: str | None, queues: str | None, as_json: bool) -> None:
    """Show how many jobs of each queue are where."""
    _, inspector = inspector_of(app, queues)
    rows = inspector.queues()
    if as_json:
        put_json({"queues": [_document(row) for row in rows]})
    else:
        put_table(QUEUES, [_queue(row) for row in rows], "no queues")


@click.command(short_help="Each task with what it costs.")
@application
@click.option(
    "--by", default="name", show_default=True, help="name, failures, slowest, waits, time, memory, size, bytes."
)
@as_json
def tasks(app: str | None, queues: str | None, by: str, as_json: bool) -> None:
    """Show what the tasks of the last fourteen days cost: time, memory, bytes on the server.

    RAN, WAITED and MEMORY are what 95 % did not exceed; TIME is that of all attempts, SIZE what the server was given of
    a job, BYTES of all.
    """
    rows = inspector_of(app, queues)[1].tasks(by)
    if as_json:
        put_json({"tasks": [_costs(row) for row in rows]})
    else:
        put_table(TASKS, [_task(row) for row in rows], "no task has run")


@click.command(short_help="The same, live in the terminal.")
@application
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.2, 3600), help="Seconds.")
@click.option("--once", is_flag=True, help="Show it once; also where the output is no terminal.")
def top(app: str | None, queues: str | None, every: float, once: bool) -> None:
    """Show queues, workers and the last failures, again and again until Ctrl+C."""
    quaff, inspector = inspector_of(app, queues)
    if once or not sys.stdout.isatty():
        click.echo("\n".join(_screen(quaff, inspector)))
        return
    # Another screen, without a cursor; whatever happens, the old one comes back.
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        while True:
            columns, rows = shutil.get_terminal_size()
            lines = [line[:columns] for line in _screen(quaff, inspector, columns)[: rows - 1]]
            sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
            time.sleep(every)
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()


def _screen(quaff: Quaff, inspector: Inspector, width: int | None = None) -> list[str]:
    from quaff.errors import ServerUnavailable

    head = f"{plain(quaff.store.endpoint.where)}  namespace {quaff.settings.namespace}  {time.strftime('%H:%M:%S')}"
    try:
        seen = inspector.overview()
    except ServerUnavailable as error:
        return [head, "", plain(error)]
    ended = [each.counts.ended for each in seen.throughput]
    lines = [head, f"last 60 minutes  {_bars(ended)}  {counted(sum(ended[-2:-1]), 'job')} in the last whole one", ""]
    lines += table(QUEUES, [_queue(row) for row in seen.queues], width)
    workers = [_worker(row) for row in seen.workers]
    lines += ["", *(table(WORKERS, workers, width) if workers else [_no_workers(quaff)])]
    if seen.failures:
        rows = [(row.task, row.error, row.frame, row.attempts, ago(row.last_at), row.message) for row in seen.failures]
        lines += ["", *table(FAILURES, rows, width)]
    return lines


def _no_workers(quaff: Quaff) -> str:
    return f"no workers at {plain(quaff.store.endpoint.where)}"


def _bars(numbers: list[int]) -> str:
    most = max(numbers, default=0)
    return "".join(" ▁▂▃▄▅▆▇█"[-(-each * 8 // most) if most else 0] for each in numbers)
