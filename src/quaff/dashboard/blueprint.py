"""The dashboard as a Flask blueprint: its door, its pages, its files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, current_app, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from quaff.dashboard import words
from quaff.dashboard.access import Access, guard, same_site
from quaff.dashboard.assets import assets, version
from quaff.dashboard.desk import Desk
from quaff.errors import ConfigurationError, JobNotFound, NotAllowed, QuaffError, ServerUnavailable
from quaff.queues import acting_as

if TYPE_CHECKING:
    from quaff.app import Quaff

#: Each has ``add(blueprint, desk)``, in the order of the menu.
SCREENS = ("overview", "jobs", "job", "queues", "failures", "schedules", "workers", "tasks", "flows", "server", "bulk")
#: What our own errors are for a browser.
_ERRORS: dict[type[QuaffError], tuple[int, str]] = {
    ServerUnavailable: (503, "The server does not answer"),
    JobNotFound: (404, "Not found"),
    NotAllowed: (403, "The server does not allow that"),
    ConfigurationError: (400, "That cannot be"),
}
_OTHER = (500, "That did not work")
#: Kept for ever: the URL changes with the files.
_FOR_EVER = "public, max-age=31536000, immutable"


def make(
    quaff: Quaff,
    access: Access,
    *,
    url_prefix: str,
    queues: Sequence[str] | None = None,
    name: str = "quaff_dashboard",
) -> Blueprint:
    """A blueprint, to be registered on one application.

    Args:
        quaff: whose queues it shows.
        access: who is let in.
        url_prefix: where it is mounted.
        queues: that it shows; None: those that the application's tasks name.
        name: of the blueprint, and so of its endpoints.
    """
    blueprint = Blueprint(name, __name__, url_prefix=url_prefix, template_folder="templates")
    desk = Desk(quaff, name, queues)

    @blueprint.before_request
    def enter() -> Response | None:
        g.quaff_role = access.role(request, debug=current_app.debug)
        if g.quaff_role is None:
            return guard(access.refusal())
        if request.method not in ("GET", "HEAD") and not same_site(request):
            abort(403, "This did not come from a page of this dashboard (Sec-Fetch-Site, Origin).")
        g.quaff_acting = acting_as(access.name(request))
        g.quaff_acting.__enter__()
        return None

    @blueprint.teardown_request
    def leave(_: BaseException | None) -> None:
        if acting := g.pop("quaff_acting", None):
            acting.__exit__(None, None, None)

    blueprint.after_request(guard)

    @blueprint.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return _trouble(desk, error.code or 500, error.name, error.description or "")

    @blueprint.errorhandler(QuaffError)
    def failed(error: QuaffError) -> Response:
        code, title = next((found for kind, found in _ERRORS.items() if isinstance(error, kind)), _OTHER)
        return _trouble(desk, code, title, str(error))

    @blueprint.get("/static/<stamp>/<name>")
    def static(stamp: str, name: str) -> Response:
        found = assets().get(name)
        if found is None or stamp != version():
            abort(404, "There is no such file.")
        answer = Response(found.data, content_type=found.type)
        answer.headers["Cache-Control"] = _FOR_EVER
        return answer

    @blueprint.context_processor
    def common() -> dict[str, object]:
        return {"stamp": version(), "endpoint": f"{name}.", **words.FILTERS}

    @blueprint.route("/<path:rest>")
    def nowhere(rest: str) -> Response:
        abort(404, "There is no such page.")

    for screen in SCREENS:
        import_module(f"quaff.dashboard.screens.{screen}").add(blueprint, desk)
    return blueprint


def _trouble(desk: Desk, code: int, name: str, text: str) -> Response:
    page = render_template(
        "quaff/trouble.html", layout="quaff/layout.html", title=name, text=text, code=code, desk=desk, said="", here=""
    )
    return make_response(words.seen(page), code)
