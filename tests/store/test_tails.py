"""Lines and values on the server: the newest, each once, of whoever holds the job, as long as its outcome is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quaff.model.states import JobState
from quaff.model.tail import LINES, VALUES, Outgoing, Packet, Page, framed
from quaff.store.queries import EVENTS, Followed, follow
from quaff.store.queries import VALUES as FOLLOW_VALUES
from quaff.store.transitions import Kept, Lease, append
from tests.store.engine import HOUR, Desk, process_id, unchanged

KINDS = pytest.mark.parametrize("what", [LINES, VALUES])


@pytest.fixture
def desk(server_url: str, namespace: str) -> Iterator[Desk]:
    """A queue of its own."""
    desk = Desk(server_url, namespace)
    yield desk
    desk.close()


def begin(desk: Desk) -> tuple[bytes, Lease]:
    """A process, and a job that it runs."""
    me = process_id()
    desk.put(b"m")
    (lease,) = desk.take(me)
    return me, lease


def packet(what: bytes, before: int, *items: bytes) -> Packet:
    """Some items."""
    return Packet(what, before, len(items), b"".join(map(framed, items)))


def say(desk: Desk, lease: Lease, *packets: Packet) -> list[int]:
    """In one call."""
    return desk.store.run(append(desk.home, [(lease.id, lease.token, each) for each in packets]))


def look(desk: Desk, id: bytes, what: bytes, position: int = 0) -> Followed:
    """As somebody who follows a job."""
    kind = EVENTS if what == LINES else FOLLOW_VALUES
    found = desk.store.run(follow(desk.home, id, kind, position, lasts_ms=5000))
    assert found is not None
    return found


def items(desk: Desk, id: bytes, what: bytes, position: int = 0) -> list[tuple[int, bytes]]:
    """All that is kept from a position on."""
    found: list[tuple[int, bytes]] = []
    while True:
        page = look(desk, id, what, position).page
        found += page.items
        if page.all:
            return found
        position = page.items[-1][0] + 1


@KINDS
def test_what_was_said_is_there_from_any_position(desk: Desk, what: bytes) -> None:
    """In its order, also over the borders of pieces."""
    _, lease = begin(desk)
    expected = [b"%d" % number for number in range(300)]
    for at in range(0, 300, 50):
        assert say(desk, lease, packet(what, at, *expected[at : at + 50])) == [1]
    desk.dump()
    for position in (0, 1, 49, 50, 150, 299):
        assert items(desk, lease.id, what, position) == list(enumerate(expected))[position:]
    assert items(desk, lease.id, what, 300) == []
    if what == LINES:
        assert desk.look(lease.id).lines.items == tuple(enumerate(expected))


@KINDS
def test_the_same_call_again_changes_nothing(desk: Desk, what: bytes) -> None:
    """A lost reply is answered by sending the same bytes again, a late copy may come at any time (I19)."""
    _, lease = begin(desk)
    opening, first, second = Packet(what, 0, 0, b"label"), packet(what, 0, b"a", b"b"), packet(what, 2, b"c")
    assert say(desk, lease, opening, first) == [1, 1]
    assert unchanged(desk, lambda: say(desk, lease, opening, first)) == [1, 1]
    assert say(desk, lease, second) == [1]
    for again in (opening, first, second):
        assert unchanged(desk, lambda again=again: say(desk, lease, again)) == [1]
    assert [item for _, item in items(desk, lease.id, what)] == [b"a", b"b", b"c"]
    assert look(desk, lease.id, what).page.label == "label"


@KINDS
def test_who_does_not_hold_the_job_says_nothing(desk: Desk, what: bytes) -> None:
    """After it was given back, taken by another one, or ended."""
    me, lease = begin(desk)
    say(desk, lease, packet(what, 0, b"mine"))
    desk.release(me, lease)
    late = packet(what, 1, b"late")
    assert unchanged(desk, lambda: say(desk, lease, late)) == [3]
    other = process_id()
    (again,) = desk.take(other)
    assert unchanged(desk, lambda: say(desk, lease, late)) == [3]
    assert say(desk, again, packet(what, 0, b"other")) == [1]
    desk.settle(other, again)
    assert unchanged(desk, lambda: say(desk, again, packet(what, 1, b"late"))) == [3]
    expected = [(0, b"mine"), (1, b"other")] if what == LINES else [(2, b"other")]
    assert items(desk, lease.id, what) == expected


@KINDS
def test_the_newest_stay_within_their_bounds(desk: Desk, what: bytes) -> None:
    """By how many and by bytes; positions go on."""
    _, lease = begin(desk)
    most, size = (64, 4096) if what == LINES else (1000, 65_536)
    for number in range(40):
        say(desk, lease, packet(what, number * most, *[b"%d" % number] * most))
        desk.dump()
    kept = items(desk, lease.id, what)
    assert [position for position, _ in kept] == list(range(24 * most, 40 * most))
    before = 40 * most
    for number in range(40):
        say(desk, lease, packet(what, before + number, bytes(size)))
        desk.dump()
    kept = items(desk, lease.id, what)
    # Each of them is a little larger than a piece.
    assert [position for position, _ in kept] == list(range(before + 25, before + 40))
    say(desk, lease, packet(what, before + 40, bytes(20 * size)))
    assert [position for position, _ in items(desk, lease.id, what)] == [before + 40]
    desk.dump()


def test_values_of_an_attempt_before_are_worth_nothing_its_lines_are(desk: Desk) -> None:
    """Whoever has all values of the first attempt must see the difference, so one position is left out."""
    me, lease = begin(desk)
    say(desk, lease, packet(VALUES, 0, b"a", b"b"), packet(LINES, 0, b"x"))
    desk.settle(me, lease, state=JobState.RETRYING, ttl_ms=1)
    assert [item for _, item in items(desk, lease.id, VALUES)] == [b"a", b"b"]
    desk.let_be_due(lease.id)
    (lease,) = desk.take(me)
    say(desk, lease, Packet(VALUES, 0, 0, b"t"), packet(LINES, 0, b"y"))
    page = look(desk, lease.id, VALUES).page
    assert page == Page(3, 3, "t", ())
    say(desk, lease, packet(VALUES, 0, b"c"))
    assert items(desk, lease.id, VALUES) == [(3, b"c")]
    assert items(desk, lease.id, LINES) == [(0, b"x"), (1, b"y")]
    desk.dump()


def test_what_a_server_has_lost_leaves_a_gap(desk: Desk) -> None:
    """An attempt that had said more than the server knows goes on where it is."""
    _, lease = begin(desk)
    say(desk, lease, packet(LINES, 5, b"a"))
    say(desk, lease, packet(LINES, 6, b"b"), packet(LINES, 9, b"c"))
    assert items(desk, lease.id, LINES) == [(5, b"a"), (6, b"b"), (9, b"c")]
    desk.dump()


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_it_goes_with_the_outcome(desk: Desk, state: JobState) -> None:
    """At its end, at once where none is kept, and for everybody at that moment; the tombstone stays."""
    me, lease = begin(desk)
    say(desk, lease, packet(VALUES, 0, b"a"), packet(LINES, 0, b"x"))
    desk.settle(me, lease, state=state)
    assert items(desk, lease.id, VALUES) == [(0, b"a")]
    desk.let_results_expire(lease.id)
    assert items(desk, lease.id, VALUES) == []
    assert desk.look(lease.id).lines.items == ()
    desk.sweep()
    dump = desk.dump()
    assert (dump.logs, dump.chunks) == ({}, {})
    assert lease.id in dump.tomb
    me, lease = begin(desk)
    say(desk, lease, packet(VALUES, 0, b"a"), packet(LINES, 0, b"x"))
    desk.settle(me, lease, state=state, ttl_ms=0)
    dump = desk.dump()
    assert (dump.logs, dump.chunks) == ({}, {})


def test_a_dead_letter_counts_it_and_takes_it_along(desk: Desk) -> None:
    """Dead letters are bounded by their bytes, so these belong to them."""
    me, lease = begin(desk)
    say(desk, lease, packet(VALUES, 0, bytes(50_000)), packet(LINES, 0, b"x"))
    desk.settle(me, lease, state=JobState.FAILED)
    assert desk.dump().number("dead_bytes") > 50_000
    desk.sweep(keep=Kept(1000, 40_000))
    dump = desk.dump()
    assert (dump.logs, dump.chunks, dump.number("dead_bytes")) == ({}, {}, 0)


def test_one_call_says_things_of_many_jobs(desk: Desk) -> None:
    """One refused does not hold up the others."""
    me = process_id()
    desk.put(*[b"m"] * 3)
    leases = desk.take(me, 3)
    desk.settle(me, leases[1])
    calls = [(each.id, each.token, packet(LINES, 0, b"x")) for each in leases]
    assert desk.store.run(append(desk.home, calls)) == [1, 3, 1]
    desk.dump()


def test_an_end_by_somebody_else_keeps_it_as_long_as_that_outcome(desk: Desk) -> None:
    """Called off while it waits for its next attempt."""
    me, lease = begin(desk)
    say(desk, lease, packet(LINES, 0, b"x"))
    desk.settle(me, lease, state=JobState.RETRYING, ttl_ms=HOUR)
    desk.cancel(lease.id)
    assert [item for _, item in desk.look(lease.id).lines.items] == [b"x"]
    desk.let_results_expire(lease.id)
    desk.sweep()
    assert desk.dump().logs == {}


@pytest.mark.only("valkey", why="scripts are the same on each")
def test_who_has_said_nothing_costs_no_deletion(desk: Desk) -> None:
    """Also beside one that has said something: jobs without a result are settled by the hundred."""
    me, talker = begin(desk)
    assert say(desk, talker, packet(LINES, 0, b"a")) == [1]
    desk.put(*[b"m"] * 50)
    quiet = desk.take(me, 50)
    desk.redis.config_resetstat()
    desk.settle(me, *quiet, ttl_ms=0)
    assert desk.redis.info("commandstats")["cmdstat_hdel"]["calls"] < 10


@KINDS
def test_what_waits_to_be_sent_comes_in_packets_of_its_bounds(what: bytes) -> None:
    """None lost, none twice, but of too many lines the oldest."""
    outgoing = Outgoing(what, "label")
    for number in range(1000):
        outgoing.add(b"%d" % number)
    opening, *packets = outgoing.take()
    assert opening == Packet(what, 0, 0, b"label")
    assert [each.before for each in packets] == [sum(p.many for p in packets[:n]) for n in range(len(packets))]
    assert sum(each.many for each in packets) == 1000
    assert outgoing.take() == []
    outgoing.add(b"x")
    assert outgoing.take() == [packet(what, 1000, b"x")]
    for _ in range(3000):
        outgoing.add(bytes(100))
    packets = outgoing.take()
    assert packets[-1].before + packets[-1].many == 4001
    assert sum(each.many for each in packets) == (630 if what == LINES else 3000)
