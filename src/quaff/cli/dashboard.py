"""``quaff dashboard``: what is queued, runs and has failed, in a browser."""

from __future__ import annotations

import click

from quaff.cli.application import application, homes_in, load_app
from quaff.errors import ConfigurationError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(short_help="The dashboard, in a browser.")
@application
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("-p", "--port", default=9180, show_default=True, type=click.IntRange(0, 65535), help="Its port.")
def dashboard(app: str | None, queues: str | None, host: str, port: int) -> None:
    """Serve the dashboard alone, to whoever is at this machine, with the queues that there are when it starts.

    To listen elsewhere too, DASHBOARD_USER and DASHBOARD_PASSWORD have to be set.
    """
    try:
        from quaff.dashboard.serve import server
    except ImportError as error:
        raise ConfigurationError(f"the dashboard needs {error.name}: pip install 'quaff[dashboard]'") from None
    quaff = load_app(app)
    settings = quaff.settings
    if host not in _LOOPBACK and not (settings.dashboard_user and settings.dashboard_password):
        raise ConfigurationError(
            f"--host {host}: others than this machine would see all jobs. Set QUAFF_DASHBOARD_USER and "
            "QUAFF_DASHBOARD_PASSWORD, or mount it in your application behind its login: quaff.dashboard(auth=...)."
        )
    homes, _ = homes_in(quaff, queues, told=app is not None)
    listening = server(quaff, host, port, list(dict.fromkeys(home.queue for home in homes)))
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Dashboard of {quaff.store.endpoint.where}: http://{shown}:{listening.server_port}/  (Ctrl+C ends)")
    try:
        listening.serve_forever()
    except KeyboardInterrupt:
        click.echo()
