"""cancel, requeue, discard: what people do to jobs, wherever these are."""

from __future__ import annotations

import pytest

from quaff.errors import StoreError
from quaff.model import outcome
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.queries import asked
from quaff.store.transitions import Verdict
from tests.store.engine import HOUR, Desk, fifo, process_id, unchanged

OK, ALREADY, FENCED = Verdict.OK, Verdict.ALREADY, Verdict.FENCED
ME = process_id()


class TestWaiting:
    """scheduled | retrying | queued -> cancelled."""

    def test_a_queued_job_never_starts(self, desk: Desk) -> None:
        """At the head, in the middle, at the end; asked again nothing changes; with no worker about (F60)."""
        jobs = desk.put(*(b"%d" % n for n in range(5)))
        assert desk.cancel(jobs[0], jobs[2], jobs[4]) == [b"c"] * 3
        assert unchanged(desk, lambda: desk.cancel(jobs[0], jobs[2])) == [b"c"] * 2
        found = desk.look(jobs[2])
        assert (found.state, found.record, found.message) == (JobState.CANCELLED, b"cancelled", b"")
        assert fifo(desk.take(ME, 9)) == [b"1", b"3"]
        dump = desk.dump()
        assert dump.ghosts == {}
        assert dump.number("strangers") == 0

    def test_a_parked_a_retrying_and_a_lonely_job_are_cancelled_too(self, desk: Desk) -> None:
        """Wherever it waits, it is gone from there."""
        parked, retrying, lonely = desk.put(b"parked", b"retrying", b"lonely")
        a, b = desk.take(ME, 2)
        desk.release(ME, a, park_ms=HOUR)
        desk.settle(ME, b, state=JobState.RETRYING, ttl_ms=HOUR, record=b"r")
        dead = process_id()
        desk.take(dead)
        desk.reap(dead, lonely)
        assert desk.cancel(parked, retrying, lonely) == [b"c"] * 3
        assert desk.claim(ME, 99, b"c", 9, idle=True).leases == []
        assert not desk.claim(ME, 100, b"d", 9, idle=True).alone
        dump = desk.dump()
        assert (dump.ready, dump.solo, dump.parked, dump.sched, dump.tries, dump.ghosts) == ([], [], {}, {}, {}, {})

    def test_what_ended_or_is_unknown_stays_so(self, desk: Desk) -> None:
        """A terminal state never changes (I2)."""
        (id,) = desk.put(b"m")
        (lease,) = desk.take(ME)
        desk.settle(ME, lease)
        assert unchanged(desk, lambda: desk.cancel(id, b"x" * 16)) == [b"s", b""]

    def test_a_key_that_was_cancelled_is_not_stored_again(self, desk: Desk) -> None:
        """As with any other end, as long as its tombstone lives; after that it is a new job behind its own ghost."""
        (id,) = desk.put(b"m")
        desk.put(b"other")
        desk.cancel(id)
        assert desk.enqueue([(id, b"m")]) == [b"c"]
        desk.let_tombstones_expire(id)
        desk.sweep()
        assert desk.enqueue([(id, b"m")]) == [0]
        assert fifo(desk.take(ME, 9)) == [b"other", b"m"]


class TestRunning:
    """running: asked to stop."""

    def test_it_ends_as_it_likes_but_does_not_come_back(self, desk: Desk) -> None:
        """What has finished in the meantime stays finished; a retry becomes the cancellation (F60)."""
        done, failed, retried = desk.put(b"done", b"failed", b"retried")
        a, b, c = desk.take(ME, 3)
        assert desk.cancel(done, failed, retried) == [b"r"] * 3
        assert unchanged(desk, lambda: desk.cancel(done)) == [b"r"]
        assert desk.look(done).state is JobState.RUNNING
        assert desk.settle(ME, a) == [OK]
        assert desk.settle(ME, b, state=JobState.FAILED) == [OK]
        assert desk.settle(ME, c, state=JobState.RETRYING, ttl_ms=HOUR, record=b"r") == [OK]
        states = [desk.look(id).state for id in (done, failed, retried)]
        assert states == [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
        assert desk.look(retried).record == b"cancelled"
        assert desk.settle(ME, c, state=JobState.RETRYING, ttl_ms=HOUR, record=b"r") == [ALREADY]
        assert desk.dump().stop == {}

    @pytest.mark.parametrize("how", ["released", "parked", "reaped", "charged", "lapsed"])
    def test_given_back_it_is_cancelled(self, desk: Desk, how: str) -> None:
        """By a worker that stops, by the death of its process, or by silence: it is not run again."""
        (id,) = desk.put(b"m")
        process = process_id()
        (lease,) = desk.take(process)
        desk.cancel(id)
        if how in ("released", "parked"):
            desk.release(process, lease, park_ms=HOUR if how == "parked" else 0)
        elif how == "lapsed":
            desk.let_lapse(process)
            desk.sweep()
        else:
            desk.reap(process, *([id] if how == "charged" else []))
        found = desk.look(id)
        assert (found.state, found.record) == (JobState.CANCELLED, b"cancelled")
        assert bool(found.history) == (how in ("charged", "lapsed"))
        assert desk.settle(process, lease) in ([ALREADY], [FENCED])
        assert desk.take(ME, 9, idle=True) == []

    def test_whoever_listens_is_told(self, desk: Desk) -> None:
        """Processes that hold jobs need not ask all the time."""
        (id,) = desk.put(b"m")
        desk.take(ME)
        listener = desk.redis.pubsub()
        listener.subscribe(desk.key("stop"))
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        desk.cancel(id)
        assert listener.get_message(timeout=5)["type"] == "message"
        listener.close()


class TestDeadLetters:
    """failed -> queued, and failed -> gone."""

    @staticmethod
    def fail(desk: Desk, id: bytes, number: int = 1) -> None:
        """Run a job and let it fail."""
        (lease,) = desk.take(ME)
        assert lease.id == id
        attempt = Attempt(number, 1, 2, "w", 3, "error", Failure("error", "ValueError", "why"))
        desk.settle(ME, lease, state=JobState.FAILED, record=outcome.encode(Outcome("task", 0, attempt)))

    def test_one_that_is_sent_back_runs_again_with_its_history(self, desk: Desk) -> None:
        """The same bytes, attempts counted anew, what it had done before still there."""
        (id,) = desk.put(b"m")
        self.fail(desk, id)
        assert desk.store.run(t.requeue(desk.home, [id])) == [b"q"]
        assert desk.look(id).state is JobState.QUEUED
        assert unchanged(desk, lambda: desk.store.run(t.requeue(desk.home, [id]))) == [b"n"]
        (lease,) = desk.take(ME)
        assert (lease.id, lease.message, lease.attempt) == (id, b"m", 1)
        (before,) = outcome.decode_history(desk.look(id).history)
        assert (before.outcome, before.error and before.error.message) == ("error", "why")
        assert desk.settle(ME, lease) == [OK]
        assert desk.look(id).state is JobState.SUCCEEDED

    def test_only_dead_letters_are_sent_back(self, desk: Desk) -> None:
        """What succeeded, was cancelled, waits or is unknown stays as it is."""
        done, cancelled, waiting = desk.put(b"done", b"cancelled", b"waiting")
        (lease,) = desk.take(ME)
        desk.settle(ME, lease)
        desk.cancel(cancelled)
        ids = [done, cancelled, waiting, b"x" * 16]
        assert unchanged(desk, lambda: desk.store.run(t.requeue(desk.home, ids))) == [b"s", b"c", b"n", b""]
        assert unchanged(desk, lambda: desk.store.run(t.discard(desk.home, ids))) == [0, 0, 0, 0]

    def test_a_late_settle_of_the_failed_run_is_refused(self, desk: Desk) -> None:
        """The run that failed is over, also when the job waits again (I4)."""
        (id,) = desk.put(b"m")
        (lease,) = desk.take(ME)
        desk.settle(ME, lease, state=JobState.FAILED)
        desk.store.run(t.requeue(desk.home, [id]))
        assert unchanged(desk, lambda: desk.settle(ME, lease)) == [FENCED]

    def test_one_that_is_discarded_leaves_its_tombstone(self, desk: Desk) -> None:
        """Message, result and history are gone at once; nothing revives it."""
        (id,) = desk.put(b"m")
        self.fail(desk, id)
        assert desk.store.run(t.discard(desk.home, [id])) == [1]
        assert unchanged(desk, lambda: desk.store.run(t.discard(desk.home, [id]))) == [2]
        found = desk.look(id)
        assert found.state is JobState.FAILED
        assert not any(found[1:9])
        assert found.lines.items == ()
        assert desk.store.run(t.requeue(desk.home, [id])) == [b"f"]
        assert desk.enqueue([(id, b"m")]) == [b"f"]
        desk.let_tombstones_expire(id)
        desk.sweep()
        assert desk.look(id).state is None


def test_a_process_can_ask_which_of_its_jobs_were_asked_to_stop(desk: Desk) -> None:
    """And a sweep says whether it is worth asking."""
    ids = desk.put(b"a", b"b", b"c")
    desk.take(ME, 3)
    assert desk.sweep().asked == 0
    desk.cancel(ids[1])
    assert desk.sweep().asked == 1
    assert desk.store.run(asked(desk.home, [*ids, b"x" * 16])) == [0, 1, 0, 0]


def test_the_first_reason_is_the_one_that_is_kept(desk: Desk) -> None:
    """Asked twice, a running job is cancelled once."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(ME)
    desk.cancel(id, outcome=b"first")
    desk.cancel(id, outcome=b"second")
    desk.release(ME, lease)
    assert desk.look(id).record == b"first"


def test_nothing_is_done_to_what_a_later_release_has_changed(desk: Desk) -> None:
    """F58: every script refuses before it writes, and says what to do."""
    (id,) = desk.put(b"m")
    (lease,) = desk.take(ME)
    desk.redis.hset(desk.key("meta"), "schema", 2)
    before = desk.dump()
    calls = [
        lambda: desk.put(b"another"),
        lambda: desk.take(ME),
        lambda: desk.settle(ME, lease),
        lambda: desk.release(ME, lease),
        lambda: desk.reap(ME, id),
        desk.sweep,
        lambda: desk.heartbeat(ME),
        lambda: desk.cancel(id),
        lambda: desk.look(id),
        lambda: desk.store.run(t.requeue(desk.home, [id])),
        lambda: desk.store.run(t.discard(desk.home, [id])),
        lambda: desk.store.run(t.forget(desk.home, after_ms=1, ids=[id])),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="upgrade this program"):
            call()
    assert desk.dump() == before
