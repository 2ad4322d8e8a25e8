"""``GET /jobs/<token>`` from real web servers: state, progress and end; who may see it; and waiting, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quaff.http.tickets import Signer
from quaff.http.views import SCRIPT_VERSION
from tests.helpers import wait_until
from tests.http.site import WAITERS
from tests.http.support import Reply, Site

#: Those on which requests can be kept open.
OPEN = ["werkzeug", "threads", "quart", "asgi"]

Sites = Callable[[str], Site]


@pytest.fixture(params=OPEN)
def site(request: pytest.FixtureRequest, open_site: Sites) -> Site:
    """Each of them."""
    return open_site(request.param)


def until(site: Site, url: str, state: str) -> Reply:
    """Ask until the job is in a state."""
    return wait_until(lambda: reply if (reply := site.ask(url)).json["state"] == state else None)


def test_a_job_is_followed_to_its_value(site: Site, tmp_path: Path) -> None:
    """State, progress, then the value; ``Retry-After`` only while there is something to come."""
    url = site.start("steps", str(tmp_path), 1)["url"]
    running = until(site, url, "running")
    assert running.json == {"state": "running", "progress": None}
    assert running.headers["retry-after"] == "1"
    assert running.headers["cache-control"] == "private, no-cache"
    (tmp_path / "1").touch()
    progress = wait_until(lambda: site.ask(url).json["progress"])
    assert progress == {"done": 1, "total": 1, "note": "step 1"}
    (tmp_path / "end").touch()
    ended = until(site, url, "succeeded")
    assert ended.json == {"state": "succeeded", "progress": progress, "value": "done"}
    assert "retry-after" not in ended.headers


def test_a_failure_has_no_traceback(site: Site) -> None:
    """Reason, type and text only."""
    reply = until(site, site.start("fail")["url"], "failed")
    assert reply.json["error"] == {"reason": "error", "type": "ValueError", "message": "as it should"}
    assert b"Traceback" not in reply.body


def test_an_etag_is_good_until_the_answer_changes(site: Site, tmp_path: Path) -> None:
    """304 without a body, also for a list of tags and for a weak one; another state is another tag."""
    url = site.start("steps", str(tmp_path), 0)["url"]
    tag = until(site, url, "running").headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        reply = site.ask(url, if_none_match=known)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == tag
    (tmp_path / "end").touch()
    assert until(site, url, "succeeded").headers["etag"] != tag
    assert site.ask(url, if_none_match=tag).status == 200


# Who may see it


def test_a_ticket_for_a_user_is_a_forgery_to_everybody_else(site: Site) -> None:
    """S19: missing, forged, foreign and forbidden: the same answer to each, on both URLs."""
    url = site.start("fail", user="ann")["url"]
    assert site.ask(url, x_user="ann").status == 200
    other = site.start("fail")["url"]
    refused = [
        site.ask(f"{each}{end}", **headers)
        for end in ("", "/events")
        for each, headers in [
            (url, {}),
            (url, {"x_user": "bob"}),
            (url, {"x_user": ""}),
            (url[:-3] + "AAA", {"x_user": "ann"}),
            (other[:-3] + "AAA", {}),
            (url.rpartition(".")[0], {"x_user": "ann"}),
            ("/jobs/x", {"x_user": "ann"}),
        ]
    ]
    assert {(reply.status, reply.body) for reply in refused} == {(404, refused[0].body)}
    assert len({tuple(sorted(reply.headers.items() - dates(reply))) for reply in refused}) == 1
    assert refused[0].json["error"]["reason"] == "not_found"
    assert site.ask(other, x_user="bob").status == 200


def dates(reply: Reply) -> set[tuple[str, str]]:
    """What is different each time."""
    return {(name, value) for name, value in reply.headers.items() if name == "date"}


def test_a_ticket_whose_job_is_not_known_looks_like_a_forgery(site: Site) -> None:
    """S19: the signature is right, and that is not told."""
    token = Signer(["one"]).sign("default-0-" + "0" * 32)
    for end in ("", "/events", "?wait=20"):
        reply = site.ask(f"/jobs/{token}{end}")
        assert (reply.status, reply.body) == (404, site.ask("/jobs/x").body)


# ?wait=


def test_a_request_waits_for_the_end(site: Site, tmp_path: Path) -> None:
    """It is answered long before its time is up, and progress alone does not answer it."""
    url = site.start("steps", str(tmp_path), 1)["url"]
    until(site, url, "running")
    (tmp_path / "1").touch()
    threading.Timer(0.5, (tmp_path / "end").touch).start()
    reply = site.ask(f"{url}?wait=25")
    assert reply.json["value"] == "done"
    assert 0.4 < reply.seconds < 12


def test_a_request_with_an_etag_waits_for_a_change(site: Site, tmp_path: Path) -> None:
    """Progress is one. Without any, its time is up at last, and the client has the answer already."""
    url = site.start("steps", str(tmp_path), 1)["url"]
    tag = until(site, url, "running").headers["etag"]
    threading.Timer(0.3, (tmp_path / "1").touch).start()
    reply = site.ask(f"{url}?wait=25", if_none_match=tag)
    assert reply.json["progress"]["done"] == 1
    assert 0.2 < reply.seconds < 12
    tag = reply.headers["etag"]
    reply = site.ask(f"{url}?wait=0.5", if_none_match=tag)
    assert (reply.status, reply.headers["retry-after"]) == (304, "1")
    assert 0.4 < reply.seconds < 12
    (tmp_path / "end").touch()


def test_more_waiters_than_allowed_are_answered_at_once(site: Site, tmp_path: Path) -> None:
    """A process keeps so many requests open and no more; a place that is free again is taken again."""
    url = site.start("steps", str(tmp_path), 0)["url"]
    until(site, url, "running")
    replies: list[Reply] = []

    def wait() -> None:
        # Again, if the looks below had the place for a moment.
        while (reply := site.ask(f"{url}?wait=25")).json["state"] == "running":
            pass
        replies.append(reply)

    waiting = [threading.Thread(target=wait) for _ in range(WAITERS)]
    for each in waiting:
        each.start()
    wait_until(lambda: site.ask(f"{url}/events", method="HEAD").status == 204, what="their places are taken")
    assert site.ask(f"{url}?wait=25").seconds < 12
    assert replies == []
    (tmp_path / "end").touch()
    for each in waiting:
        each.join(20)
    assert [reply.json["value"] for reply in replies] == ["done"] * WAITERS


def test_a_server_with_one_thread_keeps_nothing_open(open_site: Sites, tmp_path: Path) -> None:
    """With gunicorn's sync worker whoever waits would be the only one that is served."""
    site = open_site("sync")
    url = site.start("steps", str(tmp_path), 0)["url"]
    running = until(site, url, "running")
    for _ in range(5):
        assert site.ask(f"{url}?wait=25").seconds < 8
        assert site.ask(f"{url}?wait=25", if_none_match=running.headers["etag"]).status == 304
    refused = site.ask(f"{url}/events")
    assert (refused.status, refused.headers["retry-after"]) == (204, "5")
    (tmp_path / "end").touch()
    assert until(site, url, "succeeded").json["value"] == "done"


# quaff.js


def test_the_script_is_small_and_kept(site: Site) -> None:
    """Below 2 KB; with its version in the URL for ever, else for an hour."""
    reply = site.ask("/jobs/quaff.js")
    assert len(reply.body) < 2048
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["cache-control"] == "public, max-age=3600"
    assert site.ask("/jobs/quaff.js?v=older").headers["cache-control"] == "public, max-age=3600"
    assert "immutable" in site.ask(f"/jobs/quaff.js?v={SCRIPT_VERSION}").headers["cache-control"]
    assert site.ask("/jobs/quaff.js", if_none_match=reply.headers["etag"]).status == 304
