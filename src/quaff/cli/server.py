"""``quaff server``: the embedded server alone, for as long as this command runs."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import click

from quaff.cli.application import load_app
from quaff.cli.printing import put_json
from quaff.errors import ConfigurationError

RUNS_ALREADY = 4


@click.command(short_help="Run the embedded server.")
@click.option("-A", "--app", metavar="MODULE:OBJECT", help="The application. [QUAFF_URL, pyproject.toml]")
@click.option("--json", "as_json", is_flag=True, help="For programs: say where it is as JSON.")
def server(app: str | None, as_json: bool) -> None:
    """Run the server of an embedded: URL until SIGTERM or Ctrl+C, and as long as somebody else uses it.

    Exit code 4 if it runs already.
    """
    from quaff.store import embedded

    url = load_app(app).settings.url
    if not url.startswith("embedded:"):
        raise ConfigurationError("quaff server runs the server of an embedded: URL, and QUAFF_URL names another one.")
    home = embedded.directory(url)
    told: dict[str, Any] | None = embedded.server_info(home)
    if told is not None:
        put_json({"running": True, **told}) if as_json else click.echo(
            f"it runs already, with pid {told.get('pid')}, in {home}", err=True
        )
        sys.exit(RUNS_ALREADY)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    socket = embedded.ensure(home)
    told = embedded.server_info(home) or {}
    if as_json:
        put_json({"running": False, **told})
    else:
        click.echo(f"{told.get('version', 'server')} with pid {told.get('pid')} listens on {socket}", err=True)
    done.wait()
