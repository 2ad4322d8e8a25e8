"""``quaff pause``, ``resume``, ``purge`` and ``drain``: what an operator does with one queue, or one worker."""

from __future__ import annotations

import click

from quaff.cli.application import application, inspector_of, queue_of
from quaff.cli.jobs import confirm, go_through
from quaff.cli.printing import counted, plain, put_json

_app = click.option("-A", "--app", metavar="MODULE:OBJECT", help="The application. [QUAFF_URL, pyproject.toml]")


@click.command(short_help="Hand out no jobs of a queue.")
@click.argument("queue")
@_app
@click.option("--for", "for_", metavar="TIME", help="Until then: 90, 10m, 2h. [until it is resumed]")
def pause(queue: str, app: str | None, for_: str | None) -> None:
    """Hand out no jobs of a queue; what runs goes on, and jobs are accepted."""
    from quaff.model.times import duration

    seconds = None if for_ is None else float(for_) if for_.isdigit() else duration("--for", for_)
    changed = queue_of(app, queue).pause(seconds)
    click.echo(f"queue {queue} is paused" if changed else f"queue {queue} was paused already; now the new time counts")


@click.command(short_help="Hand out jobs of a queue again.")
@click.argument("queue")
@_app
def resume(queue: str, app: str | None) -> None:
    """Go on with a queue."""
    changed = queue_of(app, queue).resume()
    click.echo(f"queue {queue} goes on" if changed else f"queue {queue} was not paused")


@click.command(short_help="Cancel all that waits in a queue.")
@click.argument("queue")
@_app
@click.option("--scheduled", is_flag=True, help="Also what waits for its time, retries included.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For programs; needs --yes.")
def purge(queue: str, app: str | None, scheduled: bool, yes: bool, as_json: bool) -> None:
    """Cancel all jobs that wait in a queue, some at a time; they are counted first."""
    if as_json and not yes:
        raise click.UsageError("--json asks nothing: add --yes.")
    found = queue_of(app, queue)
    stats = found.stats()
    count = stats.queued + stats.parked + (stats.scheduled if scheduled else 0)
    if not as_json:
        click.echo(f"{counted(count, 'job')} wait{'s' if count == 1 else ''} in queue {queue}")
    if count and not yes:
        confirm("cancel them?")
    done = go_through(found.purging(scheduled=scheduled)) if count else 0
    put_json({"matched": count, "done": done}) if as_json else click.echo(f"{done:,} cancelled")


@click.command(short_help="Have a worker finish what it runs, and end.")
@click.argument("worker")
@application
def drain(worker: str, app: str | None, queues: str | None) -> None:
    """Have a worker claim nothing more, and end when its running jobs have, however long they take.

    WORKER: its name, as quaff info shows it.
    """
    from quaff.errors import ConfigurationError, did_you_mean

    _, inspector = inspector_of(app, queues)
    rows = inspector.workers()
    found = [row for row in rows if row.name == worker]
    if not found:
        hint = did_you_mean(worker, [row.name for row in rows])
        raise ConfigurationError(f"no worker {worker!r} has been heard of in the last seconds.{hint}")
    for row in found:
        if inspector.drain(row):
            running = counted(row.running, "job")
            click.echo(f"worker {plain(row.name)} (pid {row.pid} of {plain(row.host)}) drains; it runs {running}")
