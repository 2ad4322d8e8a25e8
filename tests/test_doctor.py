"""``quaff doctor`` on real servers that are set up well, badly, and so that they do not tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from quaff import Quaff
from quaff.cli import program
from quaff.doctor.checks import CHECKS
from quaff.doctor.examine import _rights, examine
from quaff.doctor.facts import Facts, Finding
from quaff.errors import ConfigurationError, ServerUnavailable
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.store.probe import Line
from quaff.store.rights import ROLES, rules
from tests.engines import Server
from tests.helpers import Program, wait_until
from tests.store.test_scripts import LUA


def look(url: str, user: str | None = None) -> dict[str, Finding]:
    """The findings at a server, by what was looked at."""
    quaff = Quaff(url, namespace="doc")
    found = examine(quaff, [partition("doc", "default")], user)
    quaff.store.endpoint.pool().disconnect()
    return {each.check: each for each in found}


def level(url: str, check: str) -> tuple[str, str]:
    """Level and text of one finding."""
    finding = look(url)[check]
    assert bool(finding.remedy) == (finding.level != "ok"), "a remedy where one is needed, and nowhere else"
    return finding.level, finding.text


EMBEDDED = pytest.mark.only("valkey", why="the embedded server is set up for jobs, and not known for holes")


@EMBEDDED
def test_the_embedded_server_is_in_order(server_url: str) -> None:
    """Everything is ok, and the loss window is said in words; nobody need sign where nobody else can write."""
    found = look(server_url)
    assert {each.level for each in found.values()} == {"ok"}
    assert "a power cut the last two seconds" in found["persistence"].text
    assert "nobody else can send anything" in found["signing"].text


def test_a_server_that_would_evict_is_a_danger() -> None:
    """F24: with a limit it is one; without one it may become one."""
    with Server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        assert level(server.url, "eviction")[0] == "danger"
        server.redis.config_set("maxmemory-policy", "volatile-ttl")
        assert level(server.url, "eviction")[0] == "danger"
        server.redis.config_set("maxmemory", 0)
        assert level(server.url, "eviction")[0] == "warn"
        server.redis.config_set("maxmemory-policy", "noeviction")
        assert level(server.url, "eviction")[0] == "ok"


def test_a_server_that_fills_up_is_told_of_before_it_is_full() -> None:
    """F23: from three quarters on; full is a danger, for then nothing new is taken."""
    with Server("--appendonly", "yes") as server:
        server.redis.set("much", b"x" * 20_000_000)

        def settled() -> int:
            """What it uses when the value is on the disk, and no buffer has it any more."""
            now: int = server.redis.info("memory")["used_memory"]
            return now if now < 30_000_000 else 0

        used = wait_until(settled, 20, "the buffers")
        for most, expected in ((0, "ok"), (used * 3, "ok"), (int(used * 1.2), "warn"), (used // 2, "danger")):
            server.redis.config_set("maxmemory", most)
            assert level(server.url, "memory")[0] == expected


def test_a_server_that_has_evicted_is_a_danger_whatever_it_says_now() -> None:
    """F24: what is gone is gone."""
    with Server("--maxmemory-policy", "allkeys-random") as server:
        server.redis.set("big", b"x" * 1_000_000)
        server.redis.config_set("maxmemory", server.redis.info("memory")["used_memory"] - 500_000)
        wait_until(lambda: server.redis.info("stats")["evicted_keys"] > 0, 5, "an eviction")
        server.redis.config_set("maxmemory", 0)
        server.redis.config_set("maxmemory-policy", "noeviction")
        found, text = level(server.url, "eviction")
        assert found == "danger"
        assert "1 keys were evicted" in text


def test_what_a_crash_and_a_power_cut_cost_is_said_for_each_kind_of_persistence() -> None:
    """No file, snapshots, and an append-only file with each appendfsync."""
    with Server() as server:
        found, text = level(server.url, "persistence")
        assert (found, "costs every job" in text) == ("danger", True)
        server.redis.config_set("save", "60 1000")
        found, text = level(server.url, "persistence")
        assert (found, "since the last snapshot (1000 changes in 60 s make one)" in text) == ("warn", True)
        server.redis.config_set("appendonly", "yes")
        for fsync, expected, words in (
            ("always", "ok", "survives a crash and a power cut"),
            ("everysec", "ok", "the last two seconds"),
            ("no", "warn", "the last half minute"),
        ):
            server.redis.config_set("appendfsync", fsync)
            found, text = level(server.url, "persistence")
            assert (found, words in text) == (expected, True), text


def test_a_replica_is_a_danger_and_its_primary_says_how_far_behind_it_is() -> None:
    """Nobody can enqueue on a replica."""
    with (
        Server("--appendonly", "yes") as primary,
        Server("--replicaof", "127.0.0.1", str(primary.port)) as replica,
    ):
        wait_until(lambda: replica.redis.info("replication")["master_link_status"] == "up", 20, "the replica")
        found, text = level(replica.url, "replicas")
        assert (found, text) == ("danger", f"this is a replica of 127.0.0.1:{primary.port}, which takes no jobs")
        wait_until(lambda: "bytes behind" in level(primary.url, "replicas")[1], 10, "the primary's word")
        assert level(primary.url, "replicas")[0] == "warn"
        primary.redis.config_set("min-replicas-to-write", 1)
        assert level(primary.url, "replicas")[0] == "ok"


def test_what_a_user_with_few_rights_cannot_see_is_unknown() -> None:
    """And never ok; an administrator can try that user's rights."""
    with Server("--appendonly", "yes") as server:
        keys = ("~quaff:{doc/*", "&quaff:{doc/*")
        few = "-@all +@hash +@list +@sortedset +evalsha +evalsha_ro +script|load +publish +subscribe +exists +del"
        few += " +memory|usage +time +ping"
        server.redis.execute_command("ACL", "SETUSER", "few", "on", ">word", *keys, *few.split())
        found = look(server.url.replace("//", "//few:word@"))
        assert {name: each.level for name, each in found.items()} == {
            **dict.fromkeys(("engine", "eviction", "memory", "persistence", "replicas", "scripts"), "unknown"),
            **dict.fromkeys(("rights of a producer", "rights of a worker", "signing"), "unknown"),
            **dict.fromkeys(("clock", "round trip", "durability", "queue default"), "ok"),
        }
        assert all(each.remedy for each in found.values() if each.level == "unknown")
        found = look(server.url, "few")
        assert (found["rights of a producer"].level, found["rights of a worker"].level) == ("ok", "ok")
        server.redis.execute_command("ACL", "SETUSER", "few", "-blpop", "-zrem")
        found = look(server.url, "few")
        assert found["rights of a worker"].level == "danger"
        assert "may not: BLPOP, ZREM" in found["rights of a worker"].text
        server.redis.execute_command("ACL", "SETUSER", "few", "resetkeys", "~other:*", "+blpop", "+zrem")
        assert "EVALSHA" in look(server.url, "few")["rights of a producer"].text


def test_a_user_that_there_is_not_is_no_question_of_rights() -> None:
    """And how to make it is said."""
    with Server("--appendonly", "yes") as server:
        found = look(server.url, "NOBODY")["rights of a worker"]
        assert (found.level, found.text) == ("danger", "there is no user 'NOBODY' on this server")
        assert "quaff acl worker --user NOBODY" in found.remedy


def test_a_wrong_password_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting mends it."""
    monkeypatch.setenv("QUAFF_DEADLINE", "20")
    with Server() as server:
        server.redis.config_set("requirepass", "right")
        began = time.monotonic()
        for login in (":wrong@", ""):
            with pytest.raises(ServerUnavailable, match=r"refuses: .*Mend the user and the password"):
                look(server.url.replace("//", f"//{login}"))
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(("kind", "needed"), [("sentinel", "ROLE"), ("cluster", "ASKING, CLUSTER SLOTS")])
def test_what_it_takes_to_find_the_server_is_tried_too(kind: str, needed: str) -> None:
    """ROLE behind sentinels, CLUSTER SLOTS and ASKING on a cluster; nowhere else."""
    with Server() as server:
        allowed = [rule for rule in rules("worker", "doc") if rule not in ("+role", "+asking", "+cluster|slots")]
        server.redis.execute_command("ACL", "SETUSER", "few", *allowed)
        line = Line(Endpoint(server.url, "a test", 5))
        home = partition("doc", "default")
        assert {each.level for each in _rights(line, "server", "few", home)} == {"ok"}
        found = {each.check: each for each in _rights(line, kind, "few", home)}
        assert f"may not: {needed} (" in found["rights of a producer"].text
        assert f"may not: {needed} (" in found["rights of a worker"].text
        line.close()


def test_a_durability_that_the_server_cannot_confirm_is_a_danger() -> None:
    """What the setting or any task asks for."""
    with Server("--appendonly", "yes") as server:

        def found(setting: str = "primary", task: str = "primary", url: str = server.url) -> tuple[str, str]:
            quaff = Quaff(url, namespace="doc", durability=setting)
            quaff.task(lambda: None, name="t", durability=task)
            all = {each.check: each for each in examine(quaff, [partition("doc", "default")])}
            quaff.store.endpoint.pool().disconnect()
            return all["durability"].level, all["durability"].text

        assert found()[0] == "ok"
        assert found("replicas:1") == (
            *("danger", 'the application asks for "replicas:1": it has 0 replicas, so such calls are refused'),
        )
        assert found(task="fsync")[0] == "danger"
        assert "with appendfsync everysec" in found(task="fsync")[1]
        server.redis.config_set("appendfsync", "always")
        assert found(task="fsync") == ("ok", 'the application asks for "fsync", which this server can confirm')
        server.redis.execute_command(*"ACL SETUSER few on >word ~* &* +@all -config".split())
        assert found("fsync", url=server.url.replace("//", "//few:word@"))[0] == "unknown"
        server.redis.config_set("appendonly", "no")
        assert "no append-only file" in found("fsync", "replicas:1")[1]


KEY = "a key of this test alone"


def test_unsigned_messages_are_told_wherever_others_may_send_some() -> None:
    """S4: nothing is signed, or what is not is taken all the same; what to set is said."""
    with Server("--appendonly", "yes") as server:

        def found(**keys: Any) -> Finding:
            quaff = Quaff(server.url, namespace="doc", **keys)
            quaff.task(lambda: None, name="t")
            (finding,) = [each for each in examine(quaff, [partition("doc", "default")]) if each.check == "signing"]
            quaff.store.endpoint.pool().disconnect()
            return finding

        assert (found().level, "nothing is signed" in found().text) == ("warn", True)
        assert "Set QUAFF_SIGNING_KEYS" in found().remedy
        for keys in ({"signing_keys": [KEY]}, {"encryption_keys": [KEY]}):
            loose = found(**keys)
            assert (loose.level, "without a signature are taken" in loose.text) == ("warn", True)
            assert loose.remedy.startswith("Set QUAFF_REQUIRE_SIGNED=1")
            strict = found(**keys, require_signed=True)
            assert (strict.level, "is refused" in strict.text, strict.remedy) == ("ok", True, "")


def test_an_application_that_is_not_named_may_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code may have keys: without it that is unknown, unless the environment, which has the last word, says all."""
    with Server("--appendonly", "yes") as server:
        assert level(server.url, "signing")[0] == "unknown"
        assert "-A MODULE:OBJECT" in look(server.url)["signing"].remedy
        monkeypatch.setenv("QUAFF_SIGNING_KEYS", KEY)
        assert level(server.url, "signing")[0] == "unknown"
        monkeypatch.setenv("QUAFF_REQUIRE_SIGNED", "1")
        assert level(server.url, "signing")[0] == "ok"


def test_a_database_that_the_server_does_not_have_is_a_typed_error() -> None:
    """The answer to what opens a connection is no answer to a question."""
    with Server() as server, pytest.raises(ConfigurationError, match=r"DB index is out of range.*mend the number"):
        look(f"{server.url}/999")


def test_a_queue_that_this_account_may_not_touch_is_a_danger() -> None:
    """A real call is tried as well, and its refusal is said."""
    with Server() as server:
        server.redis.execute_command("ACL", "SETUSER", "none", "on", ">word", "+ping", "+info", "+time")
        finding = look(server.url.replace("//", "//none:word@"))["queue default"]
        assert finding.level == "danger"
        assert "refused" in finding.text


def test_waiting_jobs_without_a_worker_and_parked_ones_are_told(
    server_url: str, namespace: str, start_worker: Callable[..., Program]
) -> None:
    """And a worker is seen alive."""
    quaff = Quaff(server_url, namespace=namespace)
    unknown = quaff.task(lambda: None, name="nobody.knows.it")
    unknown.delay()
    home = partition(namespace, "default")

    def found() -> dict[str, Finding]:
        return {each.check: each for each in examine(quaff, [home])}

    assert found()["queue default"].level == "warn"
    env = {"QUAFF_URL": server_url, "QUAFF_NAMESPACE": namespace}
    start_worker("tests.taskapp:quaff", "-p", "1", "-Q", "default", env=env)
    wait_until(lambda: "queue default, parked" in found(), 10, "the parking")
    assert found()["queue default"].level == "ok"
    assert "processes of workers seen alive: 1" in found()["queue default"].text
    assert found()["queue default, parked"].level == "warn"


FACTS = Facts({"redis_version": "7.2.4", "redis_mode": "standalone"}, {}, 0, 0.0001, 0.0)


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        ({"offset": 75.0}, "clock", "warn"),
        ({"offset": None}, "clock", "unknown"),
        ({"trip": 0.2}, "round trip", "warn"),
        ({"loaded": None}, "scripts", "unknown"),
        ({"info": {"redis_version": "6.2.1"}}, "engine", "danger"),
        ({"info": {"redis_version": "7.0.15"}}, "engine", "warn"),
        ({"info": {"redis_version": "7.2.4", "valkey_version": "8.1.3"}}, "engine", "warn"),
        ({"info": {"redis_version": "7.2.4", "valkey_version": "8.1.4"}}, "engine", "ok"),
        ({"info": {"redis_version": "8.4.0"}}, "engine", "ok"),
    ],
)
def test_what_no_server_here_can_be_is_read_from_what_it_tells(
    change: dict[str, object], check: str, expected: str
) -> None:
    """Old releases, far clocks, slow lines."""
    facts = replace(FACTS, **change)  # type: ignore[arg-type]
    own = {"clock": "_clock", "round trip": "_round_trip", "scripts": "_scripts", "engine": "_engine"}[check]
    (found,) = [each(facts) for each in CHECKS if each.__name__ == own]
    assert (found.check, found.level) == (check, expected)


def test_the_rights_that_are_tried_are_those_of_scripts_that_there_are() -> None:
    """Each script of a role exists, and each of a job's way is in one."""
    files = {path.stem for path in LUA.glob("*.lua")}
    assert set(ROLES["producer"]) < set(ROLES["worker"]) <= files


@EMBEDDED
def test_the_command_ends_with_one_only_where_something_is_a_danger(
    server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the screen and for programs."""
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    good = CliRunner().invoke(program(), ["doctor"], env={"QUAFF_URL": server_url})
    assert good.exit_code == 0
    assert "danger" not in good.output
    with Server() as server:
        bad = CliRunner().invoke(program(), ["doctor", "--json"], env={"QUAFF_URL": server.url})
    assert bad.exit_code == 1
    found = json.loads(bad.output)
    assert [each["check"] for each in found["findings"] if each["level"] == "danger"] == ["persistence"]
    away = CliRunner().invoke(program(), ["doctor"], env={"QUAFF_URL": server.url, "QUAFF_DEADLINE": "0.3"})
    assert away.exit_code == 3
