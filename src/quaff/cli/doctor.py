"""``quaff doctor``: what may cost jobs, on one screen."""

from __future__ import annotations

import sys

import click

from quaff.cli import printable
from quaff.cli.application import application, homes_of, user_name
from quaff.cli.printing import plain, put_json

_COLOURS = {"ok": "green", "warn": "yellow", "danger": "red", "unknown": "cyan"}


@click.command(short_help="Look at the server: what may cost jobs?")
@application
@click.option(
    "--user", metavar="NAME", callback=user_name, help="Try the rights of this user of the server. [the URL's]"
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(app: str | None, queues: str | None, user: str | None, as_json: bool) -> None:
    """Look at the server as the application finds it, and say what may cost jobs there.

    Exit code 1 if something is a danger.
    """
    from quaff.doctor.examine import examine

    quaff, homes, _ = homes_of(app, queues)
    findings = examine(quaff, list(homes), user)
    if as_json:
        put_json({"server": quaff.store.endpoint.where, "findings": findings})
    else:
        click.echo(f"{plain(quaff.store.endpoint.where)}, namespace {quaff.settings.namespace}\n")
        for each in findings:
            click.echo(
                f"{click.style(f'{each.level:7}', fg=_COLOURS[each.level])} {each.check}: {printable(each.text)}"
            )
            if each.remedy:
                click.echo(f"        {printable(each.remedy)}")
    sys.exit(1 if any(each.level == "danger" for each in findings) else 0)
