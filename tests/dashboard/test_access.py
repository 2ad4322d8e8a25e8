"""S12, S13, S15: the door. Nobody sees or does anything unless somebody has said so."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from urllib.request import urlopen

import pytest
from flask import Flask
from werkzeug.routing import Rule

from quaff import ConfigurationError, Quaff
from quaff.dashboard import create_dashboard, dashboard_blueprint
from quaff.dashboard.access import POLICY
from quaff.dashboard.assets import NAMES, version
from quaff.flask import Quaff as FlaskQuaff
from tests.dashboard.conftest import OURS, Site
from tests.helpers import Program, python, wait_until
from tests.matrix import owners


def urls(app: Flask, site: Site) -> list[tuple[str, str]]:
    """Every method and URL that the dashboard has, with values that there are."""
    values = {
        "id": site.jobs["failed"].id,
        "name": "mail",
        "stamp": version(),
        "rest": "nowhere",
    }
    adapter = app.url_map.bind("localhost")

    def url(rule: Rule) -> str:
        own = dict(values)
        if rule.endpoint.endswith(".static"):
            own["name"] = "dashboard.css"
        if ".flow" in rule.endpoint:
            own["id"] = site.flow.id
        if ".worker_" in rule.endpoint:
            own["id"] = "00" * 8
        if ".schedule" in rule.endpoint:
            own["name"] = "weekdays"
        return adapter.build(rule.endpoint, {name: own[name] for name in rule.arguments})

    return [
        (method, url(rule)) for rule in app.url_map.iter_rules() for method in rule.methods or () if method != "OPTIONS"
    ]


def test_without_credentials_nothing_answers(site: Site) -> None:
    """S12: each URL, of those that there are: with a refusal, and a policy."""
    app = create_dashboard(site.quaff)
    client = app.test_client()
    tried = urls(app, site)
    assert len(tried) > 30
    for method, url in tried:
        answer = client.open(url, method=method, headers=OURS)
        assert answer.status_code == 403, (method, url)
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert b"closed" in answer.data or method == "HEAD"


def test_a_name_and_password_open_it(site: Site) -> None:
    """Those of the settings, and no others."""
    app = create_dashboard(
        Quaff(site.quaff.settings.url, namespace=site.namespace, dashboard_user="ann", dashboard_password="s3cret")
    )
    client = app.test_client()

    def status(text: str) -> int:
        return client.get(
            "/queues", headers={"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}
        ).status_code

    assert status("ann:s3cret") == 200
    assert [status(text) for text in ("ann:", ":s3cret", "ann:S3cret", "bob:s3cret", "ann:s3cret ", ":")] == [401] * 6
    refused = client.get("/")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="Quaff", charset="UTF-8"')
    assert "s3cret" not in repr(Quaff(dashboard_password="s3cret", dashboard_user="x").settings)


@pytest.mark.parametrize(
    ("debug", "address", "host", "headers", "let_in"),
    [
        (True, "127.0.0.1", "127.0.0.1:5000", {}, True),
        (True, "::1", "[::1]:5000", {}, True),
        (True, "127.0.0.1", "localhost", {}, True),
        (False, "127.0.0.1", "127.0.0.1:5000", {}, False),
        (True, "192.0.2.7", "127.0.0.1:5000", {}, False),
        (True, "127.0.0.1", "evil.example:5000", {}, False),
        (True, "127.0.0.1", "127.0.0.1:5000", {"X-Forwarded-For": "192.0.2.7"}, False),
        (True, "127.0.0.1", "127.0.0.1:5000", {"Forwarded": "for=192.0.2.7"}, False),
        (True, "127.0.0.1", "127.0.0.1.evil.example", {}, False),
    ],
)
def test_this_machine_may_look_in_debug_mode(
    site: Site, debug: bool, address: str, host: str, headers: dict[str, str], let_in: bool
) -> None:
    """S12: not behind a proxy, and not under a name that a page elsewhere has given it."""
    app = Flask("shop")
    app.debug = debug
    app.register_blueprint(dashboard_blueprint(site.quaff))
    answer = app.test_client().get(
        "/quaff/queues", base_url=f"http://{host}", environ_base={"REMOTE_ADDR": address}, headers=headers
    )
    assert answer.status_code == (200 if let_in else 403)


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://localhost"}, True),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_a_page_of_ours_changes_something(own_site: Site, headers: dict[str, str], accepted: bool) -> None:
    """S13: whatever the browser of somebody who is let in is made to send."""
    answer = own_site.client().post("/queues/mail/pause", headers=headers)
    assert answer.status_code == (303 if accepted else 403)
    assert own_site.quaff.queue("mail").stats().paused is accepted
    for method in ("PUT", "PATCH", "DELETE"):
        assert own_site.client().open("/queues/mail/pause", method=method, headers=headers).status_code in (403, 405)
    assert own_site.client().get("/queues/mail/pause").status_code == 404


def test_a_factory_makes_any_number_of_applications_each_with_its_dashboard(server_url: str, namespace: str) -> None:
    """A blueprint is made outside of any context, when nobody can say yet whose server is meant."""
    quaff = FlaskQuaff()
    quaff.task(lambda: 0, name="nothing")

    def create_app(name: str) -> Flask:
        app = Flask(__name__)
        app.config.update(SECRET_KEY="of the tests", QUAFF_URL=server_url, QUAFF_NAMESPACE=f"{namespace}-{name}")
        quaff.init_app(app)
        app.register_blueprint(quaff.dashboard(auth=lambda request: "admin"))
        return app

    apps = [create_app(name) for name in ("first", "second")]
    with apps[1].app_context():
        quaff.tasks["nothing"].delay()
    for app, waiting in zip(apps, (0, 1), strict=True):
        page = app.test_client().get("/quaff/jobs?state=queued")
        assert page.status_code == 200
        assert page.text.count("<td>nothing") == waiting


def test_a_viewer_changes_nothing_and_sees_no_arguments(site: Site) -> None:
    """Nor results; all actions are refused, and none is shown."""
    app = site.app("viewer")
    client = app.test_client()
    before = site.quaff.queue("mail").stats()
    for method, url in urls(app, site):
        if method == "POST":
            assert client.post(url, headers=OURS, data={"do": "retry-all", "state": "failed"}).status_code == 403, url
    assert site.quaff.queue("mail").stats() == before
    for state in ("succeeded", "failed", "scheduled"):
        page = client.get(f"/jobs/{site.jobs[state].id}").text
        assert "subject=" not in page
        assert "<form" not in page.partition("<main")[2].partition("</main")[0]
    assert "subject=" in site.client("admin").get(f"/jobs/{site.jobs['failed'].id}").text
    assert "<button" not in client.get("/jobs?state=scheduled").text.partition("<main")[2].partition("</main")[0]
    assert "subject=" not in client.get("/jobs?state=scheduled").text


def test_a_viewer_sees_no_values_in_rules_either(own_site: Site) -> None:
    """Whose jobs are blocked: on the page of the queue, and in the lists of changes."""
    quaff = own_site.quaff
    quaff.block("mail.send", user=4711)
    quaff.block("mail.send")
    for url in ("/queues/mail", "/server"):
        seen = own_site.client("viewer").get(url).text
        assert "4711" not in seen
        assert seen.count("mail.send(…)") >= 2
        shown = own_site.client("admin").get(url).text
        assert "mail.send(user=4711)" in shown


def test_nobody_is_nobody(site: Site) -> None:
    """Whatever else ``auth`` gives than the two words."""
    for given in (None, "root", True, ""):
        assert create_dashboard(site.quaff, auth=lambda _, given=given: given).test_client().get("/").status_code == 403  # type: ignore[misc]
    with pytest.raises(ConfigurationError, match="give a function of the request"):
        create_dashboard(site.quaff, auth="admin")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "../__init__.py",
        "%2e%2e/__init__.py",
        "..%2f__init__.py",
        "dashboard.css%00.js",
        "/etc/passwd",
        "templates/quaff/layout.html",
        "",
    ],
)
def test_files_are_those_of_a_list(site: Site, name: str) -> None:
    """S15: and none beside them."""
    answer = site.client().get(f"/static/{version()}/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Security-Policy"] == POLICY


def test_files_are_kept_for_ever(site: Site) -> None:
    """Under a URL that changes with them; they are few and small."""
    client = site.client()
    size = 0
    for name in NAMES:
        answer = client.get(f"/static/{version()}/{name}")
        assert answer.headers["Cache-Control"].endswith("immutable")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        size += len(answer.data)
    assert size < 100_000
    assert client.get("/static/0123456789ab/dashboard.css").status_code == 404


@pytest.mark.parametrize(("words", "shown"), [((), {"default", "mail"}), (("-Q", "mail"), {"mail"})])
def test_the_command_shows_the_queues_that_are_on_the_server(
    own_site: Site, running: Callable[[Program], Program], words: tuple[str, ...], shown: set[str]
) -> None:
    """Without an application, which alone knows tasks, as all other commands do."""
    own_site.send("give", 1, queue="mail")
    own_site.send("give", 1)
    command = ("-m", "quaff", "dashboard", "--port", "0", *words)
    # Which queues there are is nobody else's to ask.
    env = own_site.environment | {"QUAFF_URL": owners(own_site.environment["QUAFF_URL"])}
    program = running(python(*command, env=env))
    (url,) = wait_until(lambda: re.findall(r"http://127.0.0.1:\d+/", program.output), 10, "its address")
    page = urlopen(f"{url}queues").read().decode()
    assert set(re.findall(r'/queues/(\w+)"', page)) == shown


def test_the_command_does_not_listen_to_others_without_a_password(
    server_url: str, running: Callable[[Program], Program]
) -> None:
    """S12."""
    command = ("-m", "quaff", "dashboard", "--host", "0.0.0.0", "--port", "0")
    program = running(python(*command, env={"QUAFF_URL": server_url}))
    assert program.wait() == 2
    assert "QUAFF_DASHBOARD_PASSWORD" in program.output
