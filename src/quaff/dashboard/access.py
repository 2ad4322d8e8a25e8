"""Who may see the dashboard, and who may change something there. Closed, unless somebody has said who may."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Literal, TypeAlias

from flask import Request, Response

#: A ``viewer`` sees all but arguments and results; an ``admin`` may act.
Role: TypeAlias = Literal["viewer", "admin"]
#: Given the request, who asks; None: nobody who may see anything.
Authorize: TypeAlias = Callable[[Request], Role | None]

#: What a page may load: its own style, its own scripts, and nothing from anywhere else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: What a proxy adds: then the address of the request is the proxy's and says nothing of who asks.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class Access:
    """The door of one dashboard.

    Args:
        auth: decides, where it is given.
        credentials: gives the name and password by which an admin is let in (HTTP Basic); empty ones let in nobody.
        local: let in whoever asks from this machine for this machine, as an admin.
    """

    def __init__(
        self, auth: Authorize | None, credentials: Callable[[], tuple[str, str]], *, local: bool = False
    ) -> None:
        self._auth = auth
        self._credentials = credentials
        self._local = local

    def role(self, request: Request, *, debug: bool) -> Role | None:
        """Who asks; ``debug``: the application runs in debug mode, where this machine may look."""
        if self._auth is not None:
            given = self._auth(request)
            return given if given in ("viewer", "admin") else None
        user, password = self._credentials()
        if user and password:
            return "admin" if _knows(request, user, password) else None
        return "admin" if (self._local or debug) and _from_here(request) else None

    def name(self, request: Request) -> str:
        """Who asks, for the list of changes: the name given, if one was, and where from."""
        given = request.authorization.username if self._auth is None and request.authorization else None
        return f"{given or 'dashboard'}@{request.remote_addr or 'unknown'}"

    def refusal(self) -> Response:
        """What nobody gets to see anything but."""
        if self._auth is None and all(self._credentials()):
            answer = Response("Name and password, please.\n", 401, mimetype="text/plain")
            answer.headers["WWW-Authenticate"] = 'Basic realm="Quaff", charset="UTF-8"'
            return answer
        return Response(_CLOSED if self._auth is None else "You may not see this.\n", 403, mimetype="text/plain")


_CLOSED = """This dashboard is closed. Open it with one of these:

    quaff.dashboard(auth=lambda request: "admin" if g.user.is_staff else None)    # or "viewer"
    QUAFF_DASHBOARD_USER=... QUAFF_DASHBOARD_PASSWORD=...                         # in the environment, or app.config
    flask --debug run                                                             # for this machine only
"""


def same_site(request: Request) -> bool:
    """Whether a page of ours has sent this, and not somebody else's in the browser of one who is let in.

    Browsers say so themselves (``Sec-Fetch-Site``); where they do not, over plain HTTP, ``Origin`` has to be ours.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    scheme, _, host = request.headers.get("Origin", "").partition("://")
    return scheme in ("http", "https") and host == request.host


def guard(response: Response) -> Response:
    """Every answer, errors too, says what a browser may do with it."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


def _knows(request: Request, user: str, password: str) -> bool:
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    # Both are compared whatever the first one gives, and in a time that tells nothing.
    named = hmac.compare_digest((given.username or "").encode(), user.encode())
    return hmac.compare_digest((given.password or "").encode(), password.encode()) and named


def _from_here(request: Request) -> bool:
    """From this machine, and meant for it: else a page elsewhere could have a name that leads here."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    return _is_loopback(request.remote_addr or "") and (host == "localhost" or _is_loopback(host.strip("[]")))


def _is_loopback(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False
