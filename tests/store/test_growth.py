"""A long queue is as fast as a short one, and no script holds the server for long. ``FULL=1`` takes the million."""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quaff.model.limits import Concurrency, FairBy, RateLimit, Unique
from quaff.model.placement import Placement, Wishes, limit_name, placement
from quaff.model.states import JobState
from quaff.store import embedded
from quaff.store import transitions as t
from quaff.store.bulk import PLACED
from quaff.store.operations import limit as limit_numbers
from quaff.store.operations import purge
from quaff.store.queries import stats
from quaff.store.transitions import PORTION, STEP, Lease
from tests.helpers import end_embedded
from tests.store.engine import HOUR, Desk, process_id
from tests.store.meter import Cost, Meter, nothing_slow
from tests.store.test_scripts import BANNED
from tests.store.test_shares import all_of, crowd

pytestmark = pytest.mark.only("valkey", why="scripts of Redis 7.0 have no clock of the processor's time")

SHORT, LONG = 1000, 1_000_000 if os.environ.get("FULL") else 60_000
ROUNDS = 60
MESSAGE = b"\x01" + b"m" * 60


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own, because the slow log and the counts of commands are the server's."""
    home = Path(tempfile.mkdtemp(prefix="quaff-g", dir="/tmp"))
    embedded.ensure(home)
    yield f"embedded://{home}"
    end_embedded(home)
    shutil.rmtree(home, ignore_errors=True)


def later(ms: int) -> Placement:
    """Waits so long."""
    return placement("t", Wishes(0, ms, 0, None, (), None, None), {})


def fill(url: str, count: int) -> tuple[Desk, list[bytes]]:
    """So many jobs in line, as many that wait for their time, and a tenth under lease; the ids of those that wait."""
    desk = Desk(url, f"growth{count}")
    terms = later(HOUR)
    delayed: list[bytes] = []
    for at in range(0, count, 500):
        desk.put(*[MESSAGE] * min(500, count - at))
        delayed += desk.place(*[(MESSAGE, terms)] * min(500, count - at))
    holder = process_id()
    for at in range(0, count // 10, 500):
        desk.take(holder, min(500, count // 10 - at))
    desk.put(*[MESSAGE] * min(500, count // 10))
    return desk, delayed


def operations(desk: Desk, delayed: list[bytes]) -> dict[str, Callable[[], Any]]:
    """One call of each kind, by name; each leaves the queue about as long as it was."""
    me = process_id()

    def one() -> None:
        desk.settle(me, *desk.take(me, 1), ttl_ms=0)
        desk.put(MESSAGE)

    def hundred() -> None:
        desk.settle(me, *desk.take(me, 100), ttl_ms=0)
        desk.put(*[MESSAGE] * 100)

    def cancel() -> None:
        (id,) = desk.put(MESSAGE)
        desk.cancel(id)

    def due() -> None:
        desk.let_be_due(delayed.pop())
        desk.settle(me, *desk.take(me, 1), ttl_ms=0)
        delayed.extend(desk.place((MESSAGE, later(HOUR))))

    def prioritized() -> None:
        (id,) = desk.put(MESSAGE)
        desk.store.run(t.prioritize(desk.home, 5, [id]))
        desk.settle(me, *desk.take(me, 1), ttl_ms=0)

    return {
        "a job": one,
        "a hundred jobs": hundred,
        "give back": lambda: desk.release(me, *desk.take(me, 10)),
        "cancel": cancel,
        "a delayed job": due,
        "another priority": prioritized,
        "heartbeat": lambda: desk.heartbeat(me),
        "sweep": desk.sweep,
        "look at one": lambda: desk.look(delayed[0]),
        "count": lambda: desk.store.run(stats(desk.home)),
    }


def wishing(key: int, unique: Unique | None = None) -> Placement:
    """A job that takes turns by its key, within a cap."""
    return placement("t", Wishes(0, 0, 0, unique, (), FairBy("{key}", cap=2), None), {"key": key})


def fill_lanes(url: str, count: int) -> Desk:
    """As many keys as jobs."""
    desk = Desk(url, f"lanes{count}")
    for first in range(0, count, 100):
        desk.place(*((MESSAGE, wishing(first + n)) for n in range(100)))
    return desk


def operations_on_lanes(desk: Desk, count: int) -> dict[str, Callable[[], Any]]:
    """As ``operations``."""
    me, keys = process_id(), itertools.cycle(range(count))

    def turn() -> None:
        desk.settle(me, *desk.take(me, 1), ttl_ms=0)
        desk.place((MESSAGE, wishing(next(keys))))

    def unique() -> None:
        (id,) = desk.place((MESSAGE, wishing(-1, Unique())))
        assert desk.place((MESSAGE, wishing(-1, Unique()))) == [id]
        desk.cancel(id)

    return {"a turn": turn, "a unique job": unique}


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_long_queue_is_as_fast_as_a_short_one(url: str) -> None:
    """F63, F64, I18: each operation within twice its time, no call slow, nothing that looks at everything."""
    queues = [fill(url, count) for count in (SHORT, LONG)]
    lanes = [(fill_lanes(url, count), count) for count in (SHORT, LONG // 10)]
    redis = queues[0][0].redis
    redis.config_resetstat()
    kinds = [
        operations(*queue) | operations_on_lanes(desk, count)
        for queue, (desk, count) in zip(queues, lanes, strict=True)
    ]
    times: list[dict[str, list[float]]] = [{name: [] for name in kinds[0]} for _ in kinds]
    for _ in range(ROUNDS):
        for name in kinds[0]:
            for kind, taken in zip(kinds, times, strict=True):
                began = time.perf_counter()
                kind[name]()
                taken[name].append(time.perf_counter() - began)
    short, long = ({name: statistics.median(each) for name, each in taken.items()} for taken in times)
    ratios = {name: round(long[name] / short[name], 2) for name in short}
    print(f"{LONG:,} jobs to {SHORT:,}: {ratios}")
    assert max(ratios.values()) < 2, ratios
    # The clock is read with each call, so the calls whose time was taken are not those that are metered.
    meters = [Meter(desk) for desk, _ in (*queues, *lanes)]
    rounds: list[list[Cost]] = []
    for _ in range(3):
        for _ in range(ROUNDS // 3):
            for kind in kinds:
                for call in kind.values():
                    call()
        rounds.append([cost for meter in meters for cost in meter.round_is_over()])
    nothing_slow(rounds)
    # All that waits is due at once: who claims brings some of it into line with each claim, and no more.
    desk, delayed = queues[1]
    for at in range(0, len(delayed), 5000):
        desk.let_be_due(*delayed[at : at + 5000])
    me = process_id()
    left = len(delayed)
    rounds = []
    for _ in range(4):
        for _ in range(50):
            desk.settle(me, *desk.take(me, 50), ttl_ms=0)
        rounds.append(meters[1].round_is_over())
    now_left = desk.store.run(stats(desk.home))["scheduled"]
    assert 0 < left - now_left <= 200 * 50
    nothing_slow(rounds)
    called = {name.removeprefix("cmdstat_").upper() for name in redis.info("commandstats")}
    assert not called & set(BANNED)
    for each, _ in queues:
        each.close()


@pytest.mark.parametrize("delay_ms", [0, HOUR])
def test_jobs_with_wishes_hold_the_server_no_longer(url: str, delay_ms: int) -> None:
    """As many keys as jobs, each with a turn, a rate and a unique key; all due at once, if they had to wait.

    What a call costs is counted in commands, for time depends on what else the machine does.
    """
    desk = Desk(url, f"wishes{delay_ms}")
    rate, all_of_them = RateLimit(100, per=1, burst=100, key="{key}"), Concurrency(1_000_000, key="all")
    ids: list[bytes] = []
    for first in range(0, 1000, 100):
        wishes = Wishes(0, delay_ms, 0, Unique(), (rate, all_of_them), FairBy("{key}"), None)
        ids += desk.place(*((MESSAGE, placement("t", wishes, {"key": first + n})) for n in range(100)))
    if delay_ms:
        desk.let_be_due(*ids)
    me, claims, settles = process_id(), [0], [0]
    while len(ids) > 0:
        before = commands(desk)
        leases = desk.take(me, 500)
        claims.append(commands(desk) - before)
        before = commands(desk)
        desk.settle(me, *leases, ttl_ms=0)
        settles.append(commands(desk) - before)
        del ids[: len(leases)]
    # A microsecond or two each: half of the 5 ms that a script may take.
    assert max(claims) < 2000, max(claims)
    assert max(settles) < 500, max(settles)
    desk.close()


def commands(desk: Desk) -> int:
    """How many the server has run, those in scripts included."""
    return sum(each["calls"] for each in desk.redis.info("commandstats").values())


def everything(desk: Desk) -> None:
    """Each transition that jobs may take, with a crowd of jobs that have limits, turns, priorities and unique keys."""
    run, count = desk.store.run, 300
    steps = range(0, count, STEP)
    me, other = process_id(), process_id()
    crowd(desk, count)
    crowd(desk, count)  # they take the places of the first ones
    leases = all_of(desk, me, count)
    crowd(desk, count)  # they follow those that run
    desk.settle(me, *leases)
    desk.release(me, *all_of(desk, me, count))
    leases = all_of(desk, me, count)
    desk.settle(me, *leases, state=JobState.RETRYING)
    ids = [lease.id for lease in leases]
    for first in steps:
        run(t.prioritize(desk.home, 9, ids[first : first + STEP]))
    desk.let_be_due(*ids)
    leases = all_of(desk, me, count)
    desk.settle(me, *leases, state=JobState.FAILED)
    for first in steps:
        run(t.requeue(desk.home, ids[first : first + STEP]))
    # All kinds of work that a sweep has, at once.
    leases = all_of(desk, me, count)
    desk.release(me, *leases[: count // 3], park_ms=HOUR)
    desk.settle(me, *leases[count // 3 : count // 2], state=JobState.RETRYING)
    desk.let_be_due(*ids[count // 3 : count // 2])
    desk.let_tombstones_expire(*desk.dump().tomb)
    desk.heartbeat(me)
    desk.let_lapse(me)
    unpark = True
    while desk.sweep(unpark=unpark).more:
        unpark = False
    (lease,) = desk.take(other, idle=True)
    desk.reap(other, lease.id)
    dead = process_id()
    all_of(desk, dead, count // 2)
    while desk.reap(dead)[2]:
        pass
    for first in steps:
        desk.cancel(*ids[first : first + STEP])
    crowd(desk, count)
    while run(purge(desk.home, outcome=b"", ttl_ms=1, window_ms=1, scheduled=True))[0]:
        pass
    desk.dump()


def lines(desk: Desk) -> None:
    """Many lanes in line at limits that let few through, and then all of them at once."""
    me, few = process_id(), Concurrency(20, key="all")
    slow, lanes = RateLimit(1, per=0.05, key="{key}"), 50 * PLACED
    for _ in range(2):
        for first in range(0, lanes, PLACED):
            wishes = Wishes(0, 0, 0, None, (slow, few), FairBy("{key}", cap=2), None)
            desk.place(*((MESSAGE, placement("t", wishes, {"key": first + n})) for n in range(PLACED)))
    limit = limit_name("c", "all", "all")[17:]
    running: list[Lease] = []
    done = 0
    for round in range(1000):
        if running:
            desk.settle(me, *running)
        running = desk.take(me, PORTION)
        done += len(running)
        if done == 2 * lanes:
            break
        if round % 10 == 0:
            desk.sweep()
        if round == 30:
            time.sleep(0.1)  # nobody takes anything meanwhile, so that all rates open at once
            after = b""
            while after := desk.store.run(
                limit_numbers(desk.home, name=limit, numbers="1000 1 1", who="me", after=after)
            ):
                pass
    desk.settle(me, *running)
    assert done == 2 * lanes
    assert desk.dump().backlog == {}


@pytest.mark.alone
@pytest.mark.timeout(120)
@pytest.mark.parametrize("jobs", [everything, lines])
def test_no_call_holds_the_server_whatever_its_jobs_ask_for(url: str, jobs: Callable[[Desk], None]) -> None:
    """I18: the worst mixtures, three times: each script stays below 5 ms in its worst call."""
    rounds: list[list[Cost]] = []
    for number in range(3):
        desk = Desk(url, f"{jobs.__name__}{number}")
        meter = Meter(desk)
        jobs(desk)
        rounds.append(meter.round_is_over())
        desk.close()
    nothing_slow(rounds)
