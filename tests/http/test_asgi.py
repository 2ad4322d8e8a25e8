"""``quaff.asgi.JobsApp`` as an application and below another one; what its URLs answer is in the other files."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quaff import ConfigurationError, Quaff
from quaff.asgi import JobsApp


def answer(app: JobsApp, path: str, *, root: str = "", method: str = "GET", kind: str = "http") -> list[Any]:
    """What it sends for one request whose client waits for it."""
    sent: list[Any] = []

    async def visit() -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": kind, "method": method, "path": path, "root_path": root, "query_string": b"", "headers": []}
        await app(scope, receive, send)

    asyncio.run(visit())
    return sent


@pytest.fixture
def app(server_url: str, namespace: str) -> JobsApp:
    """One at ``/work/jobs``."""
    return JobsApp(Quaff(server_url, namespace=namespace), ["old", "new"], url_prefix="/work/jobs/")


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/work/jobs/quaff.js", ""),  # at the root of a server
        ("/work/jobs/quaff.js", "/work/jobs"),  # mounted: the path is the whole one
        ("/quaff.js", "/work/jobs"),  # mounted, in the manner of before
    ],
)
def test_it_answers_wherever_it_is_mounted(app: JobsApp, path: str, root: str) -> None:
    """By the path of the request and where it says that it is."""
    start, body = answer(app, path, root=root)
    assert start["status"] == 200
    assert b"export function watch" in body["body"]
    assert app.script_url.startswith("/work/jobs/quaff.js?v=")


@pytest.mark.parametrize("path", ["/", "/work/jobs", "/work/jobs/a/b", "/work/jobs/a/events/c"])
def test_what_is_nowhere_is_404(app: JobsApp, path: str) -> None:
    """As a forged token is."""
    assert answer(app, path)[0]["status"] == 404


def test_nothing_is_changed_by_a_request(app: JobsApp) -> None:
    """Only GET and HEAD."""
    start, body = answer(app, "/work/jobs/quaff.js", method="POST")
    assert (start["status"], dict(start["headers"])[b"allow"]) == (405, b"GET, HEAD")
    start, body = answer(app, "/work/jobs/quaff.js", method="HEAD")
    assert (start["status"], body["body"]) == (200, b"")
    assert int(dict(start["headers"])[b"content-length"]) > 1000


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_what_is_no_request_is_left_alone(app: JobsApp, kind: str) -> None:
    """Servers take that for "not here"."""
    assert answer(app, "/", kind=kind) == []


def test_a_ticket_for_a_user_needs_somebody_who_says_who_asks(app: JobsApp) -> None:
    """Else nobody could ever use it."""
    with pytest.raises(ConfigurationError, match="who is asking"):
        app.ticket(app._quaff.job("default-0-" + "0" * 32), user="ann")


def test_a_ticket_is_of_a_job(app: JobsApp) -> None:
    """Neither of a flow nor of an id."""
    id = "default-0-" + "0" * 32
    with pytest.raises(TypeError, match=r"flow\.job\(name\)"):
        app.ticket(app._quaff.flow(id))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"is no job: .* quaff\.job\(id\)"):
        app.ticket(id)  # type: ignore[arg-type]
