"""Serves the dashboard by itself, a thread for each request: for one person, or a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from quaff.dashboard import create_dashboard
from quaff.errors import ConfigurationError

if TYPE_CHECKING:
    from quaff.app import Quaff


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """A page asks every two seconds: nobody would read that."""


def server(quaff: Quaff, host: str, port: int, queues: Sequence[str]) -> BaseWSGIServer:
    """Listening, not serving yet, with these queues; ``server_port`` says where.

    Raises:
        ConfigurationError: it cannot listen there.
    """
    site = create_dashboard(quaff, local=True, queues=queues)
    try:
        return make_server(host, port, site, threaded=True, request_handler=_Quiet)
    except (OSError, SystemExit) as error:
        what = error.strerror if isinstance(error, OSError) else "something listens there already"
        raise ConfigurationError(f"--host {host} --port {port}: {what}. Take another port: -p 0.") from None
