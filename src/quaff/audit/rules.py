"""The invariants of a partition, as far as its contents show them, by the number that ``docs/design`` gives them.

Each rule is about one job, process or name at a time, so that it holds for a whole dump and for a close-up alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from quaff.audit.picture import Picture, read_node, read_route

#: What is said of each finding's name: the number of its invariant, and what is done about it.
INVARIANTS: dict[str, tuple[int, str]] = {
    "no place": (1, "the job is put in line again"),
    "two places": (1, "it stays where it has come furthest, and leaves the other one"),
    "no message": (1, "what is left of it is removed: nobody has its arguments any more"),
    "ended and waits": (1, "it leaves the place: it has ended"),
    "no holder": (6, "it goes back to the head of its line at no cost; the run that it has now will be refused"),
    "held twice": (6, "one process keeps it"),
    "not running": (6, "the entry is removed"),
    "no lease": (6, "its process gets a lease that is over, so that the next sweep takes it back"),
    "token twice": (7, "both jobs go back to the head of their line at no cost"),
    "crashes": (8, "its counts are forgotten, and begin anew"),
    "no owner": (10, "it is removed"),
    "expires never": (10, "it is put on the list of what expires"),
    "dead letter": (10, "the list is set right"),
    "unique key": (11, "its job holds it again, or its heir takes it, or it is free"),
    "key twice": (11, ""),
    "counter": (12, "the counter is set to what there is"),
    "ttl": (13, "the key is made to stay (PERSIST)"),
    "kind": (13, ""),
    "foreign key": (13, ""),
    "paused": (14, ""),
    "limit": (15, "what is taken is set to what runs, and the next in line is called"),
    "no numbers": (17, ""),
    "lane": (17, "it is known again where its jobs stand, and it takes turns"),
    "flow": (17, "its record is counted anew, and it is told which of its jobs have ended; without its jobs it fails"),
    "no edges": (17, ""),
    "corrupt": (9, ""),
    "schedule": (10, "it is removed; the next worker that starts declares it again"),
}
#: Why there is none.
NO_REMEDY = {
    "kind": "Another program has written there; what the key was is lost. Rename it (RENAME), and audit again.",
    "foreign key": "Nobody here knows whose it is. If it is nobody's: UNLINK it.",
    "corrupt": "Nobody can tell what it was. It counts as nothing: cancel the job, or let it run.",
    "key twice": "Two jobs have it, and one of them holds it: cancel the other one, or let both run.",
    "no numbers": "Send one more job with that limit, or set it (quaff.limit()); then audit again.",
    "no edges": "Who waits for whom in it is lost: cancel the flow (quaff.flow(id).cancel()), and start it anew.",
    "paused": "What has been started runs. Look for a worker of another release, or a program that writes there.",
}


class Finding(NamedTuple):
    """What is wrong.

    Attributes:
        name: one of ``INVARIANTS``.
        subject: the job's, process's or other name that it is about.
        text: what is the case.
        also: other jobs that one has to look at to see it; of a lane the entry of its job.
    """

    name: str
    subject: bytes
    text: str
    also: tuple[bytes, ...] = ()


def findings(p: Picture, max_crashes: int) -> Iterator[Finding]:
    """All that is wrong with jobs, processes and names; ``max_crashes`` are too many."""
    places = _places(p)
    dead = {id for id, tomb in p.tomb.items() if tomb[:1] == b"f"}
    yield from _placed(p, places, dead)
    yield from _held(p)
    yield from _counted(p, max_crashes)
    yield from _owned(p, set(places), dead)
    yield from _listed(p, dead)
    yield from _unique(p)
    yield from _scheduled(p)
    yield from _readable(p)


def _places(p: Picture) -> dict[bytes, list[str]]:
    ready, solo, _ = p.lines()
    found: dict[bytes, list[str]] = {}
    sources: tuple[tuple[str, Iterable[bytes]], ...] = (
        ("active", p.active),
        ("away", p.away),
        ("heirs", (heir[13:] for heir in p.heirs.values())),
        ("a flow", p.waiting_nodes()),
        ("sched", p.sched),
        ("parked", p.parked),
        ("prio", p.prio),
        ("backlog", (member[24:] for member in p.backlog)),
        ("solo", solo),
        ("ready", ready),
    )
    for name, ids in sources:
        for id in ids:
            found.setdefault(id, []).append(name)
    return found


def _placed(p: Picture, places: Mapping[bytes, list[str]], dead: set[bytes]) -> Iterator[Finding]:
    for id in p.msg.keys() - places.keys() - dead:
        text = "it has a message and is nowhere" if id not in p.tomb else "it has ended, and its message is still there"
        yield Finding("no owner" if id in p.tomb else "no place", id, text)
    for id, where in places.items():
        if len(where) > 1:
            yield Finding("two places", id, f"it is in {' and in '.join(where)}")
        if id in p.tomb:
            yield Finding("ended and waits", id, f"it has ended, and is in {where[0]}")
        elif id not in p.msg:
            yield Finding("no message", id, f"it is in {where[0]} and has no message")


def _held(p: Picture) -> Iterator[Finding]:
    holders: dict[bytes, list[bytes]] = {}
    for member in p.held:
        holders.setdefault(member[8:], []).append(member[:8])
    for id in p.active.keys() - holders.keys():
        yield Finding("no holder", id, "it runs, and no process holds it")
    for id, processes in holders.items():
        if id not in p.active:
            yield Finding("not running", id, f"process {processes[0].hex()} holds it, and it does not run")
        elif len(processes) > 1:
            yield Finding("held twice", id, f"{len(processes)} processes hold it")
        elif processes[0] not in p.lease:
            yield Finding("no lease", id, f"it runs in process {processes[0].hex()}, which has no lease")
    if len(set(p.active.values())) < len(p.active):
        owners: dict[bytes, list[bytes]] = {}
        for id, token in p.active.items():
            owners.setdefault(token, []).append(id)
        for ids in owners.values():
            for id in ids if len(ids) > 1 else ():
                others = tuple(other for other in ids if other != id)
                yield Finding("token twice", id, "another job runs under the same token", others)


def _counted(p: Picture, max_crashes: int) -> Iterator[Finding]:
    for id, text in p.tries.items():
        words = text.split(b" ", 4)
        if len(words) < 4 or not all(word.isdigit() for word in words[:4]):
            yield Finding("crashes", id, "its counts cannot be read")
            continue
        attempts, crashes, lapses, failures = map(int, words[:4])
        if crashes >= max_crashes:
            yield Finding("crashes", id, f"it has crashed {crashes} times and goes on")
        elif crashes + failures != attempts:
            yield Finding("crashes", id, f"{attempts} attempts, of which {crashes} crashed and {failures} failed")
        elif crashes + lapses + failures == 0 and not b"".join(words[4:]):
            yield Finding("no owner", id, "it has counts of nothing")


def _owned(p: Picture, places: set[bytes], dead: set[bytes]) -> Iterator[Finding]:
    kept = p.tomb.keys() | places
    flows = {field[:16] for field in p.flows}
    for name, there, owners in (
        ("tries", p.tries.keys(), places),
        ("steps", p.steps.keys(), p.msg.keys()),
        ("signals", p.signals.keys(), p.msg.keys()),
        ("route", p.route.keys(), p.msg.keys()),
        ("origin", p.origin.keys(), p.msg.keys() - dead),
        ("res", p.res.keys(), p.tomb.keys()),
        ("history", p.history.keys(), kept),
        ("prog", p.prog.keys(), p.active.keys()),
        ("stop", p.stop.keys(), p.active.keys() | p.away.keys()),
        ("logs", {field for field in p.logs if len(field) == 16}, places | p.res.keys()),
        ("chunks", {field for field in p.chunks if len(field) == 16}, places | p.res.keys()),
        ("spot", p.spot.keys(), {member[24:] for member in p.backlog}),
    ):
        for id in there - owners:
            yield Finding("no owner", id, f"{name} has something of it, and it has no right to that any more")
    for id in p.watched.keys() & p.tomb.keys():
        yield Finding("no owner", id, "somebody waits for it, and it has ended")
    for each in {each[:16] for each in p.followed} & p.tomb.keys() - flows:
        yield Finding("no owner", each, "somebody follows it, and it has ended")


def _listed(p: Picture, dead: set[bytes]) -> Iterator[Finding]:
    flows = {field[:16] for field in p.flows}
    for id in p.tomb.keys() - p.done.keys():
        yield Finding("expires never", id, "it has ended, and is not on the list of what expires")
    for id in {id for id in p.done if len(id) == 16} - p.tomb.keys() - flows:
        yield Finding("no owner", id, "it is on the list of what expires, and there is nothing of it")
    for id in p.dead.keys() ^ (dead & p.msg.keys()):
        yield Finding("dead letter", id, "it is kept and not listed" if id in p.msg else "it is listed and not kept")
    closed = {process for process, claim in p.claims.items() if claim == b"closed"}
    for process in {process for process in p.done if len(process) == 8} ^ closed:
        yield Finding("expires never", process, "a process that is gone will be remembered for ever, or not at all")
    for process in p.told.keys() - p.claims.keys():
        yield Finding("no owner", process, "what it has counted is remembered, and nobody knows it")
    for process in p.claims.keys() - closed - p.lease.keys():
        yield Finding("no lease", process, "a process has claimed, and has no lease: its silence will not be noticed")


def _unique(p: Picture) -> Iterator[Finding]:
    for key, id in p.uniq.items():
        if key not in p.lapses and (id in p.tomb or p.unique_key(id) != key):
            yield Finding("unique key", key, "its holder has ended, or is another's", (id,))
    for key in (p.heirs.keys() | p.lapses.keys()) - p.uniq.keys():
        yield Finding("unique key", key, "somebody waits for it, and nobody holds it")
    heirs = {heir[13:] for heir in p.heirs.values()}
    for id in p.route.keys() - p.tomb.keys() - heirs:
        key, until, for_ms = p.unique_key(id), p.route_of(id)[2], p.route_of(id)[6]
        # One that is held for a time may be another's while its job lives.
        if key and until == "done" and not for_ms and id in p.msg and p.uniq.get(key) != id:
            other = p.uniq.get(key, b"")
            twice = other in p.msg and other not in p.tomb and p.unique_key(other) == key
            yield Finding("key twice" if twice else "unique key", key, "a job has it that does not hold it", (id,))


def _scheduled(p: Picture) -> Iterator[Finding]:
    one, two, three, seen = (set(each) for each in (p.sched_def, p.sched_state, p.sched_next, p.sched_seen))
    for name in (one | two | three) - (one & two & three) | seen - one:
        yield Finding("schedule", name, "a part of it is missing")


def _readable(p: Picture) -> Iterator[Finding]:
    for id, text in p.route.items():
        if read_route(text) is None:
            yield Finding("corrupt", id, "what it asks for besides a place in line cannot be read")
    for id, field in p.member.items():
        if field in p.nodes and read_node(p.nodes[field]) is None:
            yield Finding("corrupt", id, "how it stands in its flow cannot be read")


def miscounted(sizes: Mapping[str, int], number: Mapping[str, int]) -> Iterator[Finding]:
    """What the counters say that is not so.

    Args:
        sizes: how many entries each key has.
        number: the counters.
    """
    waiting = sizes["ready"] + sizes["solo"] - number["ghosts"] + number["blocked"]
    placed = "parked sched active prio backlog heirs away".split()
    places = waiting + sum(sizes[name] for name in placed)
    ended = sum(number[name] for name in ("succeeded", "failed", "cancelled", "expired"))
    here = number["enqueued"] + number["requeued"] - ended
    if here != places:
        yield Finding("counter", b"enqueued", f"{here} jobs have not ended by the counters, {places} by what there is")
    for one, other in (("active", "held"), ("spot", "backlog"), ("outbox", "parcels"), *_UNTIL):
        if sizes[one] != sizes[other]:
            yield Finding("counter", one.encode(), f"{sizes[one]} entries in {one}, {sizes[other]} in {other}")


#: What is kept for people, each beside when it goes.
_UNTIL = [(name, f"{name}_until") for name in ("tasks", "series", "failures", "workers", "dumps")]
#: Those that the rule above needs.
COUNTERS = "ghosts blocked enqueued requeued succeeded failed cancelled expired".split()
