"""``flask quaff …``: the same commands for a Flask application, found before the application is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from quaff.cli import Group
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


@quaff_group.command()
@click.option("-Q", "--queues", metavar="A,B", help="Queues to serve, best first. [all that the tasks name]")
@click.option("-p", "--processes", type=click.IntRange(min=1), help="Worker processes. [CPUs]")
@click.option("-c", "--concurrency", type=click.IntRange(min=1, max=1024), help="Threads in each process. [8]")
@click.pass_context
def worker(context: click.Context, queues: str | None, processes: int | None, concurrency: int | None) -> None:
    """Run jobs until SIGTERM or Ctrl+C."""
    from quaff.cli.worker import worker as command

    options = {"-Q": queues, "-p": processes, "-c": concurrency}
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    command.main(["-A", spec_of(context), *given], standalone_mode=False)


@quaff_group.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the web application listens.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="Its port.")
@click.option("-p", "--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option("--reload/--no-reload", default=True, help="Start anew when a Python file changes.")
@click.pass_context
def dev(context: click.Context, host: str, port: int, processes: int, reload: bool) -> None:
    """Web application, worker and embedded server, with one log and one Ctrl+C."""
    from quaff.cli.dev import start

    spec = spec_of(context)
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
