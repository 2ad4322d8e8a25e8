"""``quaff cron``: schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from quaff.cli.application import as_json, load_app
from quaff.cli.printing import ago, put_json, put_table
from quaff.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from quaff.schedules import ScheduleInfo

_app = click.option("-A", "--app", required=True, metavar="MODULE:OBJECT", help="The application; a factory is called.")


@click.group(short_help="Schedules: list, run, pause.")
def cron() -> None:
    """List schedules, fire one now, pause and resume them."""


@cron.command("ls", short_help="List schedules.")
@_app
@as_json
def ls(app: str, as_json: bool) -> None:
    """List the schedules of the application's queues."""
    found = load_app(app).schedules.list()
    if as_json:
        put_json({"schedules": found})
        return
    rows = [
        (
            *(each.name, each.task, each.queue, each.words.removesuffix(f" ({each.tz})"), each.tz),
            "paused" if each.paused else _next(each),
            ago(each.last_at),
        )
        for each in found
    ]
    put_table(("NAME", "TASK", "QUEUE", "WHEN", "ZONE", "NEXT", "LAST"), rows, "no schedules")


def _next(schedule: ScheduleInfo) -> str:
    """Its next instant, as the clocks of its zone have it, and how far away that is."""
    from zoneinfo import ZoneInfo

    if not schedule.next_at:
        return "never"
    at = schedule.next_at[0]
    return f"{at.astimezone(ZoneInfo(schedule.tz)):%Y-%m-%d %H:%M}, {ago(at)}"


@cron.command(short_help="Fire one now.")
@click.argument("name")
@_app
@as_json
def run(name: str, app: str, as_json: bool) -> None:
    """Send the job of a schedule now; print its id."""
    job = load_app(app).schedules.run(name)
    put_json({"id": job.id}) if as_json else click.echo(job.id)


def _switch(what: str, words: str) -> None:
    @cron.command(what, short_help=words, help=words)
    @click.argument("name")
    @_app
    def command(name: str, app: str) -> None:
        schedules: Any = load_app(app).schedules
        if not getattr(schedules, what)(name):
            near = did_you_mean(name, [each.name for each in schedules.list()])
            raise ConfigurationError(f"there is no schedule {name!r}.{near}")
        click.echo(f"{what}d")


_switch("pause", "Fire it no more, until it is resumed.")
_switch("resume", "Fire it again.")
