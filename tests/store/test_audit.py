"""``quaff audit``: each invariant catches what breaks it, by name, and repairs it; a busy server has no finding."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from quaff.audit.auditor import Audit
from quaff.audit.closeup import REACH, walk
from quaff.audit.report import Row, report
from quaff.audit.rules import INVARIANTS, NO_REMEDY
from quaff.cli import program
from quaff.errors import StoreError
from quaff.model import ids
from quaff.model.limits import Concurrency, FairBy, Unique
from quaff.model.placement import Placement, Wishes, placement
from quaff.model.states import JobState
from quaff.store.connect import Endpoint
from quaff.store.keys import NAMES
from quaff.store.pages import partitions
from quaff.store.probe import Line, lines
from quaff.store.rights import rules
from tests.engines import Server
from tests.matrix import owners
from tests.store.engine import HOUR, Desk, process_id
from tests.store.flows import Drawn, seeds_of, store

STRANGER = b"stranger"


def audit(desk: Desk, *, repair: bool = False) -> list[Row]:
    """What one audit of the desk's partition finds."""
    line = Line(desk.store.endpoint, home=desk.home)
    everywhere = lines(Endpoint(owners(desk.url), "a test", 5)).values()
    there = {home.prefix: keys for home, keys in partitions(everywhere, desk.home.namespace).items()}
    for each in everywhere:
        each.close()
    one = Audit(line, desk.home, there.get(desk.home.prefix, set()), 3)
    rows = report(desk.store, one, one.run(), repair=repair)
    line.close()
    assert one.unchecked == []
    return rows


def asks(number: int) -> Placement:
    """A job that holds a unique key, one within a limit, one that waits for its time and its turn."""
    wishes = (
        Wishes(0, 0, 0, Unique(on_conflict="replace"), (), None, None),
        Wishes(0, 0, 0, None, (Concurrency(4, key="host"),), None, None),
        Wishes(0, 5, 1, None, (), FairBy("user"), None),
    )
    return placement("task", wishes[number], {"user": number, "host": "h"})


Plant = Callable[[Desk, dict[str, bytes]], None]
PLANTS: dict[str, tuple[str, Plant]] = {}


def plant(name: str) -> Callable[[Plant], Plant]:
    """Mark what breaks an invariant so that the audit names it so."""

    def keep(function: Plant) -> Plant:
        PLANTS[function.__name__] = (name, function)
        return function

    return keep


def hdel(desk: Desk, name: str, field: bytes) -> None:
    assert desk.redis.hdel(desk.key(name), field) == 1


def zrem(desk: Desk, name: str, member: bytes) -> None:
    assert desk.redis.zrem(desk.key(name), member) == 1


@plant("no place")
def a_waiting_job_is_lost(desk: Desk, jobs: dict[str, bytes]) -> None:
    assert desk.redis.lrem(desk.key("ready"), 0, jobs["waiting"]) == 1


@plant("no place")
def a_running_job_is_lost(desk: Desk, jobs: dict[str, bytes]) -> None:
    hdel(desk, "active", jobs["running"])
    zrem(desk, "held", jobs["process"] + jobs["running"])


@plant("two places")
def a_waiting_job_runs(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.lpush(desk.key("ready"), jobs["running"])


@plant("two places")
def a_job_is_in_line_twice(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.lpush(desk.key("ready"), jobs["waiting"])


@plant("two places")
def a_scheduled_job_is_parked(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.zadd(desk.key("parked"), {jobs["later"]: 9e15})


@plant("no message")
def the_message_of_a_scheduled_job_is_lost(desk: Desk, jobs: dict[str, bytes]) -> None:
    hdel(desk, "msg", jobs["later"])


@plant("ended and waits")
def an_ended_job_is_due(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.zadd(desk.key("sched"), {jobs["ended"]: 9e15})


@plant("no owner")
def the_message_of_an_ended_job_stays(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("msg"), jobs["ended"], b"m")


@plant("no holder")
def nobody_holds_a_running_job(desk: Desk, jobs: dict[str, bytes]) -> None:
    zrem(desk, "held", jobs["process"] + jobs["running"])


@plant("held twice")
def two_processes_hold_a_job(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.zadd(desk.key("held"), {STRANGER + jobs["running"]: 0})


@plant("not running")
def a_process_holds_what_waits(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.zadd(desk.key("held"), {STRANGER + jobs["waiting"]: 0})


@plant("no lease")
def the_lease_of_a_process_is_lost(desk: Desk, jobs: dict[str, bytes]) -> None:
    zrem(desk, "lease", jobs["process"])


@plant("token twice")
def two_jobs_run_under_one_token(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("active"), jobs["running"], desk.redis.hget(desk.key("active"), jobs["running too"]))


@plant("crashes")
def a_job_goes_on_after_too_many_crashes(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("tries"), jobs["later"], b"5 5 0 0 t")


@plant("crashes")
def counts_of_attempts_are_damaged(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("tries"), jobs["later"], b"damaged")


@plant("no owner")
def a_result_is_nobodys(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("res"), ids.new_raw(), b"r")


@plant("no owner")
def steps_are_nobodys(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("steps"), jobs["ended"], b"s")


@plant("no owner")
def somebody_is_asked_to_stop_who_waits(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("stop"), jobs["waiting"], b"s")


@plant("expires never")
def a_tombstone_would_stay_for_ever(desk: Desk, jobs: dict[str, bytes]) -> None:
    zrem(desk, "done", jobs["ended"])


@plant("dead letter")
def a_dead_letter_is_not_listed(desk: Desk, jobs: dict[str, bytes]) -> None:
    # As if it had been listed by nobody: its bytes are not counted, either.
    zrem(desk, "dead", jobs["dead"])
    desk.redis.hdel(desk.key("meta"), "dead_bytes", "dead_msgs")


@plant("unique key")
def a_unique_key_is_held_by_nobody(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("uniq"), b"key", jobs["ended"])


@plant("counter")
def a_counter_is_wrong(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hincrby(desk.key("meta"), "enqueued", 7)


@plant("ttl")
def a_key_has_a_ttl(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.expire(desk.key("msg"), 10_000)


@plant("kind")
def a_key_is_of_another_kind(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.set(desk.key("watched"), b"text")


@plant("foreign key")
def a_key_is_not_ours(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.set(desk.home.prefix + "cache", b"text")


@plant("corrupt")
def nobody_can_read_what_a_job_asks_for(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("route"), jobs["waiting"], b"\xc1")


@plant("limit")
def more_is_taken_of_a_limit_than_runs(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.hset(desk.key("slots"), b"c" + b"k" * 16 + b"d" * 16, 3)


@plant("key twice")
def two_jobs_have_one_unique_key(desk: Desk, jobs: dict[str, bytes]) -> None:
    (one,) = desk.place((b"m", asks(0)))
    desk.redis.hset(desk.key("route"), jobs["waiting"], desk.redis.hget(desk.key("route"), one))


@plant("no numbers")
def the_numbers_of_a_limit_are_lost(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.place((b"m", asks(1)))
    assert desk.redis.delete(desk.key("limits")) == 1


@plant("lane")
def a_lane_has_no_turn(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.place((b"m", asks(1)))
    assert desk.redis.delete(desk.key("turn")) == 1


@plant("flow")
def a_job_does_not_know_its_flow(desk: Desk, jobs: dict[str, bytes]) -> None:
    store(desk, seeds_of([Drawn({}), Drawn({0: "fail"})]))
    assert desk.redis.delete(desk.key("member")) == 1


@plant("no edges")
def nobody_knows_for_whom_a_job_waits(desk: Desk, jobs: dict[str, bytes]) -> None:
    store(desk, seeds_of([Drawn({}), Drawn({0: "fail"})]))
    assert desk.redis.delete(desk.key("edges")) == 1


@plant("schedule")
def a_schedule_without_a_definition(desk: Desk, jobs: dict[str, bytes]) -> None:
    desk.redis.zadd(desk.key("sched_next"), {"nightly": 9e15})


@pytest.fixture
def jobs(desk: Desk) -> dict[str, bytes]:
    """One job in each place, so that there is something to break."""
    process = process_id()
    names = ("ended", "dead", "later", "running", "running too", "waiting")
    found = dict(zip(names, desk.put(*[b"message"] * len(names)), strict=True))
    leases = {lease.id: lease for lease in desk.take(process, 5)}
    desk.settle(process, leases[found["ended"]])
    desk.settle(process, leases[found["dead"]], state=JobState.FAILED)
    desk.settle(process, leases[found["later"]], state=JobState.SCHEDULED, ttl_ms=HOUR)
    desk.put(b"one more")
    return found | {"process": process}


@pytest.fixture
def undone(desk: Desk, what: str) -> Iterator[None]:
    """What nothing but a person can mend is gone before the desk is looked at once more; what was mended stays."""
    yield
    if PLANTS[what][0] in NO_REMEDY:
        desk.redis.delete(desk.home.prefix + "cache", *map(desk.key, NAMES))


@pytest.mark.usefixtures("undone")
@pytest.mark.parametrize("what", PLANTS)
def test_each_violation_is_named_and_repaired(desk: Desk, jobs: dict[str, bytes], what: str) -> None:
    """Planted: I1, I6, I7, I8, I9, I10, I11, I12, I13, I15, I17. Seen by name, set right; then all is well."""
    assert audit(desk) == []
    name, break_it = PLANTS[what]
    break_it(desk, jobs)
    rows = audit(desk, repair=True)
    assert name in {row.name for row in rows}, rows
    assert {row.invariant for row in rows if row.name == name} == {INVARIANTS[name][0]}
    if name in NO_REMEDY:
        assert [(row.repaired, row.remedy) for row in rows if row.name == name] == [(False, NO_REMEDY[name])]
        return
    assert all(row.repaired for row in rows if row.name == name), rows
    audit(desk, repair=True)  # what was hidden behind it, such as a counter
    assert audit(desk) == []


def test_a_job_that_starts_while_the_queue_is_paused_is_named(desk: Desk, jobs: dict[str, bytes]) -> None:
    """Planted: I14. By whom, nobody can tell; the audit sees it while it happens."""
    desk.redis.hset(desk.key("meta"), "paused", 0)
    line = Line(desk.store.endpoint, home=desk.home)
    one = Audit(line, desk.home, (), 3)
    before = one._pause()
    token = desk.redis.hget(desk.key("active"), jobs["running"])
    desk.redis.hset(desk.key("active"), jobs["running"], b"another.0.1")
    assert [each.name for each in one._in_spite_of(before, walk(line, desk.home))] == ["paused"]
    line.close()
    desk.redis.hset(desk.key("active"), jobs["running"], token)
    assert audit(desk) == []


def test_each_kind_of_finding_is_planted_and_has_a_remedy_or_a_reason() -> None:
    """So that none is there that catches nothing."""
    assert {name for name, _ in PLANTS.values()} | {"paused"} == set(INVARIANTS)
    assert {name for name, (_, remedy) in INVARIANTS.items() if not remedy} == set(NO_REMEDY)


def test_a_busy_server_gives_no_finding(desk: Desk, server_url: str) -> None:
    """Jobs come, run, are retried, cancelled, given back and end, while it is audited again and again."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        own = Desk(server_url, desk.home.namespace)
        process = process_id()
        try:
            while not stop.is_set():
                sent = own.put(*[b"m"] * 50)
                own.cancel(*sent[:5])
                leases = own.take(process, 40)
                own.settle(process, *leases[:20])
                own.settle(process, *leases[20:25], state=JobState.RETRYING, ttl_ms=1)
                own.release(process, *leases[25:35])
                own.settle(process, *leases[35:], state=JobState.FAILED)
                own.place(*[(b"m", asks(number % 3)) for number in range(12)])
                own.heartbeat(process)
                own.sweep()
        except BaseException as error:  # noqa: BLE001  it is shown below
            errors.append(error)
        finally:
            own.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for each in workers:
        each.start()
    try:
        for _ in range(8):
            assert audit(desk) == []
    finally:
        stop.set()
        for each in workers:
            each.join()
    assert errors == []
    assert desk.dump().number("succeeded") > 200


def test_a_full_server_never_looks_sound(desk: Desk, jobs: dict[str, bytes]) -> None:
    """Redis 7.0 refuses a transaction while its memory is full: then an audit says so, and shows no empty picture."""
    a_waiting_job_is_lost(desk, jobs)
    desk.redis.config_set("maxmemory", 1)
    try:
        found = {row.name for row in audit(desk)}
    except StoreError as error:
        assert "used memory > 'maxmemory'" in str(error)  # noqa: PT017  either is right: an answer, or none
    else:
        assert "no place" in found
    finally:
        desk.redis.config_set("maxmemory", 0)
    audit(desk, repair=True)
    audit(desk, repair=True)


def test_a_violation_is_found_among_jobs_that_are_on_the_move(desk: Desk, jobs: dict[str, bytes]) -> None:
    """Not only in a queue that stands still: it is looked at again by itself."""
    a_waiting_job_is_lost(desk, jobs)
    done = threading.Event()

    def work() -> None:
        own, process = Desk(desk.url, desk.home.namespace), process_id()
        while not done.is_set():
            own.put(*[b"m"] * 20)
            own.settle(process, *own.take(process, 20))
        own.close()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert {(row.name, row.subject[-32:]) for row in audit(desk)} >= {("no place", jobs["waiting"].hex())}
    finally:
        done.set()
        worker.join()
    audit(desk, repair=True)
    audit(desk, repair=True)


def test_a_line_that_is_longer_than_one_look_reaches_is_read_to_its_middle(desk: Desk) -> None:
    """Neither a false alarm about those in the middle, nor one of them overlooked."""
    bulk = [(ids.new_raw(), b"m") for _ in range(2 * REACH + 2000)]
    for at in range(0, len(bulk), 500):
        desk.enqueue(bulk[at : at + 500])
    middle = bulk[REACH + 1000][0]
    assert audit(desk) == []
    assert desk.redis.lrem(desk.key("ready"), 1, middle) == 1
    found = {(row.name, row.subject[-32:]) for row in audit(desk, repair=True)}
    assert ("no place", middle.hex()) in found
    audit(desk, repair=True)
    assert audit(desk) == []


def test_the_command_says_what_it_found_and_did(desk: Desk, jobs: dict[str, bytes], server_url: str) -> None:
    """Exit code 1 where something was wrong, 0 where nothing is."""
    env = {"QUAFF_URL": owners(server_url), "QUAFF_NAMESPACE": desk.home.namespace}
    assert CliRunner().invoke(program(), ["audit"], env=env).exit_code == 0
    nobody_holds_a_running_job(desk, jobs)
    told = CliRunner().invoke(program(), ["audit"], env=env)
    assert told.exit_code == 1
    assert f"I6 no holder: q-0-{jobs['running'].hex()} (queue q#0)" in told.output
    other = Desk(server_url, desk.home.namespace, queue="other")
    other.put(b"m")
    other.close()
    assert CliRunner().invoke(program(), ["audit", "-Q", "other"], env=env).exit_code == 0
    slip = CliRunner().invoke(program(), ["audit", "-Q", "othre"], env=env)
    assert (slip.exit_code, "no queue 'othre'" in slip.output, "mean 'other'" in slip.output) == (2, True, True)
    mended = CliRunner().invoke(program(), ["audit", "--repair", "--json"], env=env)
    assert mended.exit_code == 1
    rows = json.loads(mended.output)["findings"]
    assert {(row["name"], row["repaired"]) for row in rows if row["invariant"] == 6} == {("no holder", True)}
    CliRunner().invoke(program(), ["audit", "--repair"], env=env)
    assert CliRunner().invoke(program(), ["audit"], env=env).exit_code == 0


def test_a_program_can_tell_that_not_all_was_checked() -> None:
    """Exit code 5 where nothing was found and something could not be looked at; what was found comes first."""
    env, login = {"QUAFF_NAMESPACE": "partly"}, "//few:word@"
    with Server() as server:

        def audited(*words: str, without: str = "", url: str = server.url.replace("//", login)) -> Result:
            allowed = [*rules("operator", "partly"), ">word", *without.split()]
            server.redis.execute_command("ACL", "SETUSER", "few", *allowed)
            return CliRunner().invoke(program(), ["audit", "-Q", "q", *words], env={**env, "QUAFF_URL": url})

        desk = Desk(server.url, "partly")
        desk.put(b"message")
        assert audited(url=server.url).exit_code == 0
        partly = audited()
        assert (partly.exit_code, "0 findings, not all could be checked" in partly.output) == (5, True), partly.output
        told = json.loads(audited("--json").output)
        assert (told["findings"], len(told["unchecked"])) == ([], 1)
        kinds = audited(without="-pttl")
        assert (kinds.exit_code, "not checked: queue q#0: whether all of its keys" in kinds.output) == (5, True)
        desk.redis.delete(desk.key("ready"))
        assert audited().exit_code == 1
        desk.close()


@pytest.mark.parametrize("command", ["hscan", "zscan", "lrange"])
def test_a_key_that_nobody_may_read_is_not_taken_for_an_empty_one(command: str) -> None:
    """It is an error, as it is where nothing can be read at one moment."""
    with Server() as server:
        desk = Desk(server.url, "partly")
        desk.put(b"message")
        desk.close()
        server.redis.execute_command("ACL", "SETUSER", "few", "on", ">word", "~*", "&*", "+@all", f"-{command}")
        env = {"QUAFF_NAMESPACE": "partly", "QUAFF_URL": server.url.replace("//", "//few:word@")}
        done = CliRunner().invoke(program(), ["audit"], env=env)
        assert (done.exit_code, "does not let this program read its keys" in done.stderr) == (1, True), done.output
