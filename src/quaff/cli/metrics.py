"""``quaff metrics`` and ``quaff healthcheck``: for scrapers, autoscalers and containers."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import click

from quaff.cli.application import application, inspector_in, inspector_of, load_app
from quaff.cli.printing import counted, plain
from quaff.errors import ServerUnavailable

if TYPE_CHECKING:
    from quaff.app import Quaff
    from quaff.worker.listening import Address, Answer, Request

#: Seconds, and bytes, that an answer may take.
_PATIENCE, _LONGEST = 5.0, 4096


@click.command(short_help="Queues as metrics for Prometheus.")
@application
@click.option("--serve", metavar="HOST:PORT", help="Answer /metrics, /autoscale and /livez there until Ctrl+C.")
def metrics(app: str | None, queues: str | None, serve: str | None) -> None:
    """Print how queues stand in the text format of Prometheus, or serve it.

    What workers have done is told by each of them: quaff worker --health.
    """
    from quaff.model.metrics import render
    from quaff.telemetry.prometheus import queue_metrics
    from quaff.worker.listening import Listening, address

    if serve is None:
        click.echo(render(queue_metrics(*inspector_of(app, queues))), nl=False)
        return
    pages = _Pages(load_app(app), queues, told=app is not None)
    where = {"/metrics": pages.metrics, "/autoscale": pages.autoscale, "/livez": pages.livez}
    listening = Listening(address(serve), where)
    click.echo(f"Metrics of {pages.quaff.store.endpoint.where} at port {listening.port}  (Ctrl+C ends)", err=True)
    try:
        listening.serve()
    except KeyboardInterrupt:
        click.echo(err=True)


class _Pages:
    """What is served; queues that come to be are found at the next question."""

    def __init__(self, quaff: Quaff, queues: str | None, *, told: bool) -> None:
        self.quaff, self._queues, self._told = quaff, queues, told

    def metrics(self, request: Request) -> Answer:
        from quaff.model import metrics
        from quaff.telemetry.prometheus import queue_metrics
        from quaff.worker.health import scraped

        try:
            found = queue_metrics(self.quaff, inspector_in(self.quaff, self._queues, told=self._told))
        except ServerUnavailable:
            found = [(metrics.UP, [((), 0)])]
        return scraped(found, request)

    def autoscale(self, request: Request) -> Answer:
        from quaff.worker.health import autoscale

        rows = inspector_in(self.quaff, self._queues, told=self._told).queues()
        return autoscale({row.name: row.stats.scale() for row in rows}, request.query.get("queue"))

    @staticmethod
    def livez(_: Request) -> Answer:
        from quaff.worker.listening import Answer

        return Answer("ok\n")


@click.command(short_help="Whether a worker is well: exit code 0 or 1.")
@application
@click.option("--health", metavar="HOST:PORT", help="Ask the worker that answers there, not the server.")
@click.option("--live", is_flag=True, help="With --health: whether it is alive, also if it is not ready.")
def healthcheck(app: str | None, queues: str | None, health: str | None, live: bool) -> None:
    """Say whether a worker of this machine is ready, for containers and scripts.

    Without --health: whether the server knows one of this host that serves the queues and is not stopping, as of
    some seconds ago.
    """
    if live and health is None:
        raise click.UsageError("--live goes with --health.")
    if health is None:
        sys.exit(_known(app, queues))
    from quaff.worker.listening import address

    sys.exit(_asked(address(health), "/livez" if live else "/readyz"))


def _known(app: str | None, queues: str | None) -> int:
    host = socket.gethostname()
    _, inspector = inspector_of(app, queues)
    here = [row for row in inspector.workers() if row.host == host and not row.stopping]
    for row in here:
        click.echo(f"worker {row.name} (pid {row.pid}), {counted(len(row.processes), 'process')}")
    if not here:
        click.echo(f"no worker of {host} has been heard of in the last seconds", err=True)
    return 0 if here else 1


def _asked(where: Address, path: str) -> int:
    """Ask a worker's page: plainly, so that nothing leads elsewhere, no proxy and no redirect."""
    shown = f"[{where.host}]" if ":" in where.host else where.host
    try:
        with socket.create_connection(where, timeout=_PATIENCE) as line:
            line.sendall(f"GET {path} HTTP/1.0\r\nHost: {shown}\r\n\r\n".encode())
            head, _, body = line.makefile("rb").read(_LONGEST).partition(b"\r\n\r\n")
    except OSError as error:
        click.echo(f"nobody answers at {shown}:{where.port}: {error}", err=True)
        return 1
    well = head.split(b" ")[1:2] == [b"200"]
    click.echo(plain(body.decode(errors="replace").strip()), err=not well)
    return 0 if well else 1
