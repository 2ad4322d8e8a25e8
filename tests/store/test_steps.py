"""What a job remembers: kept by whoever holds it, gone with the job."""

from __future__ import annotations

import pytest

from quaff.model import ids, steps
from quaff.model.states import JobState
from quaff.model.steps import DONE, ITERATION, SLEEP, WAIT, Step
from quaff.store import steps as s
from quaff.store import transitions as t
from quaff.store.queries import follow
from quaff.store.steps import Heard, Kept
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import HOUR, Desk, process_id, unchanged

ME = process_id()


def begun(desk: Desk) -> Lease:
    """A job that runs."""
    desk.put(b"message")
    return desk.take(ME)[0]


def keep(desk: Desk, lease: Lease, name: str, value: bytes = b"value", kind: str = DONE) -> Kept:
    """Remember a step of it."""
    untimed = steps.encode(name, kind, lease.attempt, value)
    return desk.store.run(s.step(desk.home, [(lease.id, lease.token, untimed)]))[0]


def remembered(desk: Desk, id: bytes) -> list[Step]:
    """What is known of its steps."""
    return steps.decode(desk.store.run(s.recall(desk.home, id))[1])


def names(desk: Desk, id: bytes) -> list[str]:
    """Their names, in order."""
    return [step.name for step in remembered(desk, id)]


def signal(
    desk: Desk, id: bytes, name: str = "approved", value: bytes = b"yes", signal_id: bytes | None = None
) -> bytes:
    """Send it one."""
    return desk.store.run(
        s.signal(desk.home, id, signal_id=signal_id or ids.new_raw(), name=name.encode(), value=value)
    )


def receive(desk: Desk, lease: Lease, name: str = "approved", timeout_ms: int = -1) -> tuple[Heard, bytes]:
    """Look for one."""
    untimed = steps.encode(name, WAIT, lease.attempt, signal=name)
    return desk.store.run(s.receive(desk.home, lease.id, lease.token, untimed, timeout_ms))


def suspend(desk: Desk, lease: Lease, kind: str = WAIT, name: str = "approved", delay_ms: int = HOUR) -> list[Verdict]:
    """Have it wait."""
    value, signal = (b"cursor" if kind == ITERATION else b""), (name if kind == WAIT else "")
    untimed = steps.encode(name, kind, lease.attempt, value, signal)
    return desk.settle(ME, lease, state=JobState.SCHEDULED, ttl_ms=delay_ms, digest=untimed)


class TestSteps:
    """Done is done."""

    def test_a_step_is_remembered_once_and_in_order(self, desk: Desk) -> None:
        """Sent again, and with another value, it changes nothing; names may be of any text."""
        lease = begun(desk)
        assert [keep(desk, lease, "zahlen €", b"one"), keep(desk, lease, "b", b"two")] == [Kept.OK] * 2
        assert unchanged(desk, lambda: keep(desk, lease, "zahlen €", b"one")) is Kept.OK
        assert unchanged(desk, lambda: keep(desk, lease, "zahlen €", b"other")) is Kept.OK
        first, second = remembered(desk, lease.id)
        assert (first.name, first.kind, first.attempt, first.value) == ("zahlen €", DONE, 1, b"one")
        assert second.ms >= first.ms > 0

    def test_the_cursor_of_an_iteration_moves_and_keeps_its_place(self, desk: Desk) -> None:
        """A step that is done does not become one."""
        lease = begun(desk)
        for name, value in (("loop", b"1"), ("b", b"2"), ("loop", b"3")):
            assert keep(desk, lease, name, value, ITERATION if name == "loop" else DONE) is Kept.OK
        assert unchanged(desk, lambda: keep(desk, lease, "loop", b"3", ITERATION)) is Kept.OK
        assert [(step.name, step.value) for step in remembered(desk, lease.id)] == [("loop", b"3"), ("b", b"2")]
        assert unchanged(desk, lambda: keep(desk, lease, "b", b"9", ITERATION)) is Kept.OK

    def test_who_does_not_hold_the_job_writes_nothing(self, desk: Desk) -> None:
        """Neither a step nor a wait, after the job went back, runs elsewhere, or has ended."""
        lease = begun(desk)
        desk.release(ME, lease)
        for _ in range(2):
            assert unchanged(desk, lambda: keep(desk, lease, "a")) is Kept.FENCED
            assert unchanged(desk, lambda: receive(desk, lease)) == (Heard.FENCED, b"")
            desk.take(process_id())
        other = begun(desk)
        desk.settle(ME, other)
        assert unchanged(desk, lambda: keep(desk, other, "a")) is Kept.FENCED

    def test_steps_are_bounded_by_number_and_by_bytes(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is there already may be said again."""
        monkeypatch.setattr(steps, "MOST", 3)
        lease = begun(desk)
        assert [keep(desk, lease, name) for name in "abcd"] == [Kept.OK] * 3 + [Kept.TOO_MANY]
        assert keep(desk, lease, "a") is Kept.OK
        lease = begun(desk)
        half = b"x" * (steps.MOST_BYTES // 2)
        assert [keep(desk, lease, name, half) for name in "ab"] == [Kept.OK, Kept.TOO_LARGE]
        assert names(desk, lease.id) == ["a"]

    @pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELLED, JobState.EXPIRED])
    def test_they_go_when_the_job_ends(self, desk: Desk, state: JobState) -> None:
        """With signals that it has not taken."""
        lease = begun(desk)
        keep(desk, lease, "a")
        signal(desk, lease.id)
        desk.settle(ME, lease, state=state)
        assert desk.redis.exists(desk.key("steps"), desk.key("signals")) == 0

    def test_they_stay_with_a_dead_letter_until_it_goes(self, desk: Desk) -> None:
        """Counted in its bytes; gone by discard, by expiry, and where too many make room."""
        leases = [begun(desk) for _ in range(3)]
        for lease in leases:
            keep(desk, lease, "a")
            signal(desk, lease.id)
            desk.settle(ME, lease, state=JobState.FAILED)
        assert [names(desk, lease.id) for lease in leases] == [["a"]] * 3
        desk.dump()
        desk.store.run(t.discard(desk.home, [leases[0].id]))
        desk.let_results_expire(leases[1].id)
        desk.sweep()
        assert [names(desk, lease.id) for lease in leases] == [[], [], ["a"]]
        desk.sweep(keep=t.Kept(0, 0))
        assert desk.redis.exists(desk.key("steps"), desk.key("signals")) == 0

    def test_a_retry_a_crash_and_a_lapse_keep_them(self, desk: Desk) -> None:
        """And a crash too many ends as a dead letter that keeps them, too."""
        lease = begun(desk)
        keep(desk, lease, "a")
        desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=0)
        for crash in range(3):
            dead = process_id()
            (lease,) = desk.take(dead, idle=True)
            assert keep(desk, lease, f"crash {crash}") is Kept.OK
            desk.reap(dead, lease.id)
        assert desk.look(lease.id).state is JobState.FAILED
        assert names(desk, lease.id) == ["a", "crash 0", "crash 1", "crash 2"]


class TestRerun:
    """A dead letter goes back without some of its steps."""

    def failed(self, desk: Desk) -> Lease:
        """One with three steps."""
        lease = begun(desk)
        for name in "abc":
            keep(desk, lease, name)
        desk.settle(ME, lease, state=JobState.FAILED)
        return lease

    def rerun(self, desk: Desk, id: bytes, name: str, call: bytes = b"call") -> bytes:
        """The answer."""
        return desk.store.run(s.rerun(desk.home, id, call_id=call, from_step=name.encode()))

    @pytest.mark.parametrize(("name", "left"), [("b", ["a"]), ("a", []), ("", [])])
    def test_it_forgets_a_step_and_all_later_ones(self, desk: Desk, name: str, left: list[str]) -> None:
        """Or all; sent again, also while the job runs, it changes nothing and answers the same."""
        lease = self.failed(desk)
        assert self.rerun(desk, lease.id, name) == b"q"
        assert names(desk, lease.id) == left
        assert unchanged(desk, lambda: self.rerun(desk, lease.id, name)) == b"q"
        (again,) = desk.take(ME)
        assert (again.id, again.attempt) == (lease.id, 1)
        keep(desk, again, "b")
        assert unchanged(desk, lambda: self.rerun(desk, lease.id, name)) == b"q"
        assert unchanged(desk, lambda: self.rerun(desk, lease.id, name, b"another call")) == b"n"

    def test_what_cannot_be_run_again_is_left_alone(self, desk: Desk) -> None:
        """An unknown step, a job that has not failed, one that is discarded, one that nobody knows."""
        lease = self.failed(desk)
        assert unchanged(desk, lambda: self.rerun(desk, lease.id, "z")) == b"x"
        desk.store.run(t.discard(desk.home, [lease.id]))
        assert unchanged(desk, lambda: self.rerun(desk, lease.id, "")) == b"f"
        assert unchanged(desk, lambda: self.rerun(desk, lease.id, "a")) == b"f"
        other = begun(desk)
        for name in ("", "a"):
            assert unchanged(desk, lambda name=name: self.rerun(desk, other.id, name)) == b"n"
            assert unchanged(desk, lambda name=name: self.rerun(desk, ids.new_raw(), name)) == b""
        desk.settle(ME, other)
        assert unchanged(desk, lambda: self.rerun(desk, other.id, "a")) == b"s"


class TestWaiting:
    """A job that waits is scheduled, and comes when it may."""

    def test_a_sleep_ends_when_it_was_to_end(self, desk: Desk) -> None:
        """However often the job comes back in between."""
        lease = begun(desk)
        assert suspend(desk, lease, SLEEP, "nap") == [Verdict.OK]
        assert suspend(desk, lease, SLEEP, "nap") == [Verdict.ALREADY]
        found = desk.look(lease.id)
        (step,) = remembered(desk, lease.id)
        assert (found.state, found.due_ms) == (JobState.SCHEDULED, step.ms)
        desk.let_be_due(lease.id)
        (again,) = desk.take(ME)
        assert (again.attempt, again.begun, lease.begun) == (1, True, False)
        suspend(desk, again, SLEEP, "nap", delay_ms=5)
        assert desk.look(lease.id).due_ms == step.ms

    def test_an_interrupted_iteration_is_the_next_to_be_handed_out(self, desk: Desk) -> None:
        """With its cursor."""
        lease = begun(desk)
        desk.put(b"another")
        suspend(desk, lease, ITERATION, "loop")
        assert desk.take(ME)[0].id == lease.id
        assert remembered(desk, lease.id)[0].value == b"cursor"

    def test_a_wait_is_not_a_retry(self, desk: Desk) -> None:
        """Also after a failure; but a retry with a wait behind it is one."""
        lease = begun(desk)
        desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=0)
        (lease,) = desk.take(ME)
        suspend(desk, lease)
        assert desk.look(lease.id).state is JobState.SCHEDULED
        desk.let_be_due(lease.id)
        (lease,) = desk.take(ME)
        desk.settle(ME, lease, state=JobState.RETRYING, ttl_ms=HOUR // 2)
        assert desk.look(lease.id).state is JobState.RETRYING
        assert signal(desk, lease.id) == b"d"
        assert desk.look(lease.id).state is JobState.RETRYING, "the signal waits for the retry, not the retry for it"

    def test_who_was_asked_to_stop_does_not_wait(self, desk: Desk) -> None:
        """The job ends, and leaves nothing."""
        lease = begun(desk)
        desk.cancel(lease.id)
        suspend(desk, lease)
        assert desk.look(lease.id).state is JobState.CANCELLED
        assert desk.redis.exists(desk.key("steps")) == 0


class TestSignals:
    """Each is taken once, whenever it comes."""

    def test_a_signal_before_the_wait_is_there(self, desk: Desk) -> None:
        """The oldest of its name first; taken again by the same step it is the same."""
        (id,) = desk.put(b"message")
        assert [signal(desk, id, "other", b"0"), signal(desk, id, value=b"1"), signal(desk, id, value=b"2")] == [
            b"d"
        ] * 3
        (lease,) = desk.take(ME)
        assert receive(desk, lease) == (Heard.RECEIVED, b"1")
        assert unchanged(desk, lambda: receive(desk, lease)) == (Heard.RECEIVED, b"1")
        assert remembered(desk, id)[0].value == b"1"
        desk.settle(ME, lease)
        desk.dump()

    def test_a_signal_between_the_look_and_the_wait_is_not_lost(self, desk: Desk) -> None:
        """The wait is none."""
        lease = begun(desk)
        assert receive(desk, lease) == (Heard.NOT_YET, b"")
        signal(desk, lease.id)
        suspend(desk, lease)
        assert desk.look(lease.id).state is JobState.QUEUED
        (again,) = desk.take(ME)
        assert receive(desk, again) == (Heard.RECEIVED, b"yes")

    def test_a_signal_in_the_wait_ends_it(self, desk: Desk) -> None:
        """One of another name does not; who waits for work is told."""
        lease = begun(desk)
        suspend(desk, lease)
        desk.redis.delete(desk.key("wake"))
        signal(desk, lease.id, "other")
        assert desk.look(lease.id).state is JobState.SCHEDULED
        assert desk.dump().wake == []
        signal(desk, lease.id)
        assert desk.look(lease.id).state is JobState.QUEUED
        assert len(desk.dump().wake) == 1

    def test_whoever_follows_the_job_is_told_that_its_wait_is_over(self, desk: Desk) -> None:
        """A signal that ends no wait tells nothing."""
        lease = begun(desk)
        suspend(desk, lease)
        desk.store.run(follow(desk.home, lease.id, b"e", 0, lasts_ms=HOUR))
        signal(desk, lease.id, "other")
        assert list(desk.dump().followed) == [lease.id + b"e"]
        signal(desk, lease.id)
        assert desk.dump().followed == {}

    def test_a_signal_that_is_sent_again_is_one(self, desk: Desk) -> None:
        """Before it is taken and after."""
        lease = begun(desk)
        one = ids.new_raw()
        signal(desk, lease.id, signal_id=one)
        assert unchanged(desk, lambda: signal(desk, lease.id, signal_id=one)) == b"d"
        receive(desk, lease)
        assert unchanged(desk, lambda: signal(desk, lease.id, signal_id=one)) == b"d"

    def test_a_wait_whose_time_is_up_says_so_for_ever(self, desk: Desk) -> None:
        """Also where a signal comes later; one that comes before anybody looks is taken."""
        lease = begun(desk)
        assert receive(desk, lease, "look", timeout_ms=0) == (Heard.TIMED_OUT, b"")
        signal(desk, lease.id, "look")
        assert unchanged(desk, lambda: receive(desk, lease, "look")) == (Heard.TIMED_OUT, b"")
        suspend(desk, lease, delay_ms=0)
        for _ in range(2):
            desk.let_be_due(lease.id)
            (lease,) = desk.take(ME)
            assert receive(desk, lease, timeout_ms=HOUR) == (Heard.TIMED_OUT, b"")
            suspend(desk, lease, SLEEP, "nap")

    def test_a_signal_is_refused_where_nobody_would_take_it(self, desk: Desk) -> None:
        """An ended job, an unknown one, one that has too many or too much."""
        assert unchanged(desk, lambda: signal(desk, ids.new_raw())) == b""
        for state, letter in ((JobState.SUCCEEDED, b"s"), (JobState.FAILED, b"f"), (JobState.CANCELLED, b"c")):
            lease = begun(desk)
            desk.settle(ME, lease, state=state)
            assert unchanged(desk, lambda id=lease.id: signal(desk, id)) == letter
        lease = begun(desk)
        for _ in range(steps.MOST_SIGNALS):
            assert signal(desk, lease.id) == b"d"
        assert unchanged(desk, lambda: signal(desk, lease.id)) == b"n"
        lease = begun(desk)
        assert unchanged(desk, lambda: signal(desk, lease.id, value=b"x" * (steps.MOST_SIGNAL_BYTES + 1))) == b"b"

    def test_a_waiting_job_keeps_to_its_priority_and_can_be_cancelled(self, desk: Desk) -> None:
        """It is scheduled like any other."""
        lease = begun(desk)
        suspend(desk, lease)
        desk.store.run(t.prioritize(desk.home, 5, [lease.id]))
        signal(desk, lease.id)
        assert list(desk.dump().prio) == [lease.id]
        (lease,) = desk.take(ME)
        suspend(desk, lease, SLEEP, "nap")
        assert desk.cancel(lease.id) == [b"c"]
        assert desk.redis.exists(desk.key("steps"), desk.key("sched")) == 0


def test_damaged_steps_stop_neither_a_batch_nor_a_sweep(desk: Desk) -> None:
    """Bytes that nobody of us wrote: the others are settled."""
    lease, other = begun(desk), begun(desk)
    for damage in (b"\x00", b"\x00\x00\xff\xff", b"\x00\x00\x00\x03abc", b"\x00\x00\x00\x13" + b"9" * 18 + b"\xff"):
        desk.redis.hset(desk.key("steps"), lease.id, damage)
        desk.redis.hset(desk.key("signals"), lease.id, damage)
        assert signal(desk, lease.id, signal_id=b"s" * 16) in (b"d", b"b")
        untimed = steps.encode("nap", SLEEP, 1)
        items = [
            (lease.id, lease.token, JobState.SCHEDULED, 1, untimed, b"record"),
            (other.id, other.token, JobState.SUCCEEDED, HOUR, b"", b"record"),
        ]
        assert desk.store.run(t.settle(desk.home, process=ME, window_ms=HOUR, items=items)) == [Verdict.OK] * 2
        desk.let_be_due(lease.id)
        (lease,), other = desk.take(ME), begun(desk)
