"""``quaff worker``."""

from __future__ import annotations

import sys

import click

from quaff.model.options import check_name

#: Worker processes that can be asked for: a port number, given by mistake, must not bring a machine down.
MOST = 512


def queue_names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    """``a,b`` as a list; names that cannot be are refused."""
    if value is None:
        return None
    return [check_name("queue", name.strip()) for name in value.split(",")]


@click.command()
@click.option("-A", "--app", required=True, metavar="MODULE:OBJECT", help="The application; a factory is called.")
@click.option(
    "-Q", "--queues", callback=queue_names, metavar="A,B", help="Queues to serve, best first. [all that the tasks name]"
)
@click.option("-p", "--processes", type=click.IntRange(1, MOST), help="Worker processes. [CPUs]")
@click.option("-c", "--concurrency", type=click.IntRange(min=1, max=1024), help="Threads in each process. [8]")
@click.option("--grace", type=click.FloatRange(min=0), help="Seconds that running jobs get at a stop. [25]")
@click.option("-n", "--name", default="", help="The worker's name. [host-pid]")
@click.option("-l", "--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
def worker(
    app: str,
    queues: list[str] | None,
    processes: int | None,
    concurrency: int | None,
    grace: float | None,
    name: str,
    log_level: str,
) -> None:
    """Run jobs until SIGTERM or Ctrl+C; a second one gives everything back at once."""
    from quaff.worker.supervisor import Plan, serve

    flags: dict[str, str | int | float] = {} if concurrency is None else {"concurrency": concurrency}
    sys.exit(serve(Plan(app, queues, processes, grace, flags, name, log_level)))
