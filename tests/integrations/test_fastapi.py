"""The shop of examples/fastapi behind uvicorn, with a worker."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from quaff import Quaff
from quaff.asgi import JobsApp, lifespan
from tests import helpers
from tests.helpers import python
from tests.http.support import Site
from tests.matrix import WORKER, known_as

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi"


@pytest.fixture(scope="module")
def shop(server_url: str) -> Iterator[Site]:
    """The example, served; its worker runs."""
    environment = {"QUAFF_URL": server_url, "QUAFF_NAMESPACE": f"n{uuid4().hex[:12]}"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    web = python("-m", "uvicorn", "--port", str(port), "app:app", cwd=EXAMPLE, env=environment)
    try:
        own = environment | {"QUAFF_URL": known_as(WORKER, server_url)}
        worker = helpers.start_worker("app:quaff", "-p", "1", cwd=EXAMPLE, env=own)
        try:
            # It says that its application has started before it listens.
            web.wait_for("Uvicorn running on")
            yield Site(f"http://127.0.0.1:{port}/")
            assert web.stop() in (0, -15), web.output
            assert "Application shutdown complete" in web.output
        finally:
            worker.end()
    finally:
        web.end()


def test_a_model_goes_through_a_job_and_comes_back_as_what_it_is(shop: Site) -> None:
    """By its ticket over HTTP as data, by its id in a view as the model."""
    reply = shop.ask("/orders", method="POST", body=json.dumps({"number": 7, "articles": ["tea", "pot"]}))
    assert (reply.status, reply.json["state"]) == (202, "queued")
    wanted = {"order": {"number": 7, "articles": ["tea", "pot"]}, "total": "19.80"}
    assert shop.ask(f"/invoices/{reply.json['id']}").json == wanted
    told = shop.ask(f"{reply.json['url']}?wait=10").json
    assert (told["state"], told["value"]) == ("succeeded", wanted)


def test_a_limit_that_is_reached_is_answered_with_429(shop: Site) -> None:
    assert [shop.ask("/rates").status for _ in range(2)] == [200, 429]
    assert int(shop.ask("/rates").headers["retry-after"]) > 0


def test_the_lifespan_leaves_no_connection_open(server_url: str, namespace: str) -> None:
    """And one whose server is away lets the application start."""
    quaff = Quaff(server_url, namespace=namespace)
    task = quaff.task(lambda: None, name="nothing")

    async def main(app: Quaff, use: Callable[[], Any]) -> None:
        async with lifespan(app)(None):
            await use()
        assert not [key for key in app.store.endpoint._pools if key[0] is asyncio.get_running_loop()]

    asyncio.run(main(quaff, task.adelay))
    asyncio.run(main(Quaff("redis://127.0.0.1:1"), lambda: asyncio.sleep(0)))


def test_litestar_mounts_the_status_and_takes_the_lifespan(server_url: str, namespace: str) -> None:
    """As the page on it says."""
    from litestar import Litestar, asgi
    from litestar.testing import TestClient
    from litestar.types import Receive, Scope, Send

    quaff = Quaff(server_url, namespace=namespace)
    task = quaff.task(lambda: None, name="nothing")
    jobs = JobsApp(quaff, "one")

    @asgi("/jobs", is_mount=True, copy_scope=True)
    async def status(scope: Scope, receive: Receive, send: Send) -> None:
        await jobs(scope, receive, send)  # type: ignore[arg-type]

    with TestClient(Litestar([status], lifespan=[lifespan(quaff)])) as client:
        assert "export function watch" in client.get(jobs.script_url).text
        assert client.get(jobs.ticket(task.delay())["url"]).json()["state"] == "queued"
        assert client.get("/jobs/nonsense").status_code == 404
