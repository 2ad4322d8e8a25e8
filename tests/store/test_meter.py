"""Whether the meter of what calls cost is sharp: a slow script is told by name, and nobody else is."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from quaff.store.transitions import Call
from tests.store import mutants
from tests.store.engine import Desk, process_id
from tests.store.meter import SLOW_MS, Cost, Meter, nothing_slow, worst_calls
from tests.store.wire import Own

pytestmark = pytest.mark.only("valkey", why="scripts of Redis 7.0 have no clock of the processor's time")

#: What a script begins with, and the same behind 8 ms of work.
FIRST = "local process, window = ARGV[1], tonumber(ARGV[2])"
SLOW = f"local began = os.clock()\nwhile os.clock() - began < 0.008 do end\n{FIRST}"


def three_rounds(desk: Desk, *, slow: tuple[int, ...]) -> list[list[Cost]]:
    """A job comes, runs and ends, three times over; its settle is slow in some of the rounds."""
    rounds = []
    for number in range(3):
        own = Desk(desk.url, desk.home.namespace)
        if number in slow:
            mutants.plant(own, "settle", FIRST, SLOW)
        meter, process = Meter(own), process_id()
        own.put(b"m")
        own.settle(process, *own.take(process))
        rounds.append(meter.round_is_over())
        own.close()
    return rounds


def test_a_slow_script_is_told_by_its_name(desk: Desk) -> None:
    """Planted: I18. One of three that are called; the others are not blamed for it."""
    rounds = three_rounds(desk, slow=(0, 1, 2))
    with pytest.raises(AssertionError, match=r"I18: \{'settle': "):
        nothing_slow(rounds)
    assert {name for name, ms in worst_calls(rounds).items() if ms >= SLOW_MS} == {"settle"}


def test_what_was_slow_once_of_three_times_was_not_the_script(desk: Desk) -> None:
    """A host that was busy with something else is not there each time; what a script does, it does each time."""
    nothing_slow(three_rounds(desk, slow=()))
    nothing_slow(three_rounds(desk, slow=(1,)))


def test_a_server_that_stands_still_is_not_taken_for_a_slow_one(own: Own, namespace: str) -> None:
    """Its clock goes on only while it runs: a call that was put aside for a while has cost no more than another one."""
    desk = Desk(own.url, namespace)
    run, took = desk.store.run, []

    def stopped(call: Call[Any]) -> Any:
        began = time.monotonic()
        own.kill(signal.SIGSTOP)
        threading.Timer(0.1, lambda: own.kill(signal.SIGCONT)).start()
        answer = run(call)
        took.append(time.monotonic() - began)
        return answer

    desk.store.run = stopped  # type: ignore[method-assign]
    meter = Meter(desk)
    desk.put(b"m")
    assert min(took) > 0.09
    nothing_slow([meter.round_is_over()] * 3)
    desk.close()
