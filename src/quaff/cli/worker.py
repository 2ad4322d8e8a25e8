"""``quaff worker``."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from quaff.model.ids import check_name

if TYPE_CHECKING:
    from quaff.worker.plan import Plan

#: Worker processes that can be asked for: a port number, given by mistake, must not bring a machine down.
MOST = 512


def queue_weights(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, int] | None:
    """``a,b`` or ``a:6,b:1`` as a dict, 0 where no weight is given; names that cannot be are refused."""
    if value is None:
        return None
    found: dict[str, int] = {}
    for part in value.split(","):
        name, colon, weight = part.strip().partition(":")
        if colon and not re.fullmatch("[1-9][0-9]{0,3}", weight):
            raise click.BadParameter(f"{part!r}: a weight is a whole number from 1 to 9999.", ctx, param)
        found[check_name("queue", name)] = int(weight or 0)
    if 0 in found.values() and any(found.values()):
        raise click.BadParameter(f"{value!r}: give each queue a weight, or none.", ctx, param)
    return found


def size(value: object) -> int:
    """The type of an option: bytes, as ``1000000``, ``512M``, ``1.5G``."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)i?B?", str(value), re.IGNORECASE)
    size = int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " ")) if found else 0
    if size < 2**20:
        raise click.BadParameter(f"{value!r}: give a size of at least 1M, such as 512M or 2G.")
    return size


def named(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """The application; where none is named, an error that shows how it is done."""
    if value is None:
        text = "Name the application: quaff worker -A shop:create_app, or shop:quaff, for what is in shop.py."
        raise click.MissingParameter(text, ctx, param)
    return value


@click.command(short_help="Run jobs.")
@click.option(
    *("-A", "--app"), callback=named, metavar="MODULE:OBJECT", help="The application; a factory is called.  [required]"
)
@click.option(
    *("-Q", "--queues"),
    callback=queue_weights,
    metavar="A,B",
    help="Queues to serve, best first, or by weight: A:6,B:1. [all that the tasks name]",
)
@click.option("-p", "--processes", type=click.IntRange(1, MOST), help="Worker processes. [CPUs]")
@click.option("-c", "--concurrency", type=click.IntRange(min=1, max=1024), help="Threads in each process. [8]")
@click.option("-b", "--burst", is_flag=True, help="End when nothing waits in the queues any more.")
@click.option("--grace", type=click.FloatRange(min=0), help="Seconds that running jobs get at a stop. [25]")
@click.option("--max-jobs", type=click.IntRange(min=1), help="Replace a process that has ended so many jobs.")
@click.option("--max-memory", type=size, metavar="SIZE", help="Replace a process that has more, such as 512M.")
@click.option("--max-age", type=click.FloatRange(min=1), metavar="SECONDS", help="Replace a process that is older.")
@click.option("--reload", is_flag=True, help="Replace the processes when a Python file here changes.")
@click.option("-n", "--name", default="", help="The worker's name. [host-pid]")
@click.option("--health", metavar="HOST:PORT", help="Answer /livez, /readyz, /metrics and /autoscale there.")
@click.option("-l", "--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", default="text", show_default=True, type=click.Choice(["text", "json"]))
def worker(
    app: str,
    queues: dict[str, int] | None,
    processes: int | None,
    concurrency: int | None,
    burst: bool,
    grace: float | None,
    max_jobs: int | None,
    max_memory: int | None,
    max_age: float | None,
    reload: bool,
    name: str,
    health: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Run jobs until SIGTERM or Ctrl+C; a second one gives everything back at once."""
    from quaff.cli import ALONE
    from quaff.worker.listening import address
    from quaff.worker.plan import Plan
    from quaff.worker.rotation import Wear

    flags: dict[str, str | int | float] = {} if concurrency is None else {"concurrency": concurrency}
    wear = Wear(max_jobs, max_memory, max_age)
    names = None if queues is None else list(queues)
    weights = {name: weight for name, weight in (queues or {}).items() if weight}
    where = None if health is None else address(health)
    plan = Plan(app, names, weights, processes, grace, flags, name, log_level, log_format, wear, where, burst)
    if click.get_current_context().obj is ALONE:
        _become(plan, reload=reload)
    from quaff.worker.serve import serve

    sys.exit(serve(plan, reload=reload))


def _become(plan: Plan, *, reload: bool) -> None:
    """Be ``quaff.worker.program`` from now on: all that is loaded here would be in the memory of each process. Returns
    never."""
    # What is closed of the three streams: whatever is opened next would have their numbers, and be taken for them.
    while (nothing := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(nothing, True)
    # The plan is in no command line: ``ps`` would show it, of each process.
    given = msgspec.json.encode((plan, reload)).decode()
    command = [sys.executable, "-P", "-m", "quaff", *sys.argv[1:]]
    os.execve(sys.executable, command, os.environ | {"_QUAFF_PLAN": given})
