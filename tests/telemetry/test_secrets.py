"""What nobody should see goes to no monitoring: values of ``sensitive=`` arguments, and the server's password."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from quaff import Job, Quaff
from quaff.dashboard import create_dashboard
from quaff.model.masking import MASKED
from tests.engines import Server
from tests.helpers import wait_until
from tests.telemetry import traceapp
from tests.telemetry.conftest import APP
from tests.worker.support import Stage

CANARY = "a canary 'of' 4711x"
PARTS = ("canary", "4711x")


@pytest.fixture
def told(stage: Stage) -> Callable[[], str]:
    """What a worker that is started for it has exported, all of it."""
    spans, envelopes = stage.file(), stage.file()
    stage.worker("-p", "1", app=APP, environment={"SPANS": str(spans), "ENVELOPES": str(envelopes)})
    return lambda: "".join(path.read_text() for path in (spans, envelopes) if path.exists())


def ended(job: Job[Any]) -> Job[Any]:
    """A job that has ended."""
    wait_until(lambda: job.state.terminal, 20, "the end of a job")
    return job


@pytest.mark.parametrize("task", ["tells", "atells"])
def test_an_argument_that_nobody_should_see_is_in_no_span_and_no_report(
    quaff: Quaff, told: Callable[[], str], task: str
) -> None:
    """S6, S17: not in an error's text, its cause, its traceback, the variables of its frames, or what was logged."""
    job = ended(quaff.tasks[task].delay(CANARY))
    text = wait_until(lambda: (found := told()).count("LookupError") > 4 and found, 10, "what was exported")
    assert f"nothing like {MASKED}" in text
    assert "it is" in text
    assert [part for part in PARTS if part in text] == []
    assert job.info().error
    assert [part for part in PARTS if part in repr(job.info())] == []


def test_no_argument_of_any_call_of_a_batch_is_shown(stage: Stage, quaff: Quaff, told: Callable[[], str]) -> None:
    """S6, S17: what one call in it has to hide is hidden in what is kept of the others, too."""
    jobs = quaff.tasks["tells_of_all"].map([(f"{CANARY} of {name}",) for name in ("ann", "bob", "cyd")])
    for job in jobs:
        ended(job)
    wait_until(lambda: told().count("LookupError") > 2, 10, "what was exported")
    wait_until(lambda: any(job.info().logs for job in jobs), 10, "their lines")
    shown = [repr(job.info()) for job in jobs]
    assert any(MASKED in each for each in shown)
    for text in (*shown, told()):
        assert [part for part in PARTS if part in text] == []


def pages(client: FlaskClient, ids: list[str]) -> Iterator[tuple[str, str]]:
    """Each page there is, with each of these jobs."""
    app = client.application
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            values = {"id": ids, "name": ["default", "tells"]}.get(next(iter(rule.arguments), ""), ["x"])
            for value in values:
                url = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, value))
                answer = client.get(url)
                assert answer.status_code in (200, 404), (url, answer.text)
                yield url, answer.text
    for state in ("queued", "running", "scheduled", "retrying", "failed"):
        yield state, client.get(f"/jobs?state={state}").text


def test_an_argument_that_nobody_should_see_is_on_no_page(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """S6, S17: of a job that waits, runs, is asked where it is, or has failed; what is beside it is shown."""
    stage.worker("-p", "1", app=APP)
    go, tells = stage.file(), quaff.tasks["tells"]
    failed = ended(tells.delay(CANARY))
    running = tells.delay(CANARY, str(go))
    wait_until(lambda: running.state == "running", 20, "a job that runs")
    waits = [tells.options(delay=3600).delay(CANARY), tells.options(queue="idle").delay(CANARY)]
    client = create_dashboard(quaff, auth=lambda _: "admin").test_client()
    ours = {"Sec-Fetch-Site": "same-origin"}
    assert client.post(f"/jobs/{running.id}/stack", headers=ours).status_code == 303
    wait_until(lambda: "in tells_in_a_thread" in client.get(f"/jobs/{running.id}").text, 20, "where it is")
    seen = dict(pages(client, [job.id for job in (failed, running, *waits)]))
    assert {url: part for url, text in seen.items() for part in PARTS if part in text} == {}
    assert str(go) in seen[f"/jobs/{running.id}"]
    assert "LookupError" in seen[f"/jobs/{failed.id}"]
    assert sum(f"note={MASKED}" in text for text in seen.values()) > 3
    go.touch()
    ended(running)


PASSWORD = "pass+of/the?server"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Server, Stage]]:
    """A server with a user who has a password, and a stage whose URL has it."""
    with Server() as server:
        server.redis.execute_command("ACL", "SETUSER", "shop", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        stage = Stage(server.url.replace("://", f"://shop:{quote(PASSWORD, safe='')}@"), tmp_path)
        stage.sends(traceapp.quaff)
        yield server, stage
        stage.end()
        stage.quaff.store.endpoint.abandon_pool()


def test_the_password_of_the_server_is_said_nowhere(guarded: tuple[Server, Stage], tmp_path: Path) -> None:
    """S17: by no command line, log, command, page, span or report; nor when the server is away, or is another one."""
    server, stage = guarded
    spans, envelopes = stage.file(), stage.file()
    exports = {"SPANS": str(spans), "ENVELOPES": str(envelopes)}
    worker = stage.worker("-p", "2", "-l", "debug", app=APP, environment=exports)
    ended(stage.quaff.tasks["fails_always"].delay())
    said = {f"command line of {each.pid}": each.command for each in stage.processes()}
    assert len(said) >= 4, "a supervisor, its guard and two processes"
    for words in (["info"], ["doctor"], ["audit"]):
        command = stage.command(sys.executable, "-m", "quaff", *words)
        command.wait()
        said[" ".join(words)] = command.output
    assert "shop:***@" in said["info"]
    client = create_dashboard(stage.quaff, auth=lambda _: "admin").test_client()
    said |= pages(client, [])
    server.kill()
    hasty = Quaff(stage.url, namespace=stage.namespace, deadline=0.3)
    client = create_dashboard(hasty, auth=lambda _: "admin").test_client()
    for trouble in ("no server", "another server"):
        for words in (["info"], ["call", "where", "-A", APP]):
            command = stage.command(sys.executable, "-m", "quaff", *words, environment={"QUAFF_DEADLINE": "0.5"})
            assert command.wait() != 0
            said[f"{words[0]}, {trouble}"] = command.output
        said[f"a page, {trouble}"] = client.get("/").text
        assert "shop:***@" in said[f"a page, {trouble}"]
        if trouble == "no server":
            worker.wait_for("no answer from redis://shop:***@")
            server.start()  # it knows no such user
    said["the worker"] = worker.output
    said["spans"], said["reports"] = spans.read_text(), envelopes.read_text()
    assert "LookupError" in said["spans"]
    assert "LookupError" in said["reports"]
    secrets = (PASSWORD, quote(PASSWORD, safe=""), PASSWORD.partition("+")[2], PASSWORD.rpartition("?")[0])
    assert {where for where, text in said.items() if any(each in text for each in secrets)} == set()
