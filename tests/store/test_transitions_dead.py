"""Dead letters: listed, bounded, followed up."""

from __future__ import annotations

from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.tallies import jobs
from quaff.store.transitions import STEP, Kept, Lease
from tests.store.engine import HOUR, Desk, fifo, keyed, process_id

ME = process_id()


def fail(desk: Desk, *messages: bytes, record: bytes = b"outcome", ttl_ms: int = HOUR) -> list[bytes]:
    """Jobs that were given up, in this order; their ids."""
    ids = desk.put(*messages)
    desk.settle(ME, *desk.take(ME, len(ids)), state=JobState.FAILED, record=record, ttl_ms=ttl_ms)
    return ids


def listed(desk: Desk) -> list[bytes]:
    """Their ids."""
    return [each.id for each in desk.store.run(jobs(desk.home, ("dead",), b"", 500)).seen]


def test_the_oldest_make_room_when_there_are_too_many(desk: Desk) -> None:
    """By number and by bytes; what is dropped stays failed and is not stored again (pain 12)."""
    ids = [fail(desk, b"x" * 100, record=b"r" * 100)[0] for _ in range(6)]
    for place, id in enumerate(ids):
        desk.redis.zadd(desk.key("dead"), {id: 1 + place})
    desk.sweep(keep=Kept(4, 1_000_000))
    assert set(listed(desk)) == set(ids[2:])
    desk.sweep(keep=Kept(4, 450))
    assert set(listed(desk)) == set(ids[4:])
    found = desk.look(ids[0])
    assert (found.state, found.record, found.message) == (JobState.FAILED, b"", b"")
    assert desk.enqueue([(ids[0], b"again")]) == [b"f"]
    assert desk.dump().number("dead_bytes") == 400


def test_a_step_drops_some_and_says_that_more_is_left(desk: Desk) -> None:
    """So that no script holds the server for long."""
    fail(desk, *[b"m"] * 50)
    for _ in range(2):
        fail(desk, *[b"m"] * STEP)
    assert desk.sweep(keep=Kept(50, 1_000_000)).more
    assert not desk.sweep(keep=Kept(50, 1_000_000)).more
    assert len(desk.dump().dead) == 50


def test_a_letter_whose_time_is_over_leaves_the_list(desk: Desk) -> None:
    """With all that was kept of it."""
    ids = fail(desk, b"a", b"b")
    desk.let_results_expire(ids[0])
    desk.sweep()
    assert listed(desk) == [ids[1]]
    desk.let_tombstones_expire(*ids)
    desk.sweep()
    assert desk.dump().number("dead_bytes") == 0
    assert desk.look(ids[1]).state is None


def carrying(follow_up: bytes, message: bytes) -> bytes:
    """A message that carries another one."""
    return b"\x03" + len(follow_up).to_bytes(4, "big") + follow_up + message


class TestFollowUp:
    """The message that a job carries is put in line when the job is given up, in the same step."""

    def test_one_follows_each_way_of_being_given_up(self, desk: Desk) -> None:
        """A failure, a crash too many, a limit, a lapse too many; and again after a requeue."""
        message = carrying(b"\x01after", b"\x01job")
        failed, killed, crashed, lapsed = desk.put(*[message] * 4)
        (lease,) = desk.take(ME)
        desk.settle(ME, lease, state=JobState.FAILED)
        dead = process_id()
        desk.take(dead)
        end = t.End(killed, "f", 0, b"attempt", b"outcome")
        desk.store.run(t.reap(desk.home, process=dead, rules=t.Rules(3, HOUR, HOUR), started=[end]))
        for id in (crashed, lapsed):
            dead = process_id()
            desk.take(dead)
            desk.reap(dead, id, rules=t.Rules(1, HOUR, HOUR))
        after = desk.take(ME, 9)
        assert fifo(after) == [b"\x01after"] * 4
        assert {lease.id[7:] for lease in after} == {id[7:] for id in (failed, killed, crashed, lapsed)}
        assert desk.store.run(t.requeue(desk.home, [failed])) == [b"q"]
        (lease,) = desk.take(ME)
        desk.settle(ME, lease, state=JobState.FAILED)
        assert fifo(desk.take(ME, 9)) == [b"\x01after"]

    def test_none_follows_another_end(self, desk: Desk) -> None:
        """Nor a retry, nor an expiry or a cancellation."""
        message = carrying(b"\x01after", b"\x01job")
        desk.put(*[message] * 4)
        states = (JobState.SUCCEEDED, JobState.CANCELLED, JobState.EXPIRED, JobState.RETRYING)
        for lease, state in zip(desk.take(ME, 4), states, strict=True):
            desk.settle(ME, lease, state=state)
        assert desk.take(ME, 9) == []

    def test_the_digest_of_its_job_is_still_seen(self, desk: Desk) -> None:
        """The same key with other arguments is refused, before and after the end (F61)."""
        (id,) = desk.put(carrying(b"\x01after", keyed(b"one")))
        same, other = carrying(b"\x01after", keyed(b"one")), carrying(b"\x01after", keyed(b"two"))
        assert desk.enqueue([(id, same), (id, other)]) == [1, b"x"]
        (lease,) = desk.take(ME)
        desk.settle(ME, lease, state=JobState.FAILED)
        assert desk.enqueue([(id, same), (id, other)]) == [b"f", b"x"]

    def test_a_message_that_lies_about_what_it_carries_does_no_harm(self, desk: Desk) -> None:
        """Bytes that nobody of us wrote: the job ends like any other (F56)."""
        desk.put(b"\x03", b"\x03\xff\xff\xff\xff", b"\x03\x00\x00\x00\x09few", b"\x03\x00\x00\x00\x00")
        leases = desk.take(ME, 9)
        assert len(leases) == 4
        desk.settle(ME, *leases, state=JobState.FAILED)
        assert {desk.look(lease.id).state for lease in leases} == {JobState.FAILED}


def test_what_was_killed_at_its_limit_fails_or_is_tried_again_and_its_neighbours_pay_nothing(desk: Desk) -> None:
    """F7: the failure is counted as one, the crash is nobody's; the neighbour keeps its attempt and its record."""
    over, again, beside, _waiting = desk.put(b"over", b"again", b"beside", b"waiting")
    dead = process_id()
    desk.take(dead, 4)
    ends = [
        t.End(over, "f", 0, b"attempt", b"outcome"),
        t.End(again, "r", HOUR, b"attempt", b"outcome"),
        t.End(beside, "b", 0, b"attempt", b"outcome"),
    ]
    assert desk.store.run(t.reap(desk.home, process=dead, rules=t.Rules(3, HOUR, HOUR), started=ends)) == (3, 1, False)
    assert (desk.look(over).state, desk.look(over).record) == (JobState.FAILED, b"outcome")
    assert desk.look(again).state is JobState.RETRYING
    assert all(desk.look(id).history for id in (over, again, beside))
    leases = desk.take(ME, 9)
    assert {(lease.message, lease.attempt) for lease in leases} == {(b"beside", 1), (b"waiting", 1)}
    desk.let_be_due(again)
    (lease,) = desk.take(ME)
    assert (lease.attempt, lease.failures, lease.token.endswith(b"!")) == (2, 1, False)


class TestSnooze:
    """running -> scheduled -> queued, at no cost."""

    def test_a_job_that_wants_to_wait_keeps_its_number(self, desk: Desk) -> None:
        """It is scheduled, not retrying, and no failure is counted; the same settle again finds its answer."""
        (id,) = desk.put(b"m")
        for _ in range(3):
            (lease,) = desk.take(ME)
            assert (lease.attempt, lease.failures) == (1, 0)
            assert self.snooze(desk, lease) == [t.Verdict.OK]
            assert self.snooze(desk, lease) == [t.Verdict.ALREADY]
            assert desk.look(id).state is JobState.SCHEDULED
            assert desk.take(ME) == []
            desk.let_be_due(id)
        (lease,) = desk.take(ME)
        assert desk.settle(ME, lease) == [t.Verdict.OK]
        assert desk.dump().tries == {}

    def test_between_failures_it_stays_retrying(self, desk: Desk) -> None:
        """What has failed before still has."""
        (id,) = desk.put(b"m")
        (lease,) = desk.take(ME)
        desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=0)
        (lease,) = desk.take(ME)
        self.snooze(desk, lease)
        assert desk.look(id).state is JobState.RETRYING
        desk.let_be_due(id)
        (lease,) = desk.take(ME)
        assert (lease.attempt, lease.failures) == (2, 1)

    @staticmethod
    def snooze(desk: Desk, lease: Lease) -> list[t.Verdict]:
        """For an hour."""
        return desk.settle(ME, lease, state=JobState.SCHEDULED, ttl_ms=HOUR)


def test_a_job_that_came_too_late_is_expired(desk: Desk) -> None:
    """A state of its own; its message goes, the tombstone says it."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(ME)
    assert desk.claim(ME, 99, b"other").now_ms == 0
    assert desk.settle(ME, lease, state=JobState.EXPIRED) == [t.Verdict.OK]
    found = desk.look(id)
    assert (found.state, found.message, found.record) == (JobState.EXPIRED, b"", b"record")
    assert desk.enqueue([(id, b"m")]) == [b"e"]


def test_a_claim_tells_the_time(desk: Desk) -> None:
    """The server's, also when it is sent again: nobody's own clock decides what is too late (F47)."""
    desk.put(b"m")
    first = desk.claim(ME, 1, b"claim")
    seconds, micros = desk.redis.time()
    assert abs(first.now_ms - (seconds * 1000 + micros / 1000)) < 10_000
    assert desk.claim(ME, 1, b"claim").now_ms >= first.now_ms
