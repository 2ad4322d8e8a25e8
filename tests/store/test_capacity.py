"""How many jobs a queue takes, what is blocked in it, and who takes part of a limit without being a job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from quaff import Concurrency, Quaff, QueueFull, RateLimit
from quaff.model import blocking, schedule
from quaff.model.flow import Seed
from quaff.model.limits import Limit, Unique
from quaff.model.placement import Placement, Wishes, limit_name, placement
from quaff.model.schedule import call_at
from quaff.model.states import JobState
from quaff.store import operations as o
from quaff.store import timetable
from quaff.store.bulk import PLACED
from quaff.store.flows import grow
from quaff.store.queries import blocks, changes
from quaff.store.timetable import Occurrence
from quaff.store.transitions import BATCH, STEP
from tests.store.engine import HOUR, Desk, process_id, unchanged
from tests.store.flows import seed, store
from tests.store.test_schedules import EVERY_SECOND, REPLACED, declare, entry, later

ME = process_id()


def limited(limit: Limit) -> Placement:
    """The place of a job with that limit."""
    return placement("task", Wishes(0, 0, 0, None, (limit,), None, None), {})


def acquire(desk: Desk, limit: Limit, token: bytes, *, lasts_ms: int = HOUR, cost: int = 1) -> int:
    """What a guest is told."""
    name = limit_name(limit.kind, str(limit.key), str(limit.key))
    return desk.store.run(
        o.acquire(desk.home, limit=name, numbers=limit.numbers(), cost=cost, token=token, lasts_ms=lasts_ms)
    )


def leave(desk: Desk, limit: Limit, token: bytes, cost: int = 1) -> bool:
    """Whether there was something to give back."""
    name = limit_name(limit.kind, str(limit.key), str(limit.key))
    return desk.store.run(o.leave(desk.home, limit=name, cost=cost, token=token))


Send = Callable[[int], object]


def plainly(desk: Desk) -> Send:
    """As many jobs as one call may have."""
    return lambda size: desk.put(*[b"x" * (size // BATCH)] * BATCH)


def with_a_priority(desk: Desk) -> Send:
    """As many as one call may have of those."""
    first = placement("task", Wishes(0, 0, 5, None, (), None, None), {})
    return lambda size: desk.place(*[(b"x" * (size // PLACED), first)] * PLACED)


def as_a_flow(desk: Desk) -> Send:
    """Of more jobs than one call may have."""
    many = 2 * STEP
    return lambda size: store(desk, [large(place, size // many) for place in range(many)])


def as_one_more_of_a_flow(desk: Desk) -> Send:
    """One large job."""
    flow = store(desk, [seed(0, "first")])
    return lambda size: desk.store.run(grow(desk.home, flow, large(0, size), after=[(0, "fail")], adder=b""))


def large(place: int, size: int) -> Seed:
    """A job of a flow."""
    return replace(seed(place, f"n{place}"), message=b"\x01" + b"x" * size)


def by_a_schedule(desk: Desk) -> Send:
    """Instants that are late, as many as one call may have."""
    declare(desk, 0, ("a", EVERY_SECOND))

    def send(size: int) -> object:
        instants = later(desk, count=STEP)
        made = [call_at("a", schedule.decode(EVERY_SECOND), instant) for instant in instants]
        jobs = [each._replace(message=b"\x01" + b"x" * (size // STEP)) for each in made]
        call = timetable.fire(
            desk.home,
            entry(desk),
            through_ms=instants[-1],
            again_ms=None,
            replaced=REPLACED,
            occurrences=[Occurrence(instant, *job) for instant, job in zip(instants, jobs, strict=True)],
        )
        return desk.store.run(call)

    return send


def refusal(desk: Desk, send: Callable[[], object]) -> QueueFull:
    """The error of a call that changes nothing."""

    def call() -> QueueFull:
        with pytest.raises(QueueFull) as caught:
            send()
        return caught.value

    return unchanged(desk, call)


class TestCapacity:
    """A full queue takes nothing, and loses nothing."""

    def test_a_full_queue_refuses_new_jobs_and_nothing_else(self, desk: Desk) -> None:
        """What waits and runs counts; what ends makes room; a whole call is stored or none of it."""
        desk.store.run(o.capacity(desk.home, jobs=3, size=None, who="me"))
        desk.put(b"a", b"b")
        assert refusal(desk, lambda: desk.put(b"c", b"d")).retry_after > 0
        desk.put(b"c")
        (lease,) = desk.take(ME)
        with pytest.raises(QueueFull):
            desk.put(b"d")
        desk.settle(ME, lease)
        desk.put(b"d")
        with pytest.raises(QueueFull):
            desk.place((b"later", placement("task", Wishes(0, HOUR, 0, None, (), None, None), {})))

    def test_a_unique_job_that_is_there_already_is_found_in_a_full_queue(self, desk: Desk) -> None:
        """It takes no room; one that would be stored beside it is refused."""
        unique = lambda x: placement("task", Wishes(0, 0, 0, Unique(), (), None, None), {"x": x})  # noqa: E731
        desk.store.run(o.capacity(desk.home, jobs=1, size=None, who="me"))
        (first,) = desk.place((b"m", unique(1)))
        assert desk.place((b"m", unique(1))) == [first]
        with pytest.raises(QueueFull):
            desk.place((b"m", unique(2)))

    def test_a_job_that_is_stored_already_is_never_refused(self, desk: Desk) -> None:
        """I19: sending it again tells the truth."""
        job = (os.urandom(16), b"a")
        desk.store.run(o.capacity(desk.home, jobs=1, size=None, who="me"))
        assert desk.enqueue([job]) == [0]
        assert desk.enqueue([job]) == [1]

    def test_dead_letters_do_not_count(self, desk: Desk) -> None:
        """They are bounded by themselves."""
        desk.store.run(o.capacity(desk.home, jobs=1, size=None, who="me"))
        for _ in range(3):
            desk.put(b"a")
            desk.settle(ME, *desk.take(ME), state=JobState.FAILED)

    @pytest.mark.parametrize("dead", [0, 60])
    def test_bytes_are_counted_as_the_server_has_them(self, desk: Desk, dead: int) -> None:
        """So much that nobody has to guess what an entry costs; dead letters neither count nor make room."""
        for _ in range(dead):
            desk.put(b"x" * 1000)
            desk.settle(ME, *desk.take(ME), state=JobState.FAILED, record=b"r" * 5000)
        desk.store.run(o.capacity(desk.home, jobs=None, size=100_000, who="me"))
        desk.put(*[b"x" * 1000] * 80)
        for _ in range(25):
            try:
                desk.put(b"x" * 1000)
            except QueueFull:
                return
        raise AssertionError("105,000 bytes were taken where 100,000 is the limit")

    @pytest.mark.parametrize("way", [plainly, with_a_priority, as_a_flow, as_one_more_of_a_flow, by_a_schedule])
    def test_what_a_call_brings_counts_before_it_is_stored(self, desk: Desk, way: Callable[[Desk], Send]) -> None:
        """Whichever way large messages come: those that are too much together are refused, and what fits is taken."""
        send = way(desk)
        desk.store.run(o.capacity(desk.home, jobs=None, size=1_000_000, who="me"))
        assert refusal(desk, lambda: send(1_100_000)).retry_after == 60
        send(700_000)
        refusal(desk, lambda: send(400_000))
        send(50_000)
        assert 740_000 < sum(map(len, desk.dump().msg.values())) < 760_000

    def test_a_bulk_call_stores_no_more_than_the_queue_takes(self, server_url: str, namespace: str) -> None:
        """Of its chunks those that fit, and the error has their jobs; a small one is taken as before."""
        quaff = Quaff(server_url, namespace=namespace)
        task = quaff.task(lambda text: None, name="text")
        queue = quaff.queue("default")
        queue.set_capacity(size=5_000_000)
        with pytest.raises(QueueFull) as caught:
            task.map([("x" * 8000,)] * 1500)  # 4 MB in each chunk
        assert len(caught.value.jobs) == queue.stats().queued == BATCH
        task.delay("x")

    def test_it_can_be_taken_back_and_is_on_the_record(self, desk: Desk) -> None:
        """None is as many as come."""
        desk.store.run(o.capacity(desk.home, jobs=1, size=None, who="me@here"))
        desk.store.run(o.capacity(desk.home, jobs=None, size=None, who="me@here"))
        desk.put(b"a", b"b")
        assert [(who, what) for _, who, what, _ in desk.store.run(changes(desk.home, 5))] == [
            ("me@here", "capacity")
        ] * 2

    def test_the_advice_when_to_come_again_follows_the_rate_at_which_jobs_end(self, desk: Desk) -> None:
        """A minute where nothing ends; sooner where much does."""
        desk.store.run(o.capacity(desk.home, jobs=100, size=None, who="me"))
        desk.put(*[b"x"] * 100)
        with pytest.raises(QueueFull) as slow:
            desk.put(b"y")
        assert slow.value.retry_after == 60
        desk.sweep()
        desk.settle(ME, *desk.take(ME, 50))
        time.sleep(0.05)
        desk.sweep()
        desk.put(*[b"x"] * 50)
        with pytest.raises(QueueFull) as fast:
            desk.put(b"y")
        assert fast.value.retry_after == 1


class TestBlocks:
    """Rules are kept, versioned, and told with claims."""

    def test_a_claim_says_which_version_of_the_rules_holds(self, desk: Desk) -> None:
        """0 while there are none, and never the same again for other rules."""
        rule = blocking.encode("mails.send", {"user": 7})
        desk.put(*[b"x"] * 5)
        seen = [desk.claim(ME, 1, b"c1").blocks]
        for number, on in enumerate((True, False, True), 2):
            assert desk.store.run(o.block(desk.home, rule, on=on, who="me", words="w"))
            assert not unchanged_version(desk, rule, on=on)
            seen.append(desk.claim(ME, number, b"c%d" % number).blocks)
        assert seen[0] == seen[2] == 0
        assert 0 < seen[1] < seen[3]
        assert desk.store.run(blocks(desk.home)) == (seen[3], [rule])

    def test_what_was_put_aside_comes_back_when_a_rule_is_lifted(self, desk: Desk) -> None:
        """With the next sweep, not when its minute is over."""
        rule = blocking.encode("mails.send", {})
        desk.store.run(o.block(desk.home, rule, on=True, who="me", words="w"))
        desk.put(b"x")
        desk.release(ME, *desk.take(ME), park_ms=60_000)
        assert desk.sweep().unparked == 0
        desk.store.run(o.block(desk.home, rule, on=False, who="me", words="w"))
        assert desk.sweep().unparked == 1
        assert "unpark" not in {name.decode() for name in desk.dump().meta}
        assert len(desk.take(ME)) == 1

    def test_a_rule_fits_calls_as_they_come_from_the_wire(self) -> None:
        """By value, whatever the order of a dict; a name that a call does not have fits nothing."""
        rule = blocking.decode(blocking.encode("t", {"user": {"a": 1, "b": (2, 3)}}))
        assert rule.fits({"user": {"b": (2, 3), "a": 1}, "more": 1})
        assert not rule.fits({"user": {"a": 1}})
        assert not rule.fits({"other": 1})
        assert blocking.decode(blocking.encode("t", {})).fits({"anything": object()})
        assert not blocking.decode(blocking.encode("t", {"user": 1})).fits({"user": object()})
        assert str(blocking.decode(blocking.encode("t", {"user": 7, "a": "x"}))) == "t(a='x', user=7)"


def unchanged_version(desk: Desk, rule: bytes, *, on: bool) -> bool:
    """The same change again changes nothing."""
    return unchanged(desk, lambda: desk.store.run(o.block(desk.home, rule, on=on, who="me", words="w")))


class TestGuests:
    """Code that is no job takes its part of a limit."""

    def test_guests_and_jobs_share_a_limit(self, desk: Desk) -> None:
        """A guest's place counts for jobs, theirs for guests, and whoever waits is woken when it is free."""
        limit = Concurrency(1, key="api")
        desk.place((b"job", limited(limit)))
        assert acquire(desk, limit, b"guest") == 0
        desk.dump()
        assert desk.take(ME) == []
        assert leave(desk, limit, b"guest")
        assert desk.dump().wake
        (lease,) = desk.take(ME)
        assert acquire(desk, limit, b"guest") == -1
        desk.settle(ME, lease)
        assert acquire(desk, limit, b"guest") == 0
        assert leave(desk, limit, b"guest")
        dump = desk.dump()
        assert dump.slots == {}
        assert dump.guests == {}

    def test_the_same_guest_takes_and_leaves_once(self, desk: Desk) -> None:
        """I19: a lost reply is no second place."""
        limit = Concurrency(2, key="api")
        assert acquire(desk, limit, b"guest", cost=2) == 0
        assert unchanged(desk, lambda: acquire(desk, limit, b"guest", cost=2)) == 0
        assert leave(desk, limit, b"guest", cost=2)
        assert not unchanged(desk, lambda: leave(desk, limit, b"guest", cost=2))

    def test_the_place_of_a_guest_that_died_is_free_after_its_time(self, desk: Desk) -> None:
        """The sweep gives it back, and wakes whoever waits."""
        limit = Concurrency(1, key="api")
        assert acquire(desk, limit, b"dead", lasts_ms=1) == 0
        desk.place((b"job", limited(limit)))
        assert desk.take(ME) == []
        time.sleep(0.002)
        desk.sweep()
        assert desk.dump().guests == {}
        assert len(desk.take(ME)) == 1

    def test_a_guest_whose_key_is_its_own_leaves_nothing_behind(self, desk: Desk) -> None:
        """One key a visitor, and thousands of visitors."""
        for number in range(10):
            assert acquire(desk, RateLimit(1000, key=f"ip {number}"), b"guest", lasts_ms=1) == 0
        time.sleep(0.01)
        desk.sweep()
        dump = desk.dump()
        assert (dump.limits, dump.rates, dump.guests, dump.slots) == ({},) * 4

    def test_a_rate_says_to_the_millisecond_when_there_is_room(self, desk: Desk) -> None:
        """GCRA: one a second with a burst of two."""
        limit = RateLimit(1, per=1, burst=2, key="api")
        assert [acquire(desk, limit, token, lasts_ms=1) for token in (b"1", b"2")] == [0, 0]
        wait = acquire(desk, limit, b"3")
        assert 0 < wait <= 1000
        time.sleep(wait / 1000)
        assert acquire(desk, limit, b"3") == 0
