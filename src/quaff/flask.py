"""Quaff for Flask: ``Quaff(app)`` or ``init_app``, an application context for each attempt, and jobs over HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app, has_app_context, has_request_context, request, url_for
from flask.globals import app_ctx
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response as AnyResponse

from quaff.errors import LimitReached, QueueFull
from quaff.http.answers import NO_PLACE, Answer
from quaff.http.extension import Extension
from quaff.http.loop import iterate
from quaff.http.tickets import Ticket
from quaff.http.views import script

if TYPE_CHECKING:
    from quaff.dashboard import Authorize

__all__ = ["Quaff", "Ticket"]


class Quaff(Extension[Flask]):
    """A task queue for Flask applications.

    A view that lets LimitReached pass answers 429, one that lets QueueFull pass 503, both with ``Retry-After``.

    Args:
        app: the application; None if ``init_app`` follows.
        url_prefix: where ``GET <url_prefix>/<token>`` answers; None mounts nothing.
        user: gives who is asking, in a request: a text or number, or None, such as
            ``lambda: session.get("user_id")``; for tickets with ``user=``.
        max_waiters: how many requests of one process may be kept open at a time, by ``?wait=`` and by events; others
            are answered at once. Each has a thread of the web server.
        settings: as for ``quaff.Quaff``, ``results=`` too; the ``QUAFF_*`` keys of ``app.config`` go before them.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        url_prefix: str | None = "/jobs",
        user: Callable[[], object] | None = None,
        max_waiters: int = 8,
        **settings: Any,
    ) -> None:
        super().__init__(app, url_prefix=url_prefix, user=user, max_waiters=max_waiters, **settings)

    def dashboard(self, *, auth: Authorize | None = None, url_prefix: str = "/quaff") -> Blueprint:
        """The dashboard: ``app.register_blueprint(quaff.dashboard(auth=...))``.

        Without ``auth`` it is closed, but for whoever gives QUAFF_DASHBOARD_USER and _PASSWORD where these are set, and
        else for this machine while the application is in debug mode.

        Args:
            auth: given the request, gives ``"admin"``, ``"viewer"`` (who sees no arguments and may change nothing) or
                None.
            url_prefix: where it is.

        Raises:
            ConfigurationError: ``auth`` is no function.
        """
        from quaff.dashboard import dashboard_blueprint

        return dashboard_blueprint(self, auth=auth, url_prefix=url_prefix)

    def attempt_scope(self) -> AbstractContextManager[Any]:
        """A fresh application context for one attempt; its teardown runs whatever the attempt came to.

        Raises:
            ConfigurationError: as ``backend``.
        """
        return (self._served or self._app()).app_context()

    def _mount(self, app: Flask) -> None:
        if self._url_prefix is not None:
            blueprint = Blueprint("quaff", __name__, url_prefix=self._url_prefix)
            blueprint.add_url_rule("/quaff.js", "script", self._script)
            blueprint.add_url_rule("/<token>", "status", self._status)
            blueprint.add_url_rule("/<token>/events", "events", self._events)
            app.register_blueprint(blueprint)
        app.register_error_handler(LimitReached, _try_later)
        app.register_error_handler(QueueFull, _try_later)

    def _current(self) -> Flask | None:
        return app_ctx.app if has_app_context() else None

    def _asked(self, app: Flask) -> bool:
        return has_request_context() and app_ctx.app is app

    def _url_here(self, app: Flask, endpoint: str, values: dict[str, Any]) -> str | None:
        return url_for(endpoint, **values) if self._asked(app) else None

    # In a server with one thread a process, a request that is kept open would keep everybody else waiting too.

    def _status(self, token: str) -> Response:
        wait = request.args.get("wait", "") if request.environ.get("wsgi.multithread") else ""
        return _sent(self._views.status(partial(self.job_of, token), wait, request.headers.get("If-None-Match", "")))

    def _events(self, token: str) -> Response:
        if not request.environ.get("wsgi.multithread"):
            return _sent(NO_PLACE)
        answer = self._views.events(partial(self.job_of, token), request.headers.get("Last-Event-ID", ""))
        if isinstance(answer, Answer):
            return _sent(answer)
        body = iterate(answer)
        if request.method == "HEAD":
            body.close()
        return Response(body, headers=answer.headers)

    def _script(self) -> Response:
        return _sent(script(request.args.get("v", ""), request.headers.get("If-None-Match", "")))


def _sent(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)


def _try_later(error: LimitReached | QueueFull) -> ResponseReturnValue | AnyResponse:
    """What a view answers that let the error pass: 429 or 503 with ``Retry-After``, as the application shows those."""
    kind = TooManyRequests if isinstance(error, LimitReached) else ServiceUnavailable
    return current_app.handle_http_exception(kind(retry_after=math.ceil(error.retry_after)))
