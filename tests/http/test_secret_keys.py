"""An application whose SECRET_KEY nobody reads, on a server of its own: told before anything is sent, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from quart import Quart

from quaff import ConfigurationError, group
from quaff.doctor.examine import examine
from quaff.doctor.facts import Finding
from quaff.flask import Quaff
from quaff.quart import Quaff as QuartQuaff
from quaff.store.keys import partition
from tests.engines import Server
from tests.helpers import Program, python, wait_until
from tests.test_docs import blocks

README = Path(__file__).parent.parent.parent / "README.md"
LINE = 'app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]'
PREFIXED = "app.config.from_prefixed_env()"
WORDS = r"os\.environ\['SECRET_KEY'\].*url_prefix=None.*Nothing was sent"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of one's own, as in production: nothing keeps a key beside it."""
    with Server("--appendonly", "yes") as server:
        yield server


def double(n: int) -> int:
    """A task's function."""
    return n * 2


def made(app: Any, server: Server, namespace: str) -> Any:
    """The application on that server, with no key."""
    app.config.from_mapping(QUAFF_URL=server.url, QUAFF_NAMESPACE=namespace)
    return app


def test_a_view_of_an_application_without_a_key_sends_nothing(server: Server, namespace: str) -> None:
    """Told before a job is there, by each way of sending: whoever gets a 500 tries again."""
    app = made(Flask("app"), server, namespace)
    quaff = Quaff(app)
    task = quaff.task(double)

    def in_a_batch() -> None:
        with quaff.batch():
            task.delay(1)

    ways: list[Callable[[], object]] = [
        lambda: task.delay(1),
        lambda: task.map([(1,), (2,)]),
        lambda: asyncio.run(coroutine(lambda: task.adelay(1))),
        in_a_batch,
        lambda: group(task.s(1)).delay(),
        lambda: asyncio.run(coroutine(lambda: group(task.s(1)).adelay())),
    ]
    with app.test_request_context():
        for send in ways:
            with pytest.raises(ConfigurationError, match=WORDS):
                send()
    assert quaff.queue("default").stats().queued == 0
    assert task.delay(1).state == "queued"  # outside of a request nobody makes a ticket of it


async def coroutine(send: Callable[[], Any]) -> Any:
    """It, awaited."""
    return await send()


def test_a_view_of_a_quart_application_without_a_key_sends_nothing(server: Server, namespace: str) -> None:
    """As in Flask."""
    app = made(Quart("app"), server, namespace)
    quaff = QuartQuaff(app)
    task = quaff.task(double)

    async def visit() -> None:
        async with app.test_request_context("/"):
            with pytest.raises(ConfigurationError, match=WORDS):
                await task.adelay(1)

    asyncio.run(visit())
    assert quaff.queue("default").stats().queued == 0


def test_an_application_without_urls_of_jobs_needs_no_key(server: Server, namespace: str) -> None:
    """There is nothing to sign: its views send."""
    app = made(Flask("app"), server, namespace)
    task = Quaff(app, url_prefix=None).task(double)
    with app.test_request_context():
        assert task.delay(1).state == "queued"


def test_the_doctor_says_that_views_cannot_send_and_how_to_read_a_key(server: Server, namespace: str) -> None:
    """A danger, before the first visitor finds it; nothing where there is a key, or no URLs."""

    def found(key: str | None = None, **how: Any) -> list[Finding]:
        app = made(Flask("app"), server, namespace)
        app.config["SECRET_KEY"] = key
        quaff = Quaff(app, **how)
        return [each for each in examine(quaff, [partition(namespace, "default")]) if each.check == "tickets"]

    (finding,) = found()
    assert finding.level == "danger"
    assert "os.environ['SECRET_KEY']" in finding.remedy
    assert found("a key of this test alone") == []
    assert found(url_prefix=None) == []


@pytest.mark.parametrize(("line", "variable"), [(LINE, "SECRET_KEY"), (PREFIXED, "FLASK_SECRET_KEY")])
def test_the_application_of_the_readme_runs_in_production_with_the_line_that_it_gives(
    line: str,
    variable: str,
    server: Server,
    namespace: str,
    tmp_path: Path,
    start_worker: Callable[..., Program],
    running: Callable[[Program], Program],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a real server, with a worker and the key of the environment, from the view to the value at the job's URL."""
    page = README.read_text()
    assert f"`{line}`" in page
    assert f"`{variable}`" in page
    block = blocks(README, "python")[0]
    (tmp_path / "app.py").write_text("import os\n" + block.replace("quaff = Quaff(app)", f"{line}\nquaff = Quaff(app)"))
    environment = {"QUAFF_URL": server.url, "QUAFF_NAMESPACE": namespace, variable: "a key of this test alone"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    start_worker("app:quaff", "-p", "1", cwd=tmp_path)
    asked = 'import app, json; print(json.dumps(app.app.test_client().post("/add/1/2").get_json()["url"]))'
    web = running(python("-c", asked, cwd=tmp_path))
    assert web.wait(15) == 0, web.output
    look = f"import app; print(app.app.test_client().get({web.stdout[0]}).get_json())"

    def told() -> str:
        looking = running(python("-c", look, cwd=tmp_path))
        assert looking.wait(15) == 0, looking.output
        return looking.stdout[0] if "'value': 3" in looking.stdout[0] else ""

    assert wait_until(told, 20, "the value at the job's URL")
