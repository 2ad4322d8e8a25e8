"""One partition on a real server, as the tests of the engine hold it: its scripts, a dump, and the invariants."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from quaff.audit.picture import KINDS, Picture
from quaff.audit.rules import COUNTERS, findings, miscounted
from quaff.model import ids
from quaff.model.placement import Placement
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import NAMES, Partition
from quaff.store.queries import Found, lookup
from quaff.store.transitions import Claimed, Lease, Rules, Swept, Verdict
from tests.matrix import ENGINE, known_as, plain

T = TypeVar("T")

READERS: dict[str, Callable[[Any, bytes], Any]] = {
    "hash": lambda pipe, key: pipe.hgetall(key),
    "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    "list": lambda pipe, key: pipe.lrange(key, 0, -1),
}

HOUR = 3_600_000
RULES = Rules(max_crashes=3, failed_ttl_ms=24 * HOUR, window_ms=HOUR)
#: In a script, with a key: where that is, the others are. It has to work also where the memory is full.
_KEYS = "#!lua flags=no-writes,allow-oom\nreturn redis.call('KEYS', ARGV[1])"
KEEP = t.Kept(1000, 1_000_000)
POISON = b"poison outcome"


Dump = Picture


def without_clock(dump: Dump) -> tuple[Any, ...]:
    """All that must not change when a call is repeated: time itself, and what is measured from it, may."""
    meta = {
        k: v for k, v in dump.meta.items() if k not in (b"clock", b"last_tick", b"reap_from", b"rate", b"ended_at_tick")
    }
    loose: dict[str, Any] = {name: set(getattr(dump, name)) for name in ("lease", "done", "parked", "sched")}
    return (*dump._replace(meta=meta, **loose),)


class Desk:
    """Sends calls to one partition.

    Args:
        url: the server.
        namespace: one of its own.
        lease_ms: of all claims and sweeps.
        queue: the partition's.
    """

    def __init__(self, url: str, namespace: str, lease_ms: int = 30_000, queue: str = "q") -> None:
        self.url = url
        self.store = Store(Endpoint(known_as(ENGINE, url), "a test", 5), 5)
        self.redis: Any = plain(url)
        self.home = Partition(namespace, queue)
        self.lease_ms = lease_ms
        self._numbers = itertools.count(1)

    def key(self, name: str) -> bytes:
        """The whole key of one of the names."""
        return self.home.key(name)

    def close(self) -> None:
        """Close the connections."""
        self.store.endpoint.pool().disconnect()
        self.redis.close()

    def put(self, *messages: bytes) -> list[bytes]:
        """Store one new job a message; their ids."""
        jobs = [(ids.new_raw(), message) for message in messages]
        assert self.enqueue(jobs) == [0] * len(jobs)
        return [id for id, _ in jobs]

    def enqueue(self, jobs: Iterable[tuple[bytes, bytes]]) -> list[Any]:
        """The answers of one call."""
        return self.store.run(t.enqueue(self.home, list(jobs)))

    def place(self, *jobs: tuple[bytes, Placement]) -> list[Any]:
        """Store one new job a message, each with its placement; the ids, or what was answered instead of 0."""
        sent = [(ids.new_raw(), message, at.route, at.terms) for message, at in jobs]
        answers = self.store.run(
            t.enqueue_routed(self.home, outcome=b"replaced", ttl_ms=HOUR, window_ms=HOUR, jobs=sent)
        )
        return [job[0] if answer == 0 else answer for job, answer in zip(sent, answers, strict=True)]

    def take(self, process: bytes, count: int = 1, *, idle: bool = False) -> list[Lease]:
        """The jobs of a new claim."""
        return self.claim(process, next(self._numbers), ids.new_raw().hex().encode(), count, idle=idle).leases

    def claim(
        self,
        process: bytes,
        number: int,
        claim_id: bytes,
        count: int = 1,
        *,
        idle: bool = False,
        free: int | None = None,
    ) -> Claimed:
        """The answer of one claim, which can be repeated; all of ``count`` are for free slots unless told otherwise."""
        return self.store.run(
            t.claim(
                self.home,
                process=process,
                number=number,
                claim_id=claim_id,
                count=count,
                free=count if free is None else free,
                idle=idle,
                lease_ms=self.lease_ms,
            )
        )

    def settle(
        self,
        process: bytes,
        *jobs: Lease | tuple[bytes, bytes],
        state: JobState = JobState.SUCCEEDED,
        ttl_ms: int = HOUR,
        window_ms: int = HOUR,
        digest: bytes = b"",
        record: bytes = b"record",
    ) -> list[Verdict]:
        """Record that jobs ended, each given as its lease or as ``(id, token)``; in as many calls as it takes."""
        pairs = [(job.id, job.token) if isinstance(job, Lease) else job for job in jobs]
        items = [(id, token, state, ttl_ms, digest, record) for id, token in pairs]
        return self._all_of(items, lambda some: t.settle(self.home, process=process, window_ms=window_ms, items=some))

    def _all_of(self, items: list[Any], call: Callable[[list[Any]], t.Call[list[Verdict]]]) -> list[Verdict]:
        """As a worker does: in portions, the last ones first, and what is put off is sent again."""
        verdicts = [Verdict.LATER] * len(items)
        while left := [place for place, verdict in enumerate(verdicts) if verdict is Verdict.LATER][-t.PORTION :]:
            answers = self.store.run(call([items[place] for place in left]))
            assert any(verdict is not Verdict.LATER for verdict in answers), "it does not go on"
            for place, verdict in zip(left, answers, strict=True):
                verdicts[place] = verdict
        return verdicts

    def release(self, process: bytes, *jobs: Lease, park_ms: int = 0, record: bytes = b"") -> list[Verdict]:
        """Give jobs back, in as many calls as it takes."""
        items = [(job.id, job.token, park_ms, record) for job in jobs]
        return self._all_of(items, lambda some: t.release(self.home, process=process, items=some))

    def cancel(self, *jobs: bytes, outcome: bytes = b"cancelled", ttl_ms: int = HOUR) -> list[bytes]:
        """Cancel jobs, or ask for it."""
        return self.store.run(t.cancel(self.home, outcome=outcome, ttl_ms=ttl_ms, window_ms=HOUR, ids=jobs))

    def reap(
        self, process: bytes, *started: bytes, rules: Rules = RULES, record: bytes = b"crash", letter: str = "x"
    ) -> tuple[int, int, bool]:
        """A process died having started these ids."""
        charged = [t.End(id, letter, 0, record, POISON) for id in started]
        return self.store.run(t.reap(self.home, process=process, rules=rules, started=charged))

    def sweep(self, *, unpark: bool = False, rules: Rules = RULES, keep: t.Kept = KEEP) -> Swept:
        """One sweep."""
        return self.store.run(
            t.sweep(self.home, lease_ms=self.lease_ms, rules=rules, keep=keep, poison=POISON, unpark=unpark)
        )

    def heartbeat(self, *processes: bytes) -> list[int]:
        """Renew leases."""
        return self.store.run(t.heartbeat(self.home, lease_ms=self.lease_ms, processes=processes))

    def look(self, id: bytes) -> Found:
        """All that is known of one job."""
        return self.store.run(lookup(self.home, id, all=True))

    def dump(self) -> Dump:
        """The whole partition at one moment, the invariants checked."""
        with self.redis.pipeline(transaction=True) as pipe:
            for name in Dump._fields:
                READERS[KINDS[name]](pipe, self.key(name))
            for name in NAMES:
                pipe.pttl(self.key(name)).type(self.key(name))
            pipe.execute_command("EVAL", _KEYS, 1, self.key("meta"), self.home.prefix + "*")
            *found, keys = pipe.execute()
        contents, rest = found[: len(Dump._fields)], found[len(Dump._fields) :]
        dump = Dump(
            *(dict(each) if KINDS[n] == "zset" else each for n, each in zip(Dump._fields, contents, strict=True))
        )
        dump = dump._replace(ready=dump.ready[::-1], solo=dump.solo[::-1])
        # I13: no key outside the fixed list, none with a TTL, each of its kind.
        assert set(keys) <= {self.key(name) for name in NAMES}
        for name, ttl, kind in zip(NAMES, rest[::2], rest[1::2], strict=True):
            assert ttl in (-1, -2), f"{name} has a TTL"
            assert kind.decode() in (KINDS[name], "none")
        check(dump)
        return dump

    # Time, without waiting for it. The scripts ask the server's clock, so what they compare it with is moved instead.

    def let_lapse(self, *processes: bytes) -> None:
        """Leases of processes end now; the sweeps of the last lease count as seen, so that reaping is allowed.

        A sweep reaps what its lease says if ``last_tick`` is no older than half a lease and ``reap_from`` is over.
        """
        self.redis.zadd(self.key("lease"), dict.fromkeys(processes, 1), xx=True)
        self.allow_reaping()

    def allow_reaping(self) -> None:
        """As if sweeps had gone on without a gap."""
        # As the scripts see it, which believe in a clock that was ahead for a minute.
        now, seen = int(self.redis.time()[0]) * 1000, int(self.redis.hget(self.key("meta"), "clock") or 0)
        now = seen if 0 < seen - now <= 60_000 else now
        self.redis.hset(self.key("meta"), mapping={"last_tick": now, "reap_from": now - 1})

    def let_patience_end(self) -> None:
        """Jobs that must run alone have waited long enough for a process that is idle anyway."""
        self.redis.hset(self.key("meta"), "solo_since", 1)

    def let_be_due(self, *jobs: bytes) -> None:
        """These wait no longer for their time."""
        self.redis.zadd(self.key("sched"), {id: 1 + place for place, id in enumerate(jobs)}, xx=True)

    def let_results_expire(self, *jobs: bytes) -> None:
        """What is due next for these ids is due now."""
        self.redis.zadd(self.key("done"), dict.fromkeys(jobs, 1), xx=True)

    def let_tombstones_expire(self, *jobs: bytes) -> None:
        """The tombstones of these ids, and their results, are due now."""
        for id in jobs:
            tomb = self.redis.hget(self.key("tomb"), id)
            if tomb:
                self.redis.hset(self.key("tomb"), id, tomb[:1] + b"%013d" % 1 + tomb[14:])
        self.let_results_expire(*jobs)


def process_id() -> bytes:
    """As a worker makes it."""
    return os.urandom(8)


def check(d: Dump, max_crashes: int = RULES.max_crashes) -> None:
    """The invariants of engine.md §9 that one dump can show."""
    ready, solo, lost = d.lines()
    assert not lost, "a ghost that stands in no line"
    assert not (found := list(findings(d, max_crashes))), found
    sizes = {name: len(getattr(d, name)) for name in Dump._fields}
    assert not (found := list(miscounted(sizes, {name: d.number(name) for name in COUNTERS}))), found
    in_lanes = {member[24:]: member for member in d.backlog}
    heirs = [heir[13:] for heir in d.heirs.values()]
    places = [*d.parked, *d.sched, *d.active, *ready, *solo, *d.prio, *in_lanes, *heirs, *d.away, *check_flows(d)]
    check_lanes(d, in_lanes)
    check_unique(d, heirs)
    # A journey is on the list until it is over, and nothing else is.
    assert {name[1:] for name in d.outbox if name[:1] == b"g"} == set(d.away.values())
    assert {name[1:] for name in d.outbox if name[:1] == b"c"} <= set(d.away.values())
    assert not {each[:16] for each in d.followed} & set(d.tomb), "somebody follows what has ended"
    check_tails(d, set(places))
    owners = {member[8:]: member[:8] for member in d.held}
    sowing = {field[:16] for field in d.flows if field[16:] == b"sow"}
    assert {id for id in d.done if len(id) == 16} == set(d.tomb) | sowing - {
        name[1:] for name in d.outbox if name[:1] == b"f"
    }, "what has ended is not on the list of what expires"
    assert not {p for p, claim in d.claims.items() if claim == b"closed"} & set(d.lease) - set(owners.values())
    # A dead letter is listed as long as anything of it is kept.
    sizes = (len(kept.get(id, b"")) for id in d.dead for kept in (d.msg, d.res, d.history, d.steps, d.signals))
    assert d.number("dead_msgs") == sum(len(d.msg.get(id, b"")) for id in d.dead)
    assert d.number("dead_bytes") == sum(sizes) + sum(
        tail_of(kept, id)[6] for id in d.dead for kept in (d.logs, d.chunks)
    )
    assert d.number("ghosts") == sum(map(int, d.ghosts.values()))
    assert len(d.wake) <= 1


def tail_of(kept: dict[bytes, bytes], id: bytes) -> list[Any]:
    """What is known of a job's lines or values; see lib/tail.lua."""
    return _unpack(kept[id]) if id in kept else [0, 0, "", 0, "", 0, 0, []]


_unpack = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw, int, msgspec.Raw, int, int, list[list[int]]]).decode


def check_tails(d: Dump, places: set[bytes]) -> None:
    """What jobs have said belongs to a job that lives or whose outcome is kept, is in its bounds and adds up (I10)."""
    for kept, most, size in ((d.logs, 64, 4096), (d.chunks, 1000, 65536)):
        assert {field for field in kept if len(field) == 16} <= places | set(d.res)
        left = dict(kept)
        for id in [field for field in kept if len(field) == 16]:
            begin, following, *_, used, pieces = tail_of(kept, id)
            del left[id]
            assert len(pieces) <= 16
            assert used == sum(piece[3] for piece in pieces)
            assert used <= 16 * size or len(pieces) == 1
            assert begin <= min([following, *(piece[1] for piece in pieces)])
            assert max([0, *(piece[1] + piece[2] for piece in pieces)]) in (0, following)
            for number, _, count, length in pieces:
                assert len(left.pop(id + b"%d" % number)) == length
                assert count == 1 or (count <= most and length <= size)
        assert not left, "a piece that nobody knows of"


def route_of(d: Dump, id: bytes) -> list[Any]:
    """What a job asks for beyond a place in line."""
    return msgspec.msgpack.decode(d.route[id]) if id in d.route else [0, "", "done", "", 1, [], 0]


def check_lanes(d: Dump, in_lanes: dict[bytes, bytes]) -> None:
    """A lane with jobs takes turns or is stalled at one limit; what is taken of a limit is what runs under it (I15)."""
    assert set(d.route) <= set(d.msg)
    assert {id: member[16:24] for id, member in in_lanes.items()} == d.spot
    assert all(route_of(d, id)[3].encode() == member[:16] for id, member in in_lanes.items())
    lanes = {member[:16] for member in d.backlog}
    assert lanes == set(d.turn) | set(d.stalled)
    assert set(d.waits) == set(d.stalled.values())
    assert all(entry[-16:] == lane for lane, entry in d.stalled.items())
    assert set(d.credit) <= set(d.turn)
    assert all(route_of(d, id)[0] for id in d.prio)
    taken: dict[bytes, int] = {}
    for id in d.active:
        for limit, cost in route_of(d, id)[5]:
            if limit.startswith("c"):
                taken[limit.encode()] = taken.get(limit.encode(), 0) + cost
    for guest in d.guests:
        if guest.startswith(b"c"):
            taken[guest[:33]] = taken.get(guest[:33], 0) + int(guest[33:41])
    assert {limit: int(used) for limit, used in d.slots.items()} == taken
    # The first in line is called as soon as there is room for it, and nobody else in line is: no wake-up is lost.
    first: dict[bytes, bytes] = {}
    for entry in sorted(d.waits):
        first.setdefault(entry[:33], entry[-16:])
    for limit, lane in first.items():
        if lane in d.turn:
            continue
        numbers = d.limits.get(limit + b"!") or d.limits.get(limit[17:] + b"!") or d.limits[limit[17:]]
        if limit.startswith(b"c"):
            most = int(numbers.split()[0])
            id = next(member[24:] for member in sorted(d.backlog) if member[:16] == lane)
            cost = dict(route_of(d, id)[5])[limit.decode()]
            assert taken.get(limit, 0) + min(cost, most) > most, "a lane waits at a limit that has room for it"
        else:
            assert limit in d.opens or numbers.startswith(b"0 "), "nobody will say when this limit opens"


class FlowNode(NamedTuple):
    """A node as ``lib/nodes.lua`` has it, less what only the scripts can read."""

    job: bytes
    state: str
    needs: int
    children: list[Any]


def flow_nodes(d: Dump) -> dict[bytes, FlowNode]:
    """The nodes by flow and place. The job's id, their last part, is no text, so that it is cut off."""
    found: dict[bytes, FlowNode] = {}
    for field, text in d.nodes.items():
        assert text[:1] + text[-17:-16] == b"\x9a\xb0"
        state, needs, *_ = msgspec.msgpack.decode(b"\x99" + text[1:-17])
        children, *_ = msgspec.msgpack.decode(d.edges[field])
        found[field] = FlowNode(text[-16:], state, needs, list(children))
    return found


def check_flows(d: Dump) -> list[bytes]:
    """What is counted is what there is, and who waits has somebody to wait for; the jobs that wait for others."""
    nodes = flow_nodes(d)
    assert d.member == {node.job: field for field, node in nodes.items()}
    assert set(d.edges) == set(d.drafts) == set(nodes)
    assert set(d.values) <= {field for field, node in nodes.items() if node.state == "s"}
    waiting = [node.job for node in nodes.values() if node.state == ""]
    assert d.number("blocked") == len(waiting)
    going_on = {name[1:] for name in d.outbox if name[:1] == b"a"}
    put_off = {name[1:] for name in d.outbox if name[:1] == b"d"}
    for flow in {field[:16] for field in d.flows}:
        own = {field: node for field, node in nodes.items() if field[:16] == flow}
        partial = flow + b"sow" in d.flows or b"f" + flow in d.outbox
        stands = [node.state for node in own.values()]
        if not partial:
            assert int(d.flows[flow + b"open"]) == sum(state in ("", "q") for state in stands)
        for letter in "sfce" if b"f" + flow not in d.outbox else "":
            assert int(d.flows.get(flow + letter.encode(), 0)) == stands.count(letter)
        if flow in d.tomb:
            assert not set(stands) & {"", "q"}
        for node in own.values():
            assert node.state != "q" or (node.job in d.msg and node.job not in d.tomb)
        parents: dict[bytes, list[bytes]] = {}
        for field, node in own.items():
            for place, _ in node.children:
                parents.setdefault(flow + place.to_bytes(4, "big"), []).append(field)
        for field, node in own.items():
            above = [own[each].state for each in parents.get(field, ()) if each in own]
            if node.state == "" and not partial and not going_on & set(parents.get(field, ())):
                assert node.needs == sum(state in ("", "q") for state in above)
                assert node.needs > 0 or field in put_off, "nobody will tell it to start"
    return waiting


def check_unique(d: Dump, heirs: list[bytes]) -> None:
    """A unique key points to a job that lives, unless it is held for a time; each heir has somebody to follow (I11)."""
    assert set(d.heirs) <= set(d.uniq)
    assert set(d.lapses) <= set(d.uniq)
    for key, id in d.uniq.items():
        route = route_of(d, id)
        assert key in d.lapses or (id not in d.tomb and route[1].encode() == key and not route[6])
        assert route[2] != "start" or id not in d.active or key in d.lapses
    for key, heir in d.heirs.items():
        assert route_of(d, heir[13:])[1].encode() == key
    routes = [route_of(d, id) for id in d.msg if id not in d.tomb and id not in heirs]
    # Not of those that hold it for a time (the last of these seven): they live on without it when that is over.
    until_done = [route[1] for route in routes if route[1] and route[2] == "done" and not route[6]]
    keys = [key for key in until_done if key.encode() not in d.lapses]
    assert len(set(keys)) == len(keys), "two jobs of one unique key"


def fifo(leases: Sequence[Lease]) -> list[bytes]:
    """The messages of leases, in their order."""
    return [lease.message for lease in leases]


def keyed(digest: bytes, body: bytes = b"body") -> bytes:
    """A message with a digest, as far as the scripts look."""
    return b"\x02" + digest.ljust(16, b"|") + body


def unchanged(desk: Desk, call: Callable[[], T]) -> T:
    """The answer of a call that changes nothing (I19)."""
    before = without_clock(desk.dump())
    answer = call()
    assert without_clock(desk.dump()) == before
    return answer
