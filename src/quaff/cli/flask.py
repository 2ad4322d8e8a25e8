"""``flask quaff …``: the same commands for a Flask application, found before the application is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from quaff.cli import Group
from quaff.cli.audit import audit
from quaff.cli.calling import call
from quaff.cli.cron import cron
from quaff.cli.doctor import doctor
from quaff.cli.importing import import_
from quaff.cli.jobs import jobs
from quaff.cli.looking import info, queues, tasks, top
from quaff.cli.steering import drain, pause, purge, resume
from quaff.cli.worker import MOST, worker
from quaff.errors import ConfigurationError


@click.group("quaff", cls=Group)
def quaff_group() -> None:
    """Run jobs of this application."""


def spec_of(context: click.Context) -> str:
    """The application of ``flask --app …`` as ``module:object``.

    Raises:
        ConfigurationError: there is none, or it is named by a path elsewhere.
    """
    given = getattr(context.find_root().obj, "app_import_path", None)
    if given is None:
        given = next((name for name in ("wsgi", "app") if Path(f"{name}.py").exists()), None)
    if given is None:
        raise ConfigurationError("no application: say flask --app MODULE quaff …, or have a wsgi.py or app.py here.")
    module, _, attribute = str(given).partition(":")
    path = Path(module)
    if path.parent != Path():
        raise ConfigurationError(f"{given!r}: change into {path.parent} and name the application without its folder.")
    return ":".join(filter(None, (path.stem if path.suffix == ".py" else module, attribute)))


def _of_flask(command: click.Command, group: click.Group = quaff_group) -> None:
    """The command with all its options but the application's, which Flask has found; a group with all its commands."""
    if isinstance(command, click.Group):
        same = click.Group(command.name, help=command.help, short_help=command.short_help)
        group.add_command(same)
        for each in command.commands.values():
            _of_flask(each, same)
        return

    def callback(context: click.Context, /, **options: Any) -> None:
        context.invoke(command, app=spec_of(context), **options)

    group.command(
        command.name,
        help=command.help,
        short_help=command.short_help,
        epilog=command.epilog,
        params=[option for option in command.params if option.name != "app"],
    )(click.pass_context(callback))


for _each in (worker, info, queues, tasks, top, jobs, cron, call, pause, resume, purge, drain, doctor, audit, import_):
    _of_flask(_each)


@quaff_group.command(short_help="Web application, worker and server.")
@click.option(
    *("-h", "--host"),
    default="127.0.0.1",
    show_default=True,
    envvar="FLASK_RUN_HOST",
    help="Where the web application listens.",
)
@click.option(
    *("-p", "--port"),
    default=5000,
    show_default=True,
    envvar="FLASK_RUN_PORT",
    type=click.IntRange(0, 65535),
    help="Its port.",
)
@click.option("--processes", type=click.IntRange(1, MOST), default=1, show_default=True, help="Worker processes.")
@click.option("--reload/--no-reload", default=True, help="Start anew when a Python file changes.")
@click.pass_context
def dev(context: click.Context, host: str, port: int, processes: int, reload: bool) -> None:
    """Web application, worker, dashboard and embedded server, with one log and one Ctrl+C.

    -h and -p are those of flask run, FLASK_RUN_HOST and FLASK_RUN_PORT included.
    """
    from quaff.cli.dev import check_free, start

    spec = spec_of(context)
    check_free(host, port)
    web = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        spec,
        "--debug",
        "run",
        "--no-reload",
        "--host",
        host,
        "--port",
        str(port),
    ]
    start(spec, web, processes, reload)
