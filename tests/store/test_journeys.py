"""Jobs that run in another queue than the one they were sent to: the way there, the way back, and what may be lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quaff.model import message
from quaff.model.ids import JobId
from quaff.model.states import JobState
from quaff.store.parcels import Parcel, deliveries, outgoing, sent
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import HOUR, Desk, process_id, unchanged

ME = process_id()


@pytest.fixture
def desks(server_url: str, namespace: str) -> Iterator[tuple[Desk, Desk]]:
    """Home, and the queue ``slow``."""
    home, there = Desk(server_url, namespace), Desk(server_url, namespace, queue="slow")
    yield home, there
    home.close()
    there.close()


def leaves(home: Desk, data: bytes = b"\x01work") -> Lease:
    """A job that fails at home and goes on in the other queue."""
    (id,) = home.put(data)
    (lease,) = home.take(ME)
    assert home.settle(ME, lease, state=JobState.RETRYING, ttl_ms=1, digest=b" slow#0", record=b"first") == [1]
    home.let_be_due(id)
    home.sweep()
    return lease


def carry(desk: Desk) -> list[Parcel]:
    """What one turn of a worker delivers."""
    parcels = desk.store.run(outgoing(desk.home, hold_ms=60_000))
    for call, names in deliveries(namespace_of(desk), parcels, window_ms=HOUR):
        if desk.store.run(call):
            desk.store.run(sent(desk.home, again_ms=60_000, names=names))
    return parcels


def namespace_of(desk: Desk) -> str:
    return desk.home.prefix.partition("{")[2].partition("/")[0]


def repeat(desk: Desk, parcels: list[Parcel]) -> None:
    """The same is delivered again: a reply was lost, or another worker had taken it up as well."""
    for call, _ in deliveries(namespace_of(desk), parcels, window_ms=HOUR):
        desk.store.run(call)


def test_a_job_goes_to_another_queue_and_its_outcome_comes_home(desks: tuple[Desk, Desk]) -> None:
    """Its id is the one that was given to whoever sent it; over there nothing stays."""
    home, there = desks
    lease = leaves(home)
    assert home.dump().away
    (parcel,) = carry(home)
    assert (parcel.kind, parcel.to) == ("go", ("slow", 0))
    assert unchanged(there, lambda: repeat(home, [parcel])) is None
    (guest,) = there.take(ME)
    assert message.origin(guest.message) == JobId("q", 0, lease.id)
    assert (guest.attempt, guest.failures) == (2, 1)
    assert there.settle(ME, guest, record=b"done") == [Verdict.OK]
    assert there.settle(ME, guest, record=b"done") == [Verdict.ALREADY]
    assert home.look(lease.id).state is JobState.QUEUED
    back = carry(there)
    found = home.look(lease.id)
    assert (found.state, found.record) == (JobState.SUCCEEDED, b"done")
    assert b"first" in found.history
    unchanged(home, lambda: repeat(there, back))
    for dump in (home.dump(), there.dump()):
        left = {
            name for name in ("away", "origin", "outbox", "parcels", "msg", "route", "tries") if getattr(dump, name)
        }
        assert left == set()
    assert there.dump().res == there.dump().history == {}


def test_a_job_that_fails_elsewhere_is_a_dead_letter_at_home_and_is_sent_back_to_where_it_ran(
    desks: tuple[Desk, Desk],
) -> None:
    """With all of its history; the task that is told of it is put in line at home."""
    home, there = desks
    lease = leaves(home, message.carrying(b"\x01told", b"\x01work"))
    carry(home)
    (guest,) = there.take(ME)
    assert there.settle(ME, guest, state=JobState.FAILED, record=b"the last") == [1]
    carry(there)
    assert list(home.dump().dead) == [lease.id]
    assert not there.dump().dead
    assert [each.message for each in home.take(ME)] == [b"\x01told"]
    from quaff.store.transitions import requeue

    assert home.store.run(requeue(home.home, [lease.id])) == [b"q"]
    carry(home)
    (again,) = there.take(ME)
    assert again.id != guest.id
    assert (again.attempt, again.message) == (1, guest.message)
    assert there.settle(ME, again) == [1]
    carry(there)
    assert home.look(lease.id).state is JobState.SUCCEEDED


def test_a_crash_over_there_counts_and_a_retry_there_stays_there(desks: tuple[Desk, Desk]) -> None:
    """A traveller is a job like others as long as it does not want to go elsewhere."""
    home, there = desks
    lease = leaves(home)
    carry(home)
    (guest,) = there.take(ME)
    assert there.settle(ME, guest, state=JobState.RETRYING, ttl_ms=1) == [1]
    there.let_be_due(guest.id)
    other = process_id()
    (guest,) = there.take(other)
    assert there.reap(other, guest.id)[:2] == (1, 0)
    (guest,) = there.take(process_id(), idle=True)
    assert guest.attempt == 4
    assert home.look(lease.id).state is JobState.QUEUED
    there.dump()


def test_from_a_third_queue_it_comes_home_too(desks: tuple[Desk, Desk], server_url: str) -> None:
    """By way of its home, where it is known which journey it is on."""
    home, there = desks
    third = Desk(server_url, namespace_of(home), queue="third")
    lease = leaves(home)
    carry(home)
    (guest,) = there.take(ME)
    assert there.settle(ME, guest, state=JobState.RETRYING, ttl_ms=1, digest=b"7 third#0") == [1]
    carry(there)
    assert home.look(lease.id).state is JobState.RETRYING
    home.let_be_due(lease.id)
    home.sweep()
    carry(home)
    (guest,) = third.take(ME)
    assert (guest.attempt, guest.failures) == (3, 2)
    assert there.store.run(outgoing(there.home, hold_ms=1)) == []
    assert third.settle(ME, guest, state=JobState.RETRYING, ttl_ms=1, digest=b" q#0") == [1]
    carry(third)
    home.let_be_due(lease.id)
    (own,) = home.take(ME)
    assert (own.id, own.attempt) == (lease.id, 4)
    assert home.settle(ME, own) == [1]
    home.dump()
    third.dump()
    third.close()


@pytest.mark.parametrize("when", ["before it leaves", "on the way", "waiting there", "running there"])
def test_a_traveller_is_cancelled_wherever_it_is(desks: tuple[Desk, Desk], when: str) -> None:
    """Asked at home, which is where its id leads."""
    home, there = desks
    lease = leaves(home)
    taken: list[Parcel] = []
    if when == "on the way":
        taken = home.store.run(outgoing(home.home, hold_ms=60_000))
    elif when != "before it leaves":
        carry(home)
    guests = there.take(ME) if when == "running there" else []
    assert home.cancel(lease.id, outcome=b"called off") == [b"r"]
    unchanged(home, lambda: home.cancel(lease.id, outcome=b"again"))
    carry(home)
    if taken:
        # It was told before what it concerns had come; so it is told again.
        repeat(home, taken)
        assert there.look(taken[0].parts[0]).state is JobState.QUEUED
        home.redis.zadd(home.key("outbox"), dict.fromkeys(home.dump().outbox, 1))
        carry(home)
    carry(home)
    for guest in guests:
        assert there.settle(ME, guest, state=JobState.RETRYING, ttl_ms=1) == [1]
    carry(there)
    found = home.look(lease.id)
    assert (found.state, found.record) == (JobState.CANCELLED, b"called off")
    assert not there.take(ME)
    assert not home.dump().outbox
    there.dump()


def test_a_journey_that_the_other_partition_has_lost_is_made_again(desks: tuple[Desk, Desk]) -> None:
    """A failover over there may forget a job that had arrived; its home does not."""
    home, there = desks
    lease = leaves(home)
    carry(home)
    there.redis.delete(*(there.key(name) for name in ("msg", "ready", "origin", "meta", "tries", "history", "wake")))
    assert not there.take(ME)
    home.redis.zadd(home.key("outbox"), dict.fromkeys(home.dump().outbox, 1))
    carry(home)
    (guest,) = there.take(ME)
    assert there.settle(ME, guest) == [1]
    carry(there)
    assert home.look(lease.id).state is JobState.SUCCEEDED


def test_an_old_journey_brings_nobody_home(desks: tuple[Desk, Desk]) -> None:
    """What was sent back since, or has ended, is not touched by what comes late from there."""
    home, there = desks
    lease = leaves(home)
    carry(home)
    (guest,) = there.take(ME)
    there.settle(ME, guest, state=JobState.FAILED)
    late = there.store.run(outgoing(there.home, hold_ms=1))
    carry(there) if not late else repeat(there, late)
    from quaff.store.transitions import requeue

    home.store.run(requeue(home.home, [lease.id]))
    unchanged(home, lambda: repeat(there, late))
    assert home.look(lease.id).state is JobState.QUEUED
