"""``quaff.flask``: one Quaff for many applications, contexts in the worker, and jobs over HTTP."""

from __future__ import annotations

import gc
import json
import shutil
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from quaff import ConfigurationError, Job
from quaff.flask import Quaff
from tests import helpers
from tests.helpers import end_embedded, wait_until
from tests.matrix import ENGINE, known_as

SHOP = """
import asyncio, datetime, os, pathlib, time, uuid
from flask import Flask, current_app, g, has_app_context
from quaff.flask import Quaff

quaff = Quaff()
NOTES = pathlib.Path(__file__).with_name("notes")

def create_app():
    app = Flask("shop")
    app.config.from_mapping(QUAFF_URL={url!r}, QUAFF_NAMESPACE={namespace!r}, SECRET_KEY="one", NAME="the shop")
    quaff.init_app(app)

    @app.teardown_appcontext
    def note(error):
        with NOTES.open("a") as notes:
            notes.write(f"{{g.get('mark', 'unmarked')}}\\n")
    return app

@quaff.task
def add(a: int, b: int) -> int:
    return a + b

@quaff.task
def mark(text: str) -> list:
    before = g.get("mark")
    g.mark = text
    if text == "bad":
        raise ValueError("a secret of nobody")
    return [before, current_app.config["NAME"]]

@quaff.task
async def amark(text: str) -> list:
    before = g.get("mark")
    g.mark = text
    await asyncio.sleep(0.05)
    return [before, g.mark, current_app.config["NAME"]]

@quaff.task
def again() -> str:
    return add.delay(20, 22).id

@quaff.task
def hold(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.01)
    return "held"

@quaff.task
def odd() -> dict:
    return {{
        "bytes": b"\\xff\\x00", "when": datetime.datetime(2011, 9, 24, 19, 49, tzinfo=datetime.UTC), "set": {{1}},
        "id": uuid.UUID(int=7), (1, 2): 2**70,
    }}

@quaff.task(result_ttl=0)
def forgotten() -> int:
    return 1
"""


@pytest.fixture(scope="module")
def shop(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module of a shop whose worker runs; its one application is ``shop.app``."""
    folder = tmp_path_factory.mktemp("shop")
    name = f"shop_{uuid4().hex[:8]}"
    (folder / f"{name}.py").write_text(SHOP.format(url=known_as(ENGINE, server_url), namespace=name))
    sys.path.append(str(folder))
    module = __import__(name)
    module.app = module.create_app()  # type: ignore[attr-defined]
    worker = helpers.start_worker(f"{name}:create_app", "-p", "1", "-c", "2", cwd=folder)
    yield module
    worker.end()
    sys.path.remove(str(folder))


@pytest.fixture
def client(shop: ModuleType) -> FlaskClient:
    """Asks the shop."""
    client: FlaskClient = shop.app.test_client()
    return client


def make_app(url: str, **config: Any) -> Flask:
    """An application with a key and a server."""
    app = Flask(f"app{uuid4().hex[:6]}")
    app.config.from_mapping({"SECRET_KEY": "one", "QUAFF_URL": url, **config})
    return app


def double(n: int) -> int:
    """A task's function."""
    return n * 2


def ended(job: Job[Any]) -> bool:
    """Whether a job has ended."""
    return job.state.terminal


# Applications


def test_one_quaff_serves_the_application_whose_context_is_there(server_url: str) -> None:
    """``delay`` in the context of an application goes to that application's server and namespace."""
    quaff = Quaff()
    task = quaff.task(double)
    apps = [make_app(server_url, QUAFF_NAMESPACE=f"n{uuid4().hex}") for _ in range(2)]
    for app in apps:
        quaff.init_app(app)
        assert app.extensions["quaff"] is quaff
    with apps[1].app_context():
        job = task.delay(1)
        assert quaff.settings.namespace == apps[1].config["QUAFF_NAMESPACE"]
        assert quaff.job(job.id).state == "queued"
    with apps[0].test_request_context(), pytest.raises(LookupError):
        _ = quaff.job(job.id).state


def test_a_request_decides_over_the_application_that_is_served(server_url: str) -> None:
    """In a worker too, a context that a task pushes itself is the one that counts."""
    quaff = Quaff()
    one, other = (make_app(server_url, QUAFF_NAMESPACE=name) for name in ("one", "other"))
    quaff.init_app(one)
    quaff.init_app(other)
    quaff.serve(one)
    assert quaff.settings.namespace == "one"
    with other.app_context():
        assert quaff.settings.namespace == "other"
    with Flask("stranger").app_context():
        assert quaff.settings.namespace == "one"


def test_the_only_application_needs_no_context(server_url: str) -> None:
    """A script with one application may call ``delay`` at once, even if nothing else holds the application."""
    quaff = Quaff(make_app(server_url, QUAFF_NAMESPACE="alone"))
    gc.collect()
    assert quaff.settings.namespace == "alone"


def test_two_applications_without_a_context_are_an_error_that_says_what_to_do(server_url: str) -> None:
    """Nobody guesses which of several applications is meant."""
    quaff = Quaff()
    apps = [make_app(server_url), make_app(server_url)]
    for app in apps:
        quaff.init_app(app)
    with pytest.raises(ConfigurationError, match=r"2 applications .*with app.app_context\(\)"):
        quaff.task(double).delay(1)


def test_no_application_is_an_error_that_says_what_to_do() -> None:
    """A Quaff that was never given an application says so."""
    with pytest.raises(ConfigurationError, match="init_app"):
        Quaff().task(double).delay(1)


def test_an_application_has_one_quaff(server_url: str) -> None:
    """A second one, or the same once more, is refused at once."""
    app = make_app(server_url)
    quaff = Quaff(app)
    for again in (lambda: quaff.init_app(app), lambda: Quaff(app)):
        with pytest.raises(RuntimeError, match="once"):
            again()


def test_an_application_that_is_dropped_can_go(server_url: str) -> None:
    """A Quaff of a factory's module holds none of the applications the factory made."""
    quaff = Quaff()
    app = make_app(server_url, QUAFF_NAMESPACE="short-lived")
    quaff.init_app(app)
    assert quaff.settings.namespace == "short-lived"
    del app
    gc.collect()
    with pytest.raises(ConfigurationError, match="init_app"):
        _ = quaff.settings


def test_what_a_worker_serves_stays(server_url: str) -> None:
    """The application that a factory made for a worker has no other holder."""
    quaff = Quaff()
    app = make_app(server_url)
    quaff.init_app(app)
    quaff.serve(app)
    del app
    gc.collect()
    with quaff.attempt_scope() as context:
        assert context.app.extensions["quaff"] is quaff


# Settings


def test_settings_may_be_set_after_init_app(server_url: str) -> None:
    """They are read at the first use, from the keys with our prefix; code gives the defaults."""
    app = Flask("late")
    quaff = Quaff(app, namespace="code", result_ttl=7)
    app.config.from_mapping(QUAFF_URL=server_url, QUAFF_NAMESPACE="config", QUAFF_LEASE=None)
    assert (quaff.settings.namespace, quaff.settings.result_ttl, quaff.settings.lease) == ("config", 7, 30)


def test_the_environment_goes_before_app_config(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deploys has the last word, but for the command line."""
    monkeypatch.setenv("QUAFF_NAMESPACE", "environment")
    quaff = Quaff(make_app(server_url, QUAFF_NAMESPACE="config"))
    assert quaff.settings.namespace == "environment"
    quaff.override(namespace="flag", lease=None)
    assert quaff.settings.namespace == "flag"


def test_an_unknown_key_is_warned_about(server_url: str) -> None:
    """It may be another extension's, so it is no error."""
    quaff = Quaff(make_app(server_url, QUAFF_NAMSPACE="shop"))
    with pytest.warns(UserWarning, match="QUAFF_NAMESPACE|'namespace'"):
        assert quaff.settings.namespace == "quaff"


def test_a_wrong_setting_names_its_place(server_url: str) -> None:
    """The error says that it stands in app.config."""
    quaff = Quaff(make_app(server_url, QUAFF_LEASE="soon"))
    with pytest.raises(ConfigurationError, match=r"lease='soon' from app.config"):
        _ = quaff.settings


# Tickets


def test_a_ticket_straight_from_delay_asks_nothing(shop: ModuleType) -> None:
    """Its state is ``queued`` without a question; the next one is the real one."""
    with shop.app.test_request_context():
        job = shop.add.delay(1, 2)
        wait_until(lambda: ended(shop.quaff.job(job.id)))
        ticket = shop.quaff.ticket(job)
        assert ticket == {"id": job.id, "state": "queued", "url": ticket["url"]}
        assert shop.quaff.ticket(job) == ticket | {"state": "succeeded"}
        assert shop.quaff.ticket(shop.quaff.job(job.id))["state"] == "succeeded"


def test_a_ticket_in_a_batch_has_a_state_too(shop: ModuleType) -> None:
    """The job is sent at the end of the block, before anybody can have the ticket."""
    with shop.app.app_context():
        with shop.quaff.batch():
            ticket = shop.quaff.ticket(shop.add.delay(1, 2))
        assert ticket["state"] == "queued"


def test_a_ticket_url_is_a_path(shop: ModuleType) -> None:
    """Also below a prefix that the web server adds, and outside of any request."""
    with shop.app.test_request_context():
        assert shop.quaff.ticket(shop.add.delay(1, 2))["url"].startswith("/jobs/")
    with shop.app.test_request_context(environ_overrides={"SCRIPT_NAME": "/mounted"}):
        assert shop.quaff.ticket(shop.add.delay(1, 2))["url"].startswith("/mounted/jobs/")
    assert shop.quaff.ticket(shop.add.delay(1, 2))["url"].startswith("/jobs/")


def test_the_status_url_can_be_elsewhere_or_nowhere(server_url: str) -> None:
    """``url_prefix=None`` mounts nothing, and tickets have no URL."""
    elsewhere = Quaff(make_app(server_url), url_prefix="/api/tasks")
    url = elsewhere.ticket(elsewhere.task(double).delay(1))["url"]
    assert url is not None
    assert url.startswith("/api/tasks/")
    app = make_app("redis://127.0.0.1:1", SECRET_KEY=None)
    nowhere = Quaff(app, url_prefix=None)
    job: Job[int] = Job(nowhere.store, nowhere.settings, elsewhere.task(double).delay(1)._id, fresh=True)
    assert nowhere.ticket(job)["url"] is None
    assert not [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("quaff")]


# GET /jobs/<token>


def test_an_expired_result_is_still_a_known_job(shop: ModuleType, client: FlaskClient) -> None:
    """200 with the state, and an error that says that the value is gone."""
    job = shop.forgotten.delay()
    wait_until(lambda: ended(job))
    answer = client.get(shop.quaff.ticket(job)["url"])
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["state"], answer.json["error"]["reason"]) == ("succeeded", "expired")


def test_only_the_own_key_and_its_fallbacks_are_good(shop: ModuleType) -> None:
    """A rotated key keeps the tickets of the old one good; another application's key does not."""
    token = shop.quaff.ticket(shop.add.delay(1, 2))["url"]
    assert status_with(shop, token, SECRET_KEY="two") == 404
    assert status_with(shop, token, SECRET_KEY="two", SECRET_KEY_FALLBACKS=["zero", "one"]) == 200


def status_with(shop: ModuleType, url: str, **config: Any) -> int:
    """What another application on the shop's server answers."""
    known = {name: shop.app.config[name] for name in ("QUAFF_URL", "QUAFF_NAMESPACE")}
    app = Flask("twin")
    app.config.from_mapping({**known, **config})
    Quaff(app)
    return app.test_client().get(url).status_code


def test_a_server_that_is_away_is_503(shop: ModuleType) -> None:
    """Not a 500, and the answer does not say where the server was."""
    app = make_app("redis://127.0.0.1:1", QUAFF_DEADLINE=0.2)
    Quaff(app)
    url = shop.quaff.ticket(shop.add.delay(1, 2))["url"]
    for each in (url, f"{url}?wait=5", f"{url}/events"):
        answer = app.test_client().get(each, environ_overrides={"wsgi.multithread": True})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert b"127.0.0.1" not in answer.data
        assert answer.json is not None
        assert answer.json["error"]["reason"] == "unavailable"


def test_values_that_json_lacks_become_text(shop: ModuleType, client: FlaskClient) -> None:
    """Bytes as base64, dates as ISO 8601, sets as lists, keys as text, big integers whole."""
    job = shop.odd.delay()
    wait_until(lambda: ended(job))
    told = json.loads(client.get(shop.quaff.ticket(job)["url"]).data)
    assert told["value"] == {
        "bytes": "/wA=",
        "when": "2011-09-24T19:49:00Z",
        "set": [1],
        "id": "00000000-0000-0000-0000-000000000007",
        "(1, 2)": 2**70,
    }


# Without SECRET_KEY


@pytest.fixture
def own_server() -> Iterator[Path]:
    """The directory of a server of one test's own."""
    home = Path(f"/tmp/quaff-t{uuid4().hex[:6]}")
    yield home
    end_embedded(home)
    shutil.rmtree(home, ignore_errors=True)


def test_an_embedded_server_keeps_a_key_for_all_processes(own_server: Path) -> None:
    """Made once, readable by its owner only, the same for whichever application comes first."""
    apps = [make_app(f"embedded://{own_server}", SECRET_KEY=None) for _ in range(8)]
    quaffs = [Quaff(app) for app in apps]
    job = quaffs[0].task(double).delay(1)
    urls: set[str | None] = set()
    threads = [threading.Thread(target=lambda each=each: urls.add(url_of(each, job.id))) for each in quaffs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 1
    key = own_server / "secret.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) >= 32
    assert [each.name for each in own_server.glob("secret.key*")] == ["secret.key"]
    assert apps[3].test_client().get(urls.pop()).status_code == 200


def url_of(quaff: Quaff, id: str) -> str | None:
    """The status URL of a job."""
    return quaff.ticket(quaff.job(id))["url"]


def test_any_other_server_needs_a_secret_key() -> None:
    """The error says how to make one, and what to do without tickets."""
    app = make_app("redis://127.0.0.1:1", SECRET_KEY=None)
    quaff = Quaff(app)
    with pytest.raises(ConfigurationError, match=r"token_hex.*url_prefix=None"):
        quaff.ticket(quaff.job("default-0-" + "0" * 32))


# In the worker


def test_each_attempt_has_a_fresh_context_of_the_application(shop: ModuleType) -> None:
    """``g`` is empty at the start, ``current_app`` is what the factory made; in ``def`` and ``async def``."""
    with shop.app.app_context():
        assert [job.result(10) for job in shop.mark.map([("one",), ("two",)])] == [[None, "the shop"]] * 2
        jobs = shop.amark.map([("three",), ("four",)])
        assert [job.result(10) for job in jobs] == [[None, "three", "the shop"], [None, "four", "the shop"]]


def test_the_context_is_torn_down_whatever_the_attempt_came_to(shop: ModuleType) -> None:
    """Sessions and connections are given back also after a failure."""
    mark = uuid4().hex
    jobs = [shop.mark.delay(text) for text in (mark, "bad")]
    wait_until(lambda: all(map(ended, jobs)))
    shop.amark.delay(mark + "async").result(10)
    notes = shop.NOTES.read_text()
    assert {mark, "bad", mark + "async"} <= set(notes.split("\n"))


def test_a_task_sends_jobs_to_the_application_it_runs_in(shop: ModuleType) -> None:
    """``delay`` inside of a task needs nothing around it."""
    job = shop.quaff.job(shop.again.delay().result(10))
    assert job.result(10) == 42
