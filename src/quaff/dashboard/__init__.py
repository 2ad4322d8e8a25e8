"""The dashboard: what is queued, runs and has failed, and what to do about it. Needs Flask (``quaff[dashboard]``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask import Blueprint, Flask

from quaff.dashboard.access import Access, Authorize, Role
from quaff.dashboard.blueprint import make
from quaff.errors import ConfigurationError

if TYPE_CHECKING:
    from quaff.app import Quaff

__all__ = ["Authorize", "Role", "create_dashboard", "dashboard_blueprint"]


def dashboard_blueprint(quaff: Quaff, *, auth: Authorize | None = None, url_prefix: str = "/quaff") -> Blueprint:
    """For a Flask application: ``app.register_blueprint(quaff.dashboard())`` is this.

    Without ``auth`` it is closed, but for whoever gives DASHBOARD_USER and DASHBOARD_PASSWORD where these are set, and
    else for this machine while the application is in debug mode.

    Args:
        quaff: whose queues it shows.
        auth: given the request, gives ``"admin"``, ``"viewer"`` (who sees no arguments and may change nothing) or None.
        url_prefix: where it is.

    Raises:
        ConfigurationError: ``auth`` is no function.
    """
    return make(quaff, _access(quaff, auth), url_prefix=url_prefix)


def create_dashboard(
    quaff: Quaff, *, auth: Authorize | None = None, local: bool = False, queues: Sequence[str] | None = None
) -> Flask:
    """The dashboard alone, a WSGI application; arguments and errors as of ``dashboard_blueprint``.

    Args:
        local: whoever asks from this machine is let in, where nothing else says who is.
        queues: that it shows; None: those that the application's tasks name.
    """
    app = Flask("quaff.dashboard", static_folder=None)
    app.register_blueprint(make(quaff, _access(quaff, auth, local=local), url_prefix="/", queues=queues))
    return app


def _access(quaff: Quaff, auth: Authorize | None, *, local: bool = False) -> Access:
    if auth is not None and not callable(auth):
        raise ConfigurationError(f"dashboard(auth={auth!r}): give a function of the request.")
    return Access(auth, lambda: (quaff.settings.dashboard_user, quaff.settings.dashboard_password), local=local)
