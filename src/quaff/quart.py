"""Quaff for Quart: as ``quaff.flask``, with views that are coroutines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial
from typing import Any, cast

from quart import Blueprint, Quart, Response, current_app, has_app_context, has_request_context, request, url_for
from quart.globals import _cv_app
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from quaff.errors import LimitReached, QueueFull
from quaff.http.answers import Answer
from quaff.http.extension import Extension
from quaff.http.tickets import Ticket
from quaff.http.views import script

__all__ = ["Quaff", "Ticket"]


class Quaff(Extension[Quart]):
    """A task queue for Quart applications; ``docs/flask.md`` is about both.

    A view that lets LimitReached pass answers 429, one that lets QueueFull pass 503, both with ``Retry-After``.

    Args:
        app: the application; None if ``init_app`` follows.
        url_prefix: where ``GET <url_prefix>/<token>`` answers; None mounts nothing.
        user: gives who is asking, in a request: a text or number, or None, such as
            ``lambda: session.get("user_id")``; for tickets with ``user=``.
        max_waiters: how many requests of one process may be kept open at a time, by ``?wait=`` and by events; others
            are answered at once.
        settings: as for ``quaff.Quaff``, ``results=`` too; the ``QUAFF_*`` keys of ``app.config`` go before them.
    """

    def __init__(
        self,
        app: Quart | None = None,
        *,
        url_prefix: str | None = "/jobs",
        user: Callable[[], object] | None = None,
        max_waiters: int = 1000,
        **settings: Any,
    ) -> None:
        super().__init__(app, url_prefix=url_prefix, user=user, max_waiters=max_waiters, **settings)

    def attempt_scope(self) -> AbstractContextManager[Any]:
        """A fresh application context for one attempt of a plain function, which has no loop."""
        return _context(self._served or self._app())

    def async_attempt_scope(self) -> AbstractAsyncContextManager[Any]:
        """A fresh application context for one attempt of a coroutine; its teardown is awaited."""
        context: Any = (self._served or self._app()).app_context()
        return cast("AbstractAsyncContextManager[Any]", context)

    def _mount(self, app: Quart) -> None:
        if self._url_prefix is not None:
            blueprint = Blueprint("quaff", __name__, url_prefix=self._url_prefix)
            blueprint.add_url_rule("/quaff.js", "script", self._script)
            blueprint.add_url_rule("/<token>", "status", self._status)
            blueprint.add_url_rule("/<token>/events", "events", self._events)
            app.register_blueprint(blueprint)
        app.register_error_handler(LimitReached, _try_later)
        app.register_error_handler(QueueFull, _try_later)

    def _current(self) -> Quart | None:
        return _cv_app.get().app if has_app_context() else None

    def _asked(self, app: Quart) -> bool:
        return has_request_context() and _cv_app.get().app is app

    def _url_here(self, app: Quart, endpoint: str, values: dict[str, Any]) -> str | None:
        return url_for(endpoint, **values) if self._asked(app) else None

    async def _status(self, token: str) -> Response:
        known = request.headers.get("If-None-Match", "")
        return _sent(await self._views.astatus(partial(self.job_of, token), request.args.get("wait", ""), known))

    async def _events(self, token: str) -> Response:
        answer = await self._views.aevents(partial(self.job_of, token), request.headers.get("Last-Event-ID", ""))
        if isinstance(answer, Answer):
            return _sent(answer)
        if request.method == "HEAD":
            await answer.aclose()
            return Response(b"", headers=answer.headers)
        response = Response(answer, headers=answer.headers)
        response.timeout = None  # as long as the job takes
        return response

    async def _script(self) -> Response:
        return _sent(script(request.args.get("v", ""), request.headers.get("If-None-Match", "")))


def _sent(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)


async def _try_later(error: LimitReached | QueueFull) -> Any:
    """What a view answers that let the error pass: 429 or 503 with ``Retry-After``, as the application shows those."""
    kind = TooManyRequests if isinstance(error, LimitReached) else ServiceUnavailable
    return await current_app.handle_http_exception(kind(retry_after=math.ceil(error.retry_after)))


@contextmanager
def _context(app: Quart) -> Iterator[Any]:
    """Quart's own context can only be pushed by a coroutine, and what is set there is not seen here."""
    context = app.app_context()
    token = _cv_app.set(context)
    error: BaseException | None = None
    try:
        yield context
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            asyncio.run(app.do_teardown_appcontext(error))
        finally:
            _cv_app.reset(token)
