"""``GET /jobs/<token>/events`` from real web servers: what comes, where it goes on, and who keeps a place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quaff.store.keys import partition
from tests.helpers import Program, wait_until
from tests.http.conftest import start_site
from tests.http.site import WAITERS
from tests.http.support import Event, Listening, Site
from tests.matrix import plain
from tests.proxy import Proxy

#: Those on which requests can be kept open.
OPEN = ["werkzeug", "threads", "quart", "asgi"]

Sites = Callable[[str], Site]


@pytest.fixture(params=OPEN)
def site(request: pytest.FixtureRequest, open_site: Sites) -> Site:
    """Each of them."""
    return open_site(request.param)


def events(*listening: Listening) -> list[tuple[str, Any]]:
    """All that comes until the server ends the stream."""
    return [(event.kind, event.data) for each in listening for event in each]


def until(stream: Listening, kind: str, data: Any) -> Event:
    """Read until that event."""
    return next(event for event in stream if (event.kind, event.data) == (kind, data))


def test_a_page_hears_state_and_progress_as_they_come_and_the_end(site: Site, tmp_path: Path) -> None:
    """The first event is how the job is, the last one its outcome; then the stream ends."""
    stream = site.listen(site.start("steps", str(tmp_path), 2)["url"] + "/events")
    headers = stream.response.headers
    assert headers["Content-Type"].startswith("text/event-stream")
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store", "no")
    until(stream, "state", {"state": "running", "progress": None})
    assert stream.retry == "2000"
    for number in (1, 2):
        (tmp_path / str(number)).touch()
        until(stream, "progress", {"done": number, "total": 2, "note": f"step {number}"})
    (tmp_path / "end").touch()
    progress = {"done": 2, "total": 2, "note": "step 2"}
    assert events(stream) == [("state", {"state": "succeeded", "progress": progress, "value": "done"})]


def test_whoever_comes_late_hears_how_it_is_and_then_the_rest(site: Site, tmp_path: Path) -> None:
    """Progress that was made before is in the first event; of a job that has ended there is but the last one."""
    url = site.start("steps", str(tmp_path), 1)["url"]
    (tmp_path / "1").touch()
    progress = {"done": 1, "total": 1, "note": "step 1"}
    wait_until(lambda: site.ask(url).json["progress"] == progress)
    stream = site.listen(f"{url}/events")
    assert next(stream)[:2] == ("state", {"state": "running", "progress": progress})
    (tmp_path / "end").touch()
    last = ("state", {"state": "succeeded", "progress": progress, "value": "done"})
    assert events(stream) == [last]
    assert events(site.listen(f"{url}/events")) == [last]


def test_a_failure_is_the_last_event(site: Site) -> None:
    """With its reason, and no traceback."""
    *_, last = site.listen(site.start("fail")["url"] + "/events")
    error = {"reason": "error", "type": "ValueError", "message": "as it should"}
    assert (last.kind, last.data) == ("state", {"state": "failed", "progress": None, "error": error})


def test_values_and_lines_come_as_they_are_given(site: Site, tmp_path: Path) -> None:
    """What the task yields and logs itself, not what libraries log; and with the last id the rest alone."""
    url = site.start("words", str(tmp_path), 4)["url"] + "/events"
    stream = site.listen(url)
    for number in range(2):
        (tmp_path / str(number)).touch()
        last = until(stream, "value", f"word {number}")
    lines = wait_until(lambda: lines_of(site, url, 2))
    assert lines == ["line 0", "line 1"]
    stream.close()
    resumed = site.listen(url, last_event_id=last.id)
    for number in (2, 3):
        (tmp_path / str(number)).touch()
    told = events(resumed)
    assert [data for kind, data in told if kind == "value"] == ["word 2", "word 3"]
    assert told[-1][0] == "state"
    assert told[-1][1]["state"] == "succeeded"
    whole = events(site.listen(url))
    assert [data for kind, data in whole if kind == "value"] == [f"word {number}" for number in range(4)]
    assert [data["text"] for kind, data in whole if kind == "log"] == [f"line {number}" for number in range(4)]


def lines_of(site: Site, url: str, count: int) -> list[str]:
    """So many lines as a listener gets them that begins at the beginning."""
    stream = site.listen(url)
    lines: list[str] = []
    for event in stream:
        if event.kind == "log":
            lines.append(event.data["text"])
        if len(lines) == count:
            break
    stream.close()
    return lines


def test_values_of_an_attempt_that_failed_are_taken_back(site: Site, tmp_path: Path) -> None:
    """The job begins anew: ``restart``, and then what the next attempt yields."""
    stream = site.listen(site.start("again", str(tmp_path))["url"] + "/events")
    until(stream, "value", "attempt 1")
    (tmp_path / "1").touch()
    (tmp_path / "2").touch()
    told = [(kind, data) for kind, data in events(stream) if kind in ("value", "restart")]
    assert [kind for kind, _ in told] == ["restart", "value"]
    assert told[1][1] == "attempt 2"


def test_a_last_event_id_that_is_none_begins_at_the_beginning(site: Site, tmp_path: Path) -> None:
    """Whatever a client sends, it is no error."""
    (tmp_path / "0").touch()
    url = site.start("words", str(tmp_path), 1)["url"] + "/events"
    for nonsense in ("x", "-1.2", "1", "9" * 40, "0.0.0", "²."):
        told = events(site.listen(url, last_event_id=nonsense.encode().decode("latin-1")))
        assert ("value", "word 0") in told


# Places


def test_whoever_goes_away_frees_a_place(site: Site, tmp_path: Path) -> None:
    """As many as allowed listen; the next one is sent to the status, until one of them has closed its page."""
    url = site.start("steps", str(tmp_path), 0)["url"] + "/events"
    streams = [site.listen(url) for _ in range(WAITERS)]
    for stream in streams:
        next(stream)
    refused = site.ask(url)
    assert (refused.status, refused.body, refused.headers["retry-after"]) == (204, b"", "5")
    assert site.ask(f"{url.removesuffix('/events')}?wait=20").seconds < 5
    streams.pop().close()
    streams.append(site.listen(url))
    (tmp_path / "end").touch()
    assert all(events(stream)[-1][1]["value"] == "done" for stream in streams)
    assert all(events(site.listen(url))[-1][1]["value"] == "done" for _ in range(2 * WAITERS))


def test_all_listeners_of_a_process_hear_on_one_connection(
    site: Site, environment: dict[str, str], tmp_path: Path
) -> None:
    """However many there are, and whatever they listen to."""
    raw = plain(environment["QUAFF_URL"])
    channel = partition(environment["QUAFF_NAMESPACE"], "default").key("followed")

    def subscribers() -> int:
        ((_, count),) = raw.pubsub_numsub(channel)
        return int(count)

    streams = []
    counts = []
    for number in range(WAITERS):
        (folder := tmp_path / str(number)).mkdir()
        streams.append(site.listen(site.start("steps", str(folder), 1)["url"] + "/events"))
        (folder / "1").touch()
        until(streams[-1], "progress", {"done": 1, "total": 1, "note": "step 1"})
        counts.append(subscribers())
    raw.close()
    for number, stream in enumerate(streams):
        (tmp_path / str(number) / "end").touch()
        assert events(stream)[-1][1]["value"] == "done"
    # Those of other tests, which nobody waits on any more, may close theirs meanwhile.
    assert max(counts) == counts[0]


def test_a_quiet_stream_shows_that_it_lives(open_site: Sites, tmp_path: Path) -> None:
    """A comment now and then, so that nothing on the way takes it for dead, and a client that has gone is found out."""
    site = open_site("asgi")
    stream = site.listen(site.start("steps", str(tmp_path), 0)["url"] + "/events")
    until(stream, "state", {"state": "running", "progress": None})
    assert stream.response.readline() == b": \n"  # within the 40 seconds of its socket
    (tmp_path / "end").touch()
    assert events(stream)[-1][1]["value"] == "done"


def test_a_request_for_the_headers_alone_keeps_no_place(site: Site, tmp_path: Path) -> None:
    """HEAD, many more times than there are places."""
    url = site.start("steps", str(tmp_path), 0)["url"] + "/events"
    for _ in range(3 * WAITERS):
        assert site.ask(url, method="HEAD").status == 200
    (tmp_path / "end").touch()


# The job server


def test_a_job_server_that_is_away_for_a_moment_ends_no_page(
    environment: dict[str, str], proxy: Proxy, running: Callable[[Program], Program], tmp_path: Path
) -> None:
    """A stream survives a broken connection; if the server stays away it ends, and is 503 until there is one again."""
    program, site = start_site("threads", environment | {"QUAFF_URL": proxy.url, "QUAFF_DEADLINE": "2"})
    running(program)
    url = site.start("steps", str(tmp_path), 2)["url"] + "/events"
    stream = site.listen(url)
    until(stream, "state", {"state": "running", "progress": None})
    proxy.cut()
    (tmp_path / "1").touch()
    until(stream, "progress", {"done": 1, "total": 2, "note": "step 1"})
    proxy.swallow()
    assert [event.kind for event in stream] == []
    assert site.ask(url).status == 503
    proxy.swallow_no_more()
    proxy.cut()
    again = site.listen(url)
    (tmp_path / "2").touch()
    (tmp_path / "end").touch()
    assert events(again)[-1][1]["value"] == "done"
