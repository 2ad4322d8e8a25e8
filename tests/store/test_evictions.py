"""F24: a server that is not set to ``noeviction`` drops whole keys; an audit afterwards finds what is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quaff.audit.auditor import Audit
from quaff.audit.closeup import walk
from quaff.audit.report import Row, report
from quaff.audit.rules import NO_REMEDY, Finding
from quaff.model.limits import Concurrency, FairBy, RateLimit, Unique
from quaff.model.placement import Wishes, placement
from quaff.model.states import JobState
from quaff.store.flows import advance
from quaff.store.keys import NAMES
from quaff.store.probe import Line
from quaff.store.timetable import declare
from quaff.store.transitions import Verdict
from tests.engines import Server
from tests.helpers import wait_until
from tests.store.engine import HOUR, Desk, process_id
from tests.store.flows import Drawn, deliver, seeds_of, store

#: By the key that went, one of the findings that say so.
FOUND = {
    **dict.fromkeys("ready parked sched solo prio backlog active tomb nodes".split(), "no place"),
    **dict.fromkeys("meta spot".split(), "counter"),
    **dict.fromkeys("uniq route".split(), "unique key"),
    **dict.fromkeys("sched_def sched_state sched_next".split(), "schedule"),
    **dict.fromkeys("claims done".split(), "expires never"),
    "msg": "no message",
    "ghosts": "ended and waits",
    "slots": "limit",
    "held": "no holder",
    "lease": "no lease",
    **dict.fromkeys("turn waits".split(), "lane"),
    "opens": "limit",
    "limits": "no numbers",
    **dict.fromkeys("flows member".split(), "flow"),
    "edges": "no edges",
    "dead": "dead letter",
}
#: What is not missed when it goes, and why.
UNSEEN = {
    "wake": "a hint: who waits for it looks by the clock as well",
    "stop": "who was asked to stop is not asked any more",
    "tries": "what has crashed or failed is counted anew",
    "history": "of attempts before the last one",
    "res": "outcomes that are kept no longer, as they all are some day",
    "lapses": "a unique key that is held for a time is held for longer",
    "rates": "a limit lets one more begin",
    "stalled": "a lane that its limit calls is told where it stood",
    "sched_seen": "workers say again and again that they declare a schedule",
    "drafts": "a flow cannot be sent back any more",
    "audit": "what people have changed",
    "called_off": "what people may want to see",
}


#: One within a limit of each kind.
LIMITED = [
    Wishes(0, 0, 0, None, (Concurrency(1, key="host"),), FairBy("{user}"), None),
    Wishes(0, 0, 0, None, (RateLimit(1, per=3600, key="host"),), FairBy("{user}"), None),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that drops keys with a TTL."""
    with Server("--maxmemory-policy", "volatile-ttl") as server:
        yield server


@pytest.fixture
def desk(server: Server, namespace: str) -> Iterator[Desk]:
    """Jobs in each place, and nothing wrong with them."""
    desk = Desk(server.url, namespace)
    worker, dying = process_id(), process_id()
    desk.put(*(b"%d" % number for number in range(6)))
    done, failed, again, parked, runs = desk.take(worker, 5)
    desk.settle(worker, done)
    desk.settle(worker, failed, state=JobState.FAILED)
    desk.settle(worker, again, state=JobState.RETRYING, ttl_ms=HOUR)
    desk.release(worker, parked, park_ms=HOUR)
    (crashed,) = desk.take(dying)
    desk.reap(dying, crashed.id)
    place(
        desk,
        Wishes(0, 0, 0, Unique(), (), None, None),
        Wishes(0, 0, 0, Unique(until="time", for_=600), (), None, None),
        *LIMITED,
        *LIMITED,
    )
    assert len(desk.take(worker, 20)) == 4
    place(desk, Wishes(0, 0, 9, None, (), None, None), Wishes(0, 0, 0, None, (), FairBy("{user}"), None))
    _, unwanted = desk.put(b"waits", b"unwanted")
    desk.cancel(unwanted, runs.id)
    store(desk, seeds_of([Drawn({}), Drawn({0: "fail"})]))
    desk.store.run(declare(desk.home, since_ms=0, who="me", schedules=[("nightly", b"definition")]))
    desk.dump()
    assert audit(desk) == []
    yield desk
    desk.close()


def place(desk: Desk, *several: Wishes) -> None:
    """A job for each, each of another user."""
    desk.place(*((b"m", placement("t", wishes, {"user": n, "host": "h"})) for n, wishes in enumerate(several)))


def audit(desk: Desk) -> list[Finding]:
    """What is found."""
    line = Line(desk.store.endpoint, home=desk.home)
    found = Audit(line, desk.home, (), 3).run()
    line.close()
    return found


def evict(server: Server, key: bytes) -> None:
    """As the server does it where its memory is full: the key goes with all that is in it, and nobody is asked."""
    before = server.redis.info("stats")["evicted_keys"]
    server.redis.pexpire(key, HOUR)  # no other key may go
    server.redis.config_set("maxmemory", 1)
    wait_until(lambda: not server.redis.exists(key), 5, "an eviction")
    server.redis.config_set("maxmemory", 0)
    assert server.redis.info("stats")["evicted_keys"] == before + 1


def test_it_is_known_what_comes_of_each_key_that_goes(desk: Desk) -> None:
    """F24: of all that a queue with every kind of job has."""
    there = {name for name in NAMES if desk.redis.exists(desk.key(name))}
    assert there == {*FOUND, *UNSEEN}


@pytest.mark.parametrize("name", FOUND)
def test_an_audit_finds_what_the_server_has_evicted(server: Server, desk: Desk, name: str) -> None:
    """F24: whichever key it was, where jobs would be lost or wait for ever without it."""
    evict(server, desk.key(name))
    found = {each.name for each in audit(desk)}
    assert FOUND[name] in found, found


@pytest.mark.parametrize("name", FOUND)
def test_a_repair_mends_what_was_evicted_or_says_that_it_cannot(server: Server, desk: Desk, name: str) -> None:
    """F24: what is said to be repaired does not come back; in the end all jobs come to theirs."""
    evict(server, desk.key(name))
    before = repaired(desk)
    for _ in range(3):
        again = repaired(desk)
        back = {(row.name, row.subject) for row in before if row.repaired} & {(row.name, row.subject) for row in again}
        assert back == set()
        before = again
    assert {row.name for row in before} == ({FOUND[name]} & NO_REMEDY.keys()), before
    assert not any(row.repaired for row in before)
    end_all(desk, name)
    assert audit(desk) == []


def repaired(desk: Desk) -> list[Row]:
    """What one audit finds, and has repaired."""
    line = Line(desk.store.endpoint, home=desk.home)
    one = Audit(line, desk.home, (), 3)
    rows = report(desk.store, one, one.run(), repair=True)
    line.close()
    assert one.unchecked == []
    return rows


def end_all(desk: Desk, gone: str) -> None:
    """Do what the remedies say, and run what there is: nothing is left that waits for ever."""
    worker = process_id()
    if gone == "limits":
        place(desk, *LIMITED)
        assert [row.name for row in repaired(desk) if not row.repaired] == []
    flows = {field[:16] for field in desk.redis.hkeys(desk.key("flows"))}
    if gone == "edges":
        for flow in flows:
            desk.cancel(flow)
            desk.store.run(advance(desk.home, b"stop", flow, b"0"))
    runs = {id: (process, token) for id, process, token in held(desk)}
    for _ in range(50):
        for id, (process, token) in runs.items():
            desk.settle(process, (id, token))
        desk.redis.delete(desk.key("rates"))  # an hour has gone by
        for waits in ("opens", "sched", "parked"):
            for each in desk.redis.zrange(desk.key(waits), 0, -1):
                desk.redis.zadd(desk.key(waits), {each: 1})
        desk.sweep()
        deliver(desk)
        runs = {lease.id: (worker, lease.token) for lease in desk.take(worker, 20, idle=True)}
        if not runs:
            break
    line = Line(desk.store.endpoint, home=desk.home)
    dump = walk(line, desk.home)
    line.close()
    places = (dump.active, dump.backlog, dump.prio, dump.sched, dump.parked, *dump.lines()[:2], dump.waiting_nodes())
    assert not any(places), places
    assert flows <= dump.tomb.keys() | {id for id in flows if id + b"open" not in dump.flows}


def held(desk: Desk) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What runs, in which process, under which token."""
    for member in desk.redis.zrange(desk.key("held"), 0, -1):
        token = desk.redis.hget(desk.key("active"), member[8:])
        if token:
            yield member[8:], member[:8], token


def test_a_job_of_a_flow_whose_record_is_gone_ends_and_those_that_wait_for_it_begin(server: Server, desk: Desk) -> None:
    """F24: no script stops half-way at what is missing, before anybody has audited."""
    evict(server, desk.key("flows"))
    worker = process_id()
    (first,) = [lease for _ in range(9) for lease in desk.take(worker, 20) if lease.message.endswith(b"\x01n0")]
    assert desk.settle(worker, first) == [Verdict.OK]
    (child,) = [lease for lease in desk.take(worker, 20) if lease.message.endswith(b"\x01n1")]
    assert desk.settle(worker, child, state=JobState.FAILED) == [Verdict.OK]
    assert not desk.redis.exists(desk.key("flows"))
    repaired(desk)
    (flow,) = {field[:16] for field in desk.redis.hkeys(desk.key("flows"))}
    assert desk.look(flow).state is JobState.FAILED  # as its last job did


@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_not_missed_makes_no_false_alarm(server: Server, desk: Desk, name: str) -> None:
    """F24: an audit is about what is wrong."""
    evict(server, desk.key(name))
    assert audit(desk) == []
