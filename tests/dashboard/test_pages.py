"""What the pages show and do, on a real server with real jobs."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from quaff import JobState, Quaff
from quaff.dashboard import create_dashboard
from quaff.dashboard.words import lasting, number, size
from tests.dashboard import shop
from tests.dashboard.conftest import OURS, Site
from tests.helpers import Program, wait_until
from tests.proxy import Proxy

PAGES = (
    "/",
    *(f"/jobs?state={state}" for state in JobState if state != "blocked"),
    "/jobs?state=failed&q=task:mail.*+error:ConnectionError",
    "/queues",
    "/queues/mail",
    "/queues/idle",
    "/queues/mail/purge",
    "/failures",
    "/schedules",
    "/workers",
    "/tasks",
    "/tasks?by=time",
    "/tasks/mail.send",
    "/tasks/mail.send?span=week",
    "/server",
    "/server?rights=tried",
)


def pages(site: Site) -> list[str]:
    """All, with those of each job and of the flow."""
    return [*PAGES, *(f"/jobs/{job.id}" for job in site.jobs.values()), f"/flows/{site.flow.id}"]


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name == "style"]
        self.ids += [value or "" for name, value in attributes if name == "id"]


def test_every_page_answers_and_shows_hostile_text_as_text(site: Site) -> None:
    """S14: in arguments, results, errors, lines, progress and reasons; no inline style or script is needed."""
    client = site.client()
    for url in pages(site):
        answer = client.get(url)
        assert answer.status_code == 200, (url, answer.text[-2000:])
        found = Elements()
        found.feed(answer.text)
        assert "x-hostile" not in found.names, url
        assert found.handlers == [], url
        assert len(found.ids) == len(set(found.ids)), url
        assert answer.text.count("<script") == 1
        assert "49</textarea>" not in answer.text
        assert "hunter2" not in answer.text
    page = client.get(f"/jobs/{site.jobs['failed'].id}").text
    assert html.escape("<x-hostile", quote=False) in page


@pytest.mark.parametrize("field", ["q", "state", "cursor", "done", "n", "span", "task", "skip"])
def test_what_a_url_says_is_text_too(site: Site, field: str) -> None:
    """S14."""
    for url in ("/jobs", "/tasks/mail.send", "/failures", "/queues"):
        answer = site.client().get(url, query_string={field: shop.HOSTILE})
        found = Elements()
        found.feed(answer.text)
        assert answer.status_code == 200
        assert "x-hostile" not in found.names


def test_a_page_is_sent_again_only_if_it_has_changed(site: Site) -> None:
    """For a script that asks every two seconds."""
    client = site.client()
    url = f"/jobs/{site.jobs['failed'].id}"
    first = client.get(url, headers={"X-Fragment": "main"})
    assert "<html" not in first.text
    again = client.get(url, headers={"X-Fragment": "main", "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_job_that_is_nowhere_is_not_found(site: Site) -> None:
    """With a page that says so."""
    answer = site.client().get("/jobs/mail-0-" + "0" * 32)
    assert answer.status_code == 404
    assert "is not known" in answer.text
    assert site.client().get("/jobs/nonsense").status_code == 404
    assert site.client().get("/flows/nonsense").status_code == 404


def test_a_filter_that_is_none_is_explained(site: Site) -> None:
    """On the page itself."""
    answer = site.client().get("/jobs", query_string={"q": "tsak:mail"})
    assert answer.status_code == 200
    assert "there is no tsak:" in answer.text


def test_a_server_that_is_away_is_a_page(site: Site) -> None:
    """503, and what to do."""
    app = create_dashboard(Quaff("redis://127.0.0.1:1", deadline=0.2), auth=lambda _: "admin")
    answer = app.test_client().get("/")
    assert answer.status_code == 503
    assert "127.0.0.1:1" in answer.text


def test_each_action_does_what_it_says(own_site: Site, worker: Program) -> None:
    """And comes back with a word about it."""
    client, quaff = own_site.client(), own_site.quaff

    def act(url: str, **fields: str) -> str:
        answer = client.post(url, data=fields, headers=OURS, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.text

    failed = own_site.send("mail.send", 3, "x")
    wait_until(lambda: failed.state == "failed", 20)
    assert "is paused" in act("/queues/mail/pause")
    assert quaff.queue("mail").stats().paused
    assert "in line again" in act(f"/jobs/{failed.id}/requeue")
    assert failed.state == "queued"
    assert "1 jobs were cancelled" in act(f"/jobs/{failed.id}/cancel")
    assert failed.state == "cancelled"
    assert "Nothing had to be done" in act(f"/jobs/{failed.id}/requeue")
    waiting = [own_site.send("mail.send", 1, "x") for _ in range(3)]
    assert "Cancel 3 jobs" in client.get("/queues/mail/purge").text
    assert "<b>3 cancelled.</b>" in act("/queues/mail/purge")
    assert {job.state for job in waiting} == {"cancelled"}
    assert "goes on" in act("/queues/mail/resume")
    assert not quaff.queue("mail").stats().paused
    act("/queues/mail/pause", **{"for": "600"})
    assert 590 < (quaff.queue("mail").stats().resumes_in or 0) <= 600
    act("/queues/mail/resume")
    again = own_site.send("mail.send", 3, "x")
    wait_until(lambda: again.state == "failed", 20)
    assert "dead letters were deleted" in act(f"/jobs/{again.id}/discard")
    assert "A job was enqueued" in act("/schedules/weekdays/run")
    act("/schedules/weekdays/pause")
    assert quaff.schedules.get("weekdays").paused  # type: ignore[union-attr]
    act("/schedules/weekdays/resume")
    assert not quaff.schedules.get("weekdays").paused  # type: ignore[union-attr]
    changes = quaff.queue("mail").changes()
    assert {"pause", "resume", "purge", "retry", "cancel", "discard"} <= {change.what for change in changes}
    assert {change.who for change in changes} == {"dashboard@127.0.0.1"}
    assert f"{again.id}, from the dashboard" in {change.about for change in changes}


def test_where_a_running_job_is_in_its_code_an_admin_may_ask(own_site: Site, worker: Program) -> None:
    """The answer comes by itself; a viewer sees none of it, nor anybody an argument."""
    job = own_site.send("wait.for", str(own_site.gate))
    wait_until(lambda: job.state == "running", 20)
    admin, viewer, url = own_site.client(), own_site.client("viewer"), f"/jobs/{job.id}"
    assert "Where is it?" in admin.get(url).text
    assert "Where is it?" not in viewer.get(url).text
    assert viewer.post(f"{url}/stack", headers=OURS).status_code == 403
    assert "Its worker is asked" in admin.post(f"{url}/stack", headers=OURS, follow_redirects=True).text
    page = wait_until(lambda: "in wait_for" in (text := admin.get(url).text) and text, 10, "the stacks")
    assert f"job {job.id}, wait.for, attempt 1, for " in page
    assert page.count(str(own_site.gate)) == page.count(f"path=&#39;{own_site.gate}") > 0, "it is among the arguments"
    assert "in wait_for" not in viewer.get(url).text
    (change,) = (each for each in own_site.quaff.queue("default").changes() if each.what == "stack")
    assert (change.who, change.about) == ("dashboard@127.0.0.1", job.id)
    own_site.gate.touch()
    wait_until(lambda: job.state == "succeeded", 20)
    assert "Nothing had to be done" in admin.post(f"{url}/stack", headers=OURS, follow_redirects=True).text


def test_a_worker_is_drained_when_an_admin_has_said_so_twice(own_site: Site, worker: Program) -> None:
    """It claims nothing more, lets its job end, and ends as it should; who did it is known."""
    job = own_site.send("wait.for", str(own_site.gate))
    wait_until(lambda: job.state == "running", 20)
    admin, viewer = own_site.client(), own_site.client("viewer")
    url = wait_until(lambda: next(iter(re.findall(r'href="(/workers/\w+/drain)"', admin.get("/workers").text)), ""), 10)
    assert "/drain" not in viewer.get("/workers").text
    assert viewer.get(url).status_code == viewer.post(url, headers=OURS).status_code == 403
    assert "It claims nothing more" in admin.get(url).text
    assert admin.get("/workers/ffff/drain").status_code == 404
    assert "claims nothing more" in admin.post(url, headers=OURS, follow_redirects=True).text
    worker.wait_for("draining: somebody has asked for it")
    wait_until(lambda: "stopping" in admin.get("/workers").text, 10, "the word of a worker that stops")
    late = own_site.send("give", 1)
    own_site.gate.touch()
    assert worker.wait(20) == 0
    assert (job.state, late.state) == ("succeeded", "queued")
    assert [each.what for each in own_site.quaff.queue("default").changes() if each.who == "dashboard@127.0.0.1"] == [
        "drain"
    ]
    assert "No worker has said anything" in admin.get("/workers").text


def test_several_jobs_at_once_those_selected_or_all_that_match(own_site: Site) -> None:
    """All are counted first, and asked about."""
    client = own_site.client()
    jobs = [own_site.send("give", n, queue="mail") for n in range(40)]
    others = [own_site.send("add", n, 1, queue="mail") for n in range(5)]
    form = {"state": "queued", "q": "task:give"}
    answer = client.post("/jobs/bulk", data={**form, "do": "cancel", "id": [jobs[0].id, jobs[1].id]}, headers=OURS)
    assert "n=2" in answer.headers["Location"]
    assert [job.state for job in jobs[:3]] == ["cancelled", "cancelled", "queued"]
    asked = client.post("/jobs/bulk", data={**form, "do": "cancel-all"}, headers=OURS)
    assert "Cancel 38 jobs" in asked.text
    assert jobs[3].state == "queued"
    done = client.post("/jobs/bulk", data={**form, "do": "cancel-all", "sure": "1"}, headers=OURS)
    assert "<b>38 cancelled.</b>" in done.text
    assert {job.state for job in jobs} == {"cancelled"}
    assert {job.state for job in others} == {"queued"}
    assert "from the dashboard" in client.get(f"/jobs/{jobs[9].id}").text
    assert client.post("/jobs/bulk", data={"do": "explode", "state": "queued"}, headers=OURS).status_code == 400
    assert client.post("/jobs/bulk", data={"do": "retry-all", "state": "queued"}, headers=OURS).status_code == 400


def test_an_action_that_breaks_off_half_way_says_how_far_it_came(own_site: Site, proxy: Proxy) -> None:
    """Half of the page is there by then, and the rest of it comes all the same."""
    quaff = Quaff(proxy.url, namespace=own_site.namespace, deadline=2)
    for n in range(40):
        own_site.send("give", n)
    form = {"state": "queued", "q": "", "do": "cancel-all", "sure": "1"}
    client = create_dashboard(quaff, auth=lambda _: "admin").test_client()
    answer = client.post("/jobs/bulk", data=form, headers=OURS, buffered=False)
    parts = answer.iter_encoded()
    assert b"<h1>" in next(parts)
    proxy.close()
    rest = b"".join(parts).decode()
    assert "<b>0 of 40 cancelled.</b> Then it broke off: " in rest
    assert rest.rstrip().endswith("</html>")


def test_what_is_parked_is_purged_too(own_site: Site, worker: Program) -> None:
    """As the queue does it, and as the page says."""
    client = own_site.client()
    own_site.quaff.block("give")
    own_site.send("give", 1)
    wait_until(lambda: own_site.quaff.queue("default").stats().parked == 1, 20, "a job that was put aside")
    assert "Purge …" in client.get("/queues/default").text
    assert "Cancel 1 job<" in client.get("/queues/default/purge").text
    assert "<b>1 cancelled.</b>" in client.post("/queues/default/purge", headers=OURS).text


def test_a_long_purge_says_how_far_it_is_and_is_one_change(own_site: Site) -> None:
    """In steps, a line now and then while they are done."""
    client = own_site.client()
    own_site.quaff.tasks["give"].map([(n,) for n in range(700)])
    page = client.post("/queues/default/purge", headers=OURS).text
    assert re.findall(r"<p>(\d+) of 700 looked at", page) == ["300", "600"]
    assert "<b>700 cancelled.</b>" in page
    (change,) = own_site.quaff.queue("default").changes()
    assert (change.what, change.about, change.who) == ("purge", "700 jobs", "dashboard@127.0.0.1")


def test_a_call_is_copied_if_all_of_it_is_shown(own_site: Site) -> None:
    """What is masked or cut is no Python."""
    client = own_site.client()
    for name, arguments, shown in (
        ("add", (1, 2), "add(a=1, b=2)"),
        ("mail.send", (1, "x", "y"), ""),
        ("give", ("x" * 300,), ""),
    ):
        page = client.get(f"/jobs/{own_site.send(name, *arguments).id}").text
        assert re.findall('data-copy="(.*?)"', page) == [shown] * bool(shown)


def test_a_flask_application_mounts_it_behind_its_login(server_url: str, namespace: str) -> None:
    """Beside its own pages, and with its own csrf_token() where it has one."""
    from flask import Flask, session

    from quaff.flask import Quaff

    app = Flask("shop")
    app.config.update(SECRET_KEY="x" * 32, QUAFF_URL=server_url, QUAFF_NAMESPACE=namespace)
    quaff = Quaff(app)
    app.jinja_env.globals["csrf_token"] = lambda: "token-of-the-shop"
    app.register_blueprint(
        quaff.dashboard(auth=lambda _: "admin" if session.get("staff") else None, url_prefix="/jobs-of-the-shop")
    )

    @app.get("/login")
    def login() -> str:
        session["staff"] = True
        return "in"

    client = app.test_client()
    assert client.get("/jobs-of-the-shop/").status_code == 403
    client.get("/login")
    page = client.get("/jobs-of-the-shop/queues")
    assert page.status_code == 200
    assert 'value="token-of-the-shop"' in page.text
    assert client.post("/jobs-of-the-shop/queues/default/pause", headers=OURS).status_code == 303
    assert "Content-Security-Policy" not in client.get("/login").headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "< 1 ms"),
        (0.00034, "340 µs"),
        (0.0034, "3.4 ms"),
        (0.34, "340 ms"),
        (2.44, "2.4 s"),
        (59.97, "1 min"),
        (200, "3 min 20 s"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    """Two units at most."""
    assert lasting(seconds) == text


def test_numbers_are_grouped() -> None:
    """And sizes have a unit."""
    assert (number(1234), number(1.25), number(None)) == ("1,234", "1.2", "–")
    assert (size(100), size(4_404_019), size(2**17), size(None)) == ("100 B", "4.2 MiB", "128 KiB", "–")
