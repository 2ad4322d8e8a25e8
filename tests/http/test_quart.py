"""``quaff.quart`` in a worker and in views; what its URLs answer is in the other files of this folder."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest
from quart import Quart

from quaff import ConfigurationError, JobFailed, RateLimit
from quaff.quart import Quaff
from tests import helpers
from tests.helpers import wait_until
from tests.matrix import ENGINE, known_as

SHOP = """
import pathlib
from quart import Quart, current_app, g
from quaff.quart import Quaff

quaff = Quaff()
NOTES = pathlib.Path(__file__).with_name("notes")

def create_app():
    app = Quart("shop")
    app.config.from_mapping(QUAFF_URL={url!r}, QUAFF_NAMESPACE={namespace!r}, SECRET_KEY="one", NAME="the shop")
    quaff.init_app(app)

    @app.teardown_appcontext
    async def note(error):
        with NOTES.open("a") as notes:
            notes.write(f"{{g.get('mark', 'unmarked')}} {{type(error).__name__}}\\n")
    return app

def work(text):
    before = g.get("mark")
    g.mark = text
    if text.startswith("bad"):
        raise ValueError(text)
    return [before, current_app.config["NAME"]]

@quaff.task
def mark(text: str) -> list:
    return work(text)

@quaff.task
async def amark(text: str) -> list:
    return work(text)
"""


@pytest.fixture(scope="module")
def shop(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module of a shop whose worker runs."""
    folder = tmp_path_factory.mktemp("shop")
    name = f"quart_shop_{uuid4().hex[:8]}"
    (folder / f"{name}.py").write_text(SHOP.format(url=known_as(ENGINE, server_url), namespace=name))
    sys.path.append(str(folder))
    module = __import__(name)
    module.app = module.create_app()  # type: ignore[attr-defined]
    worker = helpers.start_worker(f"{name}:create_app", "-p", "1", "-c", "2", cwd=folder)
    yield module
    worker.end()
    sys.path.remove(str(folder))


@pytest.mark.parametrize("name", ["mark", "amark"])
def test_each_attempt_has_a_fresh_context_and_its_teardown(shop: ModuleType, name: str) -> None:
    """Of plain functions and of coroutines, also after a failure."""
    task = getattr(shop, name)
    for text in (f"first {name}", f"second {name}"):
        assert task.delay(text).result(timeout=15) == [None, "the shop"]
    with pytest.raises(JobFailed, match="bad"):
        task.delay(f"bad {name}").result(timeout=15)
    wanted = {f"first {name} NoneType", f"second {name} NoneType", f"bad {name} ValueError"}
    wait_until(lambda: wanted <= set(shop.NOTES.read_text().splitlines()))


def test_a_view_sends_jobs_and_hands_out_tickets(shop: ModuleType) -> None:
    """In the context of the request; the URL is a path that the application answers."""

    async def visit() -> None:
        async with shop.app.test_request_context("/"):
            job = await shop.amark.adelay("by a view")
            ticket = shop.quaff.ticket(job)
            assert ticket["state"] == "queued"
            assert ticket["url"].startswith("/jobs/")
            assert shop.quaff.script_url.startswith("/jobs/quaff.js?v=")
            assert await job.aresult(timeout=15) == [None, "the shop"]
        answer = await shop.app.test_client().get(ticket["url"])
        assert (await answer.get_json())["value"] == [None, "the shop"]

    asyncio.run(visit())


def test_a_limit_that_is_reached_is_429(server_url: str) -> None:
    """As in Flask."""
    app = Quart("limited")
    app.config.from_mapping(QUAFF_URL=server_url, QUAFF_NAMESPACE=f"n{uuid4().hex[:12]}", SECRET_KEY="one")
    quaff = Quaff(app)

    @app.get("/")
    async def view() -> str:
        for _ in range(3):
            with quaff.limit("api", RateLimit(1, per=60)):
                pass
        return "no limit"

    async def visit() -> tuple[int, str]:
        answer = await app.test_client().get("/")
        return answer.status_code, answer.headers["Retry-After"]

    status, retry_after = asyncio.run(visit())
    assert status == 429
    assert int(retry_after) > 0


def test_an_application_has_one_quaff(server_url: str) -> None:
    """A second one is refused at once."""
    app = Quart("one")
    quaff = Quaff(app)
    for again in (lambda: quaff.init_app(app), lambda: Quaff(app)):
        with pytest.raises(RuntimeError, match="once"):
            again()


def test_a_ticket_for_a_user_needs_somebody_who_says_who_asks(shop: ModuleType, tmp_path: Path) -> None:
    """Else nobody could ever use it."""
    with pytest.raises(ConfigurationError, match="who is asking"):
        shop.quaff.ticket(shop.mark.delay("x"), user="ann")
