"""Users of the server who may do what their role has to do, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis
from click.testing import CliRunner

from quaff import Concurrency, Inspector, NotAllowed, Quaff, StoreError, chain, group
from quaff.cli import program
from quaff.dashboard import create_dashboard
from quaff.store.keys import partition
from quaff.store.rights import ROLES, commands_of, rules
from quaff.store.scripts import load
from quaff.store.transitions import claim
from quaff.task import Task
from tests.helpers import SRC, wait_until
from tests.matrix import client_as, each_server, logged_in
from tests.store.engine import process_id
from tests.worker import flowapp, streamapp, workapp
from tests.worker.support import Stage

As = Callable[[str], Quaff]


@pytest.fixture
def users(stage: Stage) -> Iterator[Callable[[str], str]]:
    """Makes a user of a role, as ``quaff acl`` says it, and gives the URL with which he comes in."""
    made: list[str] = []

    def make(role: str) -> str:
        name = f"{stage.namespace}-{role}"
        said = subprocess.check_output(
            [sys.executable, "-m", "quaff", "acl", role, "-n", stage.namespace, "-u", name],
            text=True,
            env={"PYTHONPATH": str(SRC)},
        )
        for node in each_server(stage.url):
            node.execute_command(*said.replace(">PASSWORD", ">secret").split())
        made.append(name)
        return logged_in(stage.url, quote(name), "secret")

    yield make
    for name in made:
        for node in each_server(stage.url):
            node.acl_deluser(name)


@pytest.fixture
def as_role(stage: Stage, users: Callable[[str], str]) -> As:
    """The application as a program of a role sees it."""

    def make(role: str) -> Quaff:
        quaff = Quaff(users(role), namespace=stage.namespace)
        for app in (workapp, flowapp, streamapp):
            for name, task in app.quaff.tasks.items():
                quaff.tasks[name] = Task(quaff, task.name, task.fn, task.settings)
        return quaff

    return make


@pytest.mark.everywhere  # it is all of Quaff, and quick enough for each engine in each run
def test_a_producer_and_a_worker_live_with_their_rights(stage: Stage, users: Any, as_role: As) -> None:
    """S9: a day of work: jobs of each kind, to their end; and the server refused nothing of it."""
    producer, operator = as_role("producer"), as_role("operator")
    worker = stage.worker("-p", "2", URL=users("worker"))
    mark, fail = producer.tasks["mark"], producer.tasks["fail"]
    assert mark.delay("plain").result(timeout=10) == "plain"
    assert mark.options(priority=5, delay=0.1, key="k").delay("routed").result(timeout=10) == "routed"
    assert [job.result(timeout=10) for job in mark.map([(f"many {n}",) for n in range(20)])]
    assert chain(mark.s("one"), mark.s()).delay().result(timeout=10) == "one"
    assert group(mark.s("a"), mark.options(queue="other").s("b")).delay() is not None
    dead = fail.delay("dead")
    wait_until(lambda: dead.state == "failed", 10, "a dead letter")
    assert [event.kind for event in mark.delay("watched").watch(timeout=10)][-1] == "state"
    waiting = mark.options(delay=3600).delay("never")
    assert waiting.prioritize(3)
    assert waiting.cancel()
    assert waiting.info().state == "cancelled"
    with producer.limit("room", Concurrency(1)):
        pass
    assert mark.delay("taken").take(timeout=10) == "taken"
    queue = operator.queue("default")
    assert queue.pause()
    assert queue.resume()
    operator.schedules.add("each second", operator.tasks["mark"], every=1, args=("scheduled",))
    wait_until(lambda: stage.runs("scheduled"), 15, "an occurrence")
    assert operator.schedules.remove("each second")
    assert operator.job(dead.id).requeue()
    queue.set_capacity(jobs=1000)
    assert queue.stats().succeeded > 0
    assert queue.purge() >= 0
    assert worker.stop() == 0
    assert not any("NOPERM" in line or "rights" in line for line in worker.stderr), worker.output
    assert stage.raw().acl_log() == [] or not any(
        stage.namespace in entry["username"] for entry in stage.raw().acl_log()
    )


def test_a_dashboard_sees_all_and_changes_nothing(stage: Stage, as_role: As) -> None:
    """S9, S20: each look of it works; each act is refused, and the text says that it is a matter of rights."""
    dashboard = as_role("dashboard")
    job = stage.send("mark", "waits", delay=3600)
    handle = dashboard.job(job.id)
    assert handle.state == "scheduled"
    assert handle.info().task == "mark"
    assert dashboard.queue("default").stats().scheduled == 1
    assert dashboard.queue("default").changes() == []
    assert list(Inspector(dashboard).failed()) == []
    assert dashboard.schedules.list() == []
    for act in (handle.cancel, handle.discard, handle.requeue, dashboard.queue("default").pause):
        with pytest.raises(StoreError, match="no permissions"):
            act()
    with pytest.raises(StoreError):
        dashboard.tasks["mark"].delay("no")
    assert job.state == "scheduled"


def test_a_page_says_which_right_is_missing(stage: Stage, as_role: As) -> None:
    """S9, S20: a dashboard whose user may only look shows every page, and refuses what it cannot do with the reason."""
    stage.quaff.tasks["mark"].options(delay=3600).delay("waits")
    looks = as_role("dashboard")
    client = create_dashboard(looks, auth=lambda _: "admin").test_client()
    for url in ("/", "/jobs", "/queues", "/queues/default", "/failures", "/schedules", "/workers", "/tasks", "/server"):
        assert client.get(url).status_code == 200, url
    ours = {"Sec-Fetch-Site": "same-origin"}
    refused = client.post("/queues/default/pause", headers=ours)
    assert refused.status_code == 403
    assert "no permissions" in refused.text
    assert "QF023" in refused.text
    assert "quaff acl" in refused.text
    name = f"{stage.namespace}-none"
    comes_in = ("+ping", "+client|setname", "+select", "+role", "+cluster|slots", "+asking")
    for node in each_server(stage.url):
        node.execute_command("ACL", "SETUSER", name, "reset", "on", ">secret", *comes_in)
    nobody = Quaff(logged_in(stage.url, quote(name), "secret"), namespace=stage.namespace)
    nobody.tasks.update(looks.tasks)
    client = create_dashboard(nobody, auth=lambda _: "admin").test_client()
    for url in ("/", "/jobs", "/queues/default", "/failures", "/schedules", "/workers", "/tasks"):
        answer = client.get(url)
        assert answer.status_code == 403, (url, answer.text)
        assert "no permissions" in answer.text
    for node in each_server(stage.url):
        node.acl_deluser(name)


def test_an_operator_drains_a_worker_and_asks_where_a_job_is(stage: Stage, users: Any, as_role: As) -> None:
    """S9, S20: from the dashboard, with his rights and no more; who may only look is refused both, with the reason."""
    worker = stage.worker("-p", "1", URL=users("worker"))
    path = stage.file()
    job = stage.send("gate", "held", str(path))
    stage.started("held")
    operator, looks = as_role("operator"), as_role("dashboard")
    (row,) = wait_until(lambda: [each for each in Inspector(looks).workers() if each.running], 20, "the worker's word")
    acts, ours = (f"/jobs/{job.id}/stack", f"/workers/{row.id}/drain"), {"Sec-Fetch-Site": "same-origin"}
    viewing = create_dashboard(looks, auth=lambda _: "admin").test_client()
    for url in acts:
        refused = viewing.post(url, headers=ours)
        assert (refused.status_code, "QF023" in refused.text) == (403, True), url
    client = create_dashboard(operator, auth=lambda _: "admin").test_client()
    assert [client.post(url, headers=ours).status_code for url in acts] == [303, 303]
    found = Inspector(operator).stack(job.id, timeout=15)
    assert found is not None
    assert "in gate" in found.text
    assert "in gate" in client.get(f"/jobs/{job.id}").text
    path.touch()
    assert worker.wait() == 0
    assert job.result(timeout=10) == "held"
    assert not [each for each in stage.raw().acl_log() if each["username"] == f"{stage.namespace}-operator"]


def test_what_a_script_may_not_do_is_a_matter_of_rights(stage: Stage, as_role: As) -> None:
    """S9: each engine says in words of its own that a user may call it, and not do all that is in it."""
    producer, home = as_role("producer"), partition(stage.namespace, "default")
    call = claim(home, process=process_id(), number=1, claim_id=b"c", count=1, free=1, idle=True, lease_ms=1000)
    stage.send("mark", "waits")
    with pytest.raises(NotAllowed, match=r"quaff acl.*QF023"):
        producer.store.run(call)


def test_a_job_that_is_named_is_found_without_asking_which_queues_there_are(stage: Stage, users: Any) -> None:
    """S9: its id says where it is, so whoever may not look for keys needs neither -A nor -Q."""
    job = stage.send("mark", "waits", delay=3600)
    for role, words, says in (
        ("dashboard", ("jobs", "show", job.id), "scheduled"),
        ("dashboard", ("jobs", "ls", job.id), "scheduled"),
        ("operator", ("jobs", "cancel", job.id, "--yes"), "1 cancelled"),
    ):
        env = {"QUAFF_URL": users(role), "QUAFF_NAMESPACE": stage.namespace}
        said = CliRunner().invoke(program(), words, env=env)
        assert said.exit_code == 0, said.output
        assert says in said.stdout
    assert job.state == "cancelled"


@pytest.mark.parametrize("role", ROLES)
def test_nobody_may_do_what_is_not_his(stage: Stage, users: Any, role: str) -> None:
    """S9: what reads, changes or stops the server, other programs' keys, and the keys of another application."""
    url = users(role)
    name = url.partition("://")[2].partition(":secret@")[0]
    client = client_as(url)
    other = "quaff:{other/default#0}:msg"
    forbidden = [
        *("CONFIG GET *", "KEYS *", "SCAN 0", "FLUSHALL", "FLUSHDB", "SCRIPT FLUSH", "SCRIPT KILL", "DEBUG SLEEP 0"),
        *("MODULE LIST", "SHUTDOWN", "ACL LIST", "CLIENT LIST", "CLIENT KILL TYPE normal", "MONITOR", "SAVE"),
        *("REPLICAOF no one", "FUNCTION LIST", "SUBSCRIBE other", "PSUBSCRIBE *", "INFO", "DBSIZE", "RANDOMKEY"),
        *("RENAME a b", "RESTORE a 0 b", "SWAPDB 0 1", "EVAL return(1) 0", "GET other", "SET other 1"),
        *(f"DEL {other}", f"HGETALL {other}", f"HGET {other} a", f"HSET {other} a b", f"HDEL {other} a"),
    ]
    for command in forbidden:
        answer = stage.raw().execute_command("ACL", "DRYRUN", name, *command.split())
        assert b"no permissions" in answer, (command, answer)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("FLUSHALL")
    foreign = b"quaff:{other/default#0}:"
    script = load("stats")
    client.script_load(script.source)
    with pytest.raises(redis.ResponseError, match=r"(?i)permission|NOPERM"):
        client.execute_command("EVALSHA_RO", script.sha, len(script.keys), *(foreign + k.encode() for k in script.keys))
    sha = client.script_load("#!lua\nreturn redis.call('HGET', 'quaff:{other/default#0}:msg', 'x')")
    with pytest.raises(redis.ResponseError):
        client.execute_command("EVALSHA_RO" if role == "dashboard" else "EVALSHA", sha, 0)
    client.close()


def test_an_operator_audits_and_is_told_what_only_administrators_see(stage: Stage, users: Any) -> None:
    """S9: all that an audit reads of queues that are named, and mends; which keys there are, and INFO, is not his."""
    env = {"QUAFF_URL": users("operator"), "QUAFF_NAMESPACE": stage.namespace}
    job = stage.send("mark", "lost")
    stage.send("mark", "later", delay=3600)
    stage.raw().delete(stage.key("ready"))
    nameless = CliRunner().invoke(program(), ["audit"], env=env)
    assert (nameless.exit_code, "Name them with -Q" in nameless.stderr) == (1, True), nameless.output
    said = CliRunner().invoke(program(), ["audit", "-Q", "default", "--repair", "--json"], env=env)
    assert said.exit_code == 1, said.output
    found = json.loads(said.stdout)
    rows = [(row["name"], row["subject"], row["repaired"]) for row in found["findings"]]
    assert rows == [("no place", job.id, True), ("counter", "enqueued", True)]
    assert len(found["unchecked"]) == 1
    assert "keys that are no queue's" in found["unchecked"][0]
    said = CliRunner().invoke(program(), ["doctor", "-Q", "default", "--json"], env=env)
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    levels = {each["check"]: each["level"] for each in told["findings"]}
    assert levels["queue default"] == "warn"
    assert {level for check, level in levels.items() if check.startswith(("engine", "rights"))} == {"unknown"}
    refused = {entry["object"] for entry in stage.raw().acl_log() if stage.namespace in entry["username"]}
    assert refused <= {"scan", "info", "config|get", "acl|whoami", "acl|dryrun", "script|exists"}


def test_rules_have_nothing_dangerous() -> None:
    """S9: no category, no command that scans, blocks all, or rules the server; only this namespace."""
    safe = {"cluster|slots", "client|setname", "script|load", "memory|usage"}
    for role in ROLES:
        for rule in rules(role, "shop")[2:]:
            assert rule[0] in "~%&+"
            if rule[0] == "+":
                assert rule[1:] in safe or rule[1:].isidentifier(), rule
            else:
                assert "quaff:{shop/*}:" in rule
    assert not any(rule.startswith("~") for rule in rules("dashboard", "shop"))
    assert {f"+{each}" for each in commands_of(load("claim"))} <= set(rules("worker", "shop"))


def test_each_script_is_somebodys() -> None:
    """S9: a new script has to be given to a role, or nobody with rights can call it."""
    folder = SRC / "quaff" / "store" / "lua"
    assert {path.stem for path in folder.glob("*.lua")} == {name for names in ROLES.values() for name in names}


def test_the_embedded_server_runs_no_debugging_and_no_modules(stage: Stage) -> None:
    """S23: not for its own user either."""
    for command in ("DEBUG SLEEP 0", "MODULE LOAD /tmp/none.so"):
        with pytest.raises(redis.ResponseError, match="not allowed"):
            stage.raw().execute_command(*command.split())
