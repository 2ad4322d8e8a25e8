"""What a worker tells the world by a webhook: real receivers, also such as hang, refuse or send us elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from quaff.errors import ConfigurationError
from quaff.model import ids, message, outcome
from quaff.model.outcome import Attempt
from quaff.model.source import Source
from quaff.model.webhook import check
from quaff.store.alerting import Due, First, Letter
from quaff.store.keys import Partition
from quaff.worker import webhook
from quaff.worker.alerts import _given_up, waited
from quaff.worker.webhook import Undelivered, Webhook
from tests.certificates import certify
from tests.helpers import wait_until
from tests.worker.support import Stage, kill, tree

KEY = "a key of the receiver's"


class Receiver:
    """Listens for a webhook.

    Args:
        tls: speaks TLS, with the certificate in this folder.

    Attributes:
        does: what it does with the next calls: a status, ``hang``, ``drip`` or a URL to go to; else 200.
        calls: headers and body of each.
    """

    def __init__(self, tls: Path | None = None) -> None:
        self.does: deque[int | str] = deque()
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.gate = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append((dict(self.headers), body))
                receiver.answer(self)

            def do_GET(self) -> None:
                receiver.calls.append((dict(self.headers), b""))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "server.pem", tls / "server.key")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}/hook?token=hunter2"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """As it is told."""
        what = self.does.popleft() if self.does else 200
        if what == "hang":
            self.gate.wait(30)
            handler.close_connection = True
        elif what == "drip":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.gate.wait(0.1):
                handler.wfile.write(b"X-More: and more\r\n")
        else:
            handler.send_response(302 if isinstance(what, str) else what)
            if isinstance(what, str):
                handler.send_header("Location", what)
            handler.end_headers()

    def events(self) -> list[dict[str, Any]]:
        """All that it was told, in order."""
        return [event for _, body in self.calls for event in json.loads(body)["events"]]

    def close(self) -> None:
        """Hang up."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def new_receiver() -> Iterator[Callable[..., Receiver]]:
    """Makes some."""
    made: list[Receiver] = []

    def make(tls: Path | None = None) -> Receiver:
        made.append(Receiver(tls))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def receiver(new_receiver: Callable[..., Receiver]) -> Receiver:
    """One."""
    return new_receiver()


def hooked(receiver: Receiver, **more: str) -> dict[str, str]:
    """The settings of a worker that tells it."""
    return {"WEBHOOK_URL": receiver.url, "WEBHOOK_KEY": KEY, **more}


def test_each_job_that_is_given_up_is_told_once_by_one_of_several_workers_and_signed(
    stage: Stage, receiver: Receiver
) -> None:
    """Whatever it failed of; not what succeeds, is tried again, or was given up before anybody was to be told."""
    before = stage.worker("-p", "1")
    old = stage.send("fail", "error")
    wait_until(lambda: old.state == "failed", 10)
    before.stop()
    workers = [stage.worker("-p", "1", **hooked(receiver)) for _ in range(2)]
    wait_until(lambda: stage.raw().exists(stage.key("alerts")), 10, "the first look")
    jobs = [*stage.many("fail", [("error",)] * 30), stage.send("hang", "late", "computing", timeout=0.3)]
    stage.send("mark", "good").result(timeout=10)
    wait_until(lambda: {event["id"] for event in receiver.events()} >= {job.id for job in jobs}, 20, "all of them")
    events = receiver.events()
    assert sorted(event["id"] for event in events) == sorted(job.id for job in jobs)
    assert len({event["key"] for event in events}) == len(events)
    (late,) = (event for event in events if event["id"] == jobs[-1].id)
    assert (late["event"], late["task"], late["queue"], late["reason"]) == ("job.failed", "hang", "default", "timeout")
    for headers, body in receiver.calls:
        assert len(body) < 20 * 1200
        at, _, told = headers["Quaff-Signature"].removeprefix("t=").partition(",v1=")
        assert told == hmac.new(KEY.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        assert abs(time.time() - int(at)) < 60
        assert json.loads(body)["namespace"] == stage.namespace
    for worker in workers:
        assert "hunter2" not in worker.output
        assert worker.stop() == 0


def test_a_receiver_that_hangs_or_refuses_is_told_later_and_holds_up_no_job(stage: Stage, receiver: Receiver) -> None:
    """It is told again after a while, and longer each time; the worker says so once."""
    receiver.does.extend(["hang", 500])
    worker = stage.worker("-p", "1", **hooked(receiver))
    wait_until(lambda: stage.raw().exists(stage.key("alerts")), 10, "the first look")
    job = stage.send("fail", "error")
    wait_until(lambda: receiver.calls, 10, "the first call")
    began = time.monotonic()
    for number in range(50):
        stage.send("mark", f"meanwhile {number}").result(timeout=5)
    assert time.monotonic() - began < 4
    assert len(receiver.calls) == 1
    worker.wait_for("the webhook answers again", 25)
    assert len(receiver.calls) == 3
    assert {event["id"] for event in receiver.events()} == {job.id}
    assert len({event["key"] for event in receiver.events()}) == 1
    assert worker.output.count("the webhook was not told") == 1
    assert "hunter2" not in worker.output
    receiver.does.append("hang")
    stage.send("fail", "error")
    wait_until(lambda: len(receiver.calls) == 4, 10, "another call")
    assert worker.stop(timeout=3) == 0


def test_a_queue_whose_head_waits_for_too_long_is_late_until_it_does_so_no_more(
    stage: Stage, receiver: Receiver
) -> None:
    """Told once each, and in the log; a paused queue waits because somebody wants it to."""
    worker = stage.worker("-p", "1", "-c", "1", **hooked(receiver, ALERT_WAIT="1"))
    path = stage.file()
    stage.send("gate", "held", str(path))
    stage.started("held")
    waiting = [stage.send("mark", f"waits {number}") for number in range(2)]
    worker.wait_for("queue default is late: the head of its line has waited for")
    path.touch()
    worker.wait_for("queue default is late no more")
    for job in waiting:
        job.result(timeout=10)
    stage.quaff.queue("default").pause()
    stage.send("mark", "later")
    (late, recovered) = wait_until(lambda: len(receiver.events()) == 2 and receiver.events(), 10)
    assert (late["event"], late["queue"], recovered["event"]) == ("queue.late", "default", "queue.recovered")
    assert 1 < late["waits"] < 15
    looked = stage.raw().hget(stage.key("alerts"), "until")
    wait_until(lambda: stage.raw().hget(stage.key("alerts"), "until") > looked + b"", 10, "another look")
    assert len(receiver.events()) == 2


def test_what_is_delayed_or_of_a_flow_waits_from_when_it_is_due() -> None:
    """An id tells when a job was sent, which for these says nothing."""
    home, source, now = Partition("n", "q"), Source("n"), int(time.time() * 1000)

    def seconds(**terms: Any) -> float:
        id = (now - 60_000).to_bytes(6, "big") + ids.new_raw()[6:]
        return waited(source, home, Due(now, False, False, [First(id, message.encode("t", [], {}, terms))], []))

    assert seconds() == 60
    assert seconds(due=now - 2000) == 2
    assert seconds(scheduled=now - 3000) == 3
    assert seconds(flow="f") == 0
    assert waited(source, home, Due(now, False, False, [First(ids.new_raw(), b"nonsense")], [])) == 0


@pytest.mark.parametrize(("word", "seconds"), [("lapsed", 5), ("crashed", 5), ("released", 5), ("failed", 0)])
def test_one_that_has_begun_waits_from_when_its_attempt_was_cut_short(word: str, seconds: int) -> None:
    """One that failed had to wait for its time first, and nobody knows for how long."""
    now = int(time.time() * 1000)
    record = outcome.encode(Attempt(1, now - 9000, now - 5000, "w", 1, word))
    first = First(ids.new_raw(), message.encode("t", [], {}), len(record).to_bytes(4, "big") + record)
    assert waited(Source("n"), Partition("n", "q"), Due(now, False, False, [first], [])) == seconds


def test_a_letter_whose_time_was_damaged_is_told_as_well() -> None:
    """The thread that tells goes on to the others; the time is none."""
    letter = Letter(ids.new_raw(), 2**53, b"")
    assert _given_up(Partition("n", "q"), letter).at.startswith("1970-01-01")


def test_who_tells_and_is_killed_is_followed_by_another_worker(stage: Stage, receiver: Receiver) -> None:
    """It goes on where that one was: what was told is not told again, and nothing is left out."""
    first = stage.worker("-p", "1", **hooked(receiver))
    told_by = wait_until(lambda: stage.raw().hget(stage.key("alerts"), "who"), 10, "the first look")
    before = stage.send("fail", "error")
    wait_until(receiver.events, 10, "the first call")
    # Noted behind it, with the next look.
    id = ids.parse(before.id)
    assert id is not None
    wait_until(lambda: stage.raw().hget(stage.key("alerts"), "id") == id.raw, 10, "the note")
    for pid in tree(stage, first):
        kill(pid)
    stage.worker("-p", "1", **hooked(receiver))
    after = stage.send("fail", "error")
    wait_until(lambda: after.state == "failed", 10)
    assert stage.raw().hget(stage.key("alerts"), "who") == told_by
    stage.raw().hset(stage.key("alerts"), "until", 1)  # half a minute has passed
    wait_until(lambda: len(receiver.events()) > 1, 10, "the second call")
    assert [event["id"] for event in receiver.events()] == [before.id, after.id]
    assert stage.raw().hget(stage.key("alerts"), "who") != told_by


def test_a_receiver_with_a_certificate_of_ones_own_authority(
    tmp_path: Path, new_receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names it, as for all that uses OpenSSL; without it, or with another one, nothing is sent."""
    folder = certify(tmp_path)
    receiver = new_receiver(folder)
    for authority in (None, folder / "stranger.pem"):
        if authority:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with pytest.raises(Undelivered, match="SSL_CERT_FILE"):
            Webhook(receiver.url, KEY).send(b"{}")
    assert receiver.calls == []
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    Webhook(receiver.url, KEY).send(b"{}")
    assert [body for _, body in receiver.calls] == [b"{}"]


def test_a_redirect_is_not_followed(new_receiver: Callable[..., Receiver]) -> None:
    """S16: what is there would be told by somebody who is not asked."""
    receiver, canary = new_receiver(), new_receiver()
    receiver.does.append(canary.url)
    with pytest.raises(Undelivered, match="answered 302, and redirects are not followed"):
        Webhook(receiver.url, KEY).send(b"{}")
    assert canary.calls == []


def test_one_who_answers_drop_by_drop_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes little, all together would take for ever."""
    monkeypatch.setattr(webhook, "DEADLINE", 0.5)
    receiver.does.append("drip")
    began = time.monotonic()
    with pytest.raises(Undelivered, match="no whole answer"):
        Webhook(receiver.url, KEY).send(b"{}")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0"])
def test_no_webhook_leads_to_where_a_machine_gets_its_credentials(host: str) -> None:
    """S16: such addresses are of this machine's surroundings alone, whatever a name resolves to."""
    with pytest.raises(Undelivered, match="is no address for a webhook"):
        Webhook(f"http://{host}/latest", KEY).send(b"{}")


def test_nobody_there_is_undelivered() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Undelivered, match="refused"):
        Webhook(f"http://127.0.0.1:{port}", KEY).send(b"{}")


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("ftp://host/x", KEY, "http"),
        ("http:///x", KEY, "http"),
        ("http://host:99999/", KEY, "http"),
        ("http://host/a b", KEY, "http"),
        ("http://host/\r\nX: y", KEY, "http"),
        ("https://hunter2/x", "", "needs webhook_key"),
        ("https://hunter2/x", "short", "needs webhook_key"),
    ],
)
def test_a_url_that_is_none_and_a_key_that_is_missing_are_refused(url: str, key: str, says: str) -> None:
    """Without saying any of it: whoever knows the URL may often call it."""
    with pytest.raises(ConfigurationError, match=says) as error:
        check(" from here", url, key)
    assert "hunter2" not in str(error.value)
