"""Schedules with real workers: exactly once under kills and wrong clocks, and across deploys."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from quaff import ConfigurationError, Quaff
from quaff.model.schedule import occurrence_id
from quaff.model.source import Source
from quaff.store import timetable
from quaff.store.keys import Partition, partition
from quaff.worker.timekeeping import Timekeeper
from tests.chaos import ledger
from tests.helpers import SRC, Program, wait_until
from tests.lacking import ALL, lacks
from tests.worker.support import ROOT, Stage, kill

APP = "tests.worker.orderapp:quaff"
FULL = bool(os.environ.get("FULL"))
SCHEDULES = 20
SKEW = Path(__file__).parent / "skew"
#: Debian's library of that package, if it is installed; .ci/run installs it where it may.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def freeze(stage: Stage, worker: Program, seconds: float) -> None:
    """All of a worker's processes stand still for a while."""
    family = [each.pid for each in stage.processes() if each.pid == worker.pid or each.parent == worker.pid]
    for pid in family:
        kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in family:
        kill(pid, signal.SIGCONT)


def wrong_clock(seconds: int) -> dict[str, str]:
    """What sets a program's clock, with all that it starts, so many seconds ahead (below 0: back).

    Without the library a file of ours does it for what is Python, which shows a little less.
    """
    if FAKETIME is None and ALL:
        lacks("no libfaketime here: apt-get install libfaketime")
    if FAKETIME is None:
        return {"CLOCK_SKEW": str(seconds), "PYTHONPATH": os.pathsep.join(map(str, (SKEW, SRC, ROOT)))}
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{seconds:+}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def test_a_wrong_clock_is_wrong(stage: Stage) -> None:
    """Else the next test would show nothing; the ledger's clock is the monotonic one."""
    for skew in (-300, 300):
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(time.time())'])"
        program = stage.command(sys.executable, "-c", code, environment=wrong_clock(skew))
        assert program.wait() == 0, program.output
        assert abs(float(program.stdout[0]) - time.time() - skew) < 60


@pytest.mark.alone
@pytest.mark.early
@pytest.mark.timeout(420)
def test_each_instant_is_enqueued_once_whatever_becomes_of_the_workers(stage: Stage) -> None:
    """F47, F62: five workers with clocks five minutes off, twenty schedules a second, SIGKILL and SIGSTOP at random."""
    choice = random.Random(4)
    environment = [{"SCHEDULES": f"{SCHEDULES}"} | wrong_clock(skew) for skew in (-300, 0, 300, -300, 300)]
    workers = [stage.worker("-p", "1", "-c", "2", app=APP, ready=False, environment=each) for each in environment]
    for worker in workers:
        worker.wait_for("ready", 40)
    raw, home = stage.raw(), stage.key
    names = [f"every {number}" for number in range(SCHEDULES)]
    entries = stage.quaff.store.run(timetable.page(_home(stage), 0)).entries
    assert sorted(entry.name for entry in entries) == sorted(names)
    server = raw.time()[0]
    begin, end = server + 2, server + (182 if FULL else 17)
    waiting = {occurrence_id(name, second * 1000): second for name in names for second in range(begin, end)}
    expected, late, deeds = (
        len(waiting),
        {},
        iter(sorted(choice.uniform(begin, end - 1) for _ in range((end - begin) // 3))),
    )
    deed = next(deeds, None)
    while waiting:
        seconds, micro = raw.time()
        now = seconds + micro / 1e6
        due = [id for id, second in waiting.items() if second <= now]
        if due:
            with raw.pipeline(transaction=False) as pipe:
                pipe.hmget(home("msg"), due).hmget(home("tomb"), due)
                messages, tombs = pipe.execute()
            for id, message, tomb in zip(due, messages, tombs, strict=True):
                if message or tomb:
                    late[id] = now - waiting.pop(id)
        assert not due or now - min(waiting.values(), default=now) < 20, "an instant was passed over"
        if deed is not None and now > deed:
            deed = next(deeds, None)
            place = choice.randrange(len(workers))
            if choice.random() < 0.5:
                for pid in [each.pid for each in stage.processes() if each.parent == workers[place].pid]:
                    kill(pid)
                workers[place].send(signal.SIGKILL)
                workers[place] = stage.worker(
                    "-p", "1", "-c", "2", app=APP, ready=False, environment=environment[place]
                )
            else:
                freeze(stage, workers[place], choice.uniform(0.1, 0.9))
        time.sleep(0.02)
    assert len(late) == expected
    assert max(late.values()) <= 2, sorted(late.values())[-5:]
    # Once: the counter of the queue has no more than one for each instant, those before and after them included.
    stop = raw.time()[0]
    state = {entry.name: entry.state for entry in stage.quaff.store.run(timetable.page(_home(stage), 0)).entries}
    assert all(each.through_ms / 1000 >= stop - 2 for each in state.values())
    for worker in workers:
        worker.send()
    for worker in workers:
        worker.wait(40)
    enqueued = stage.quaff.queue("default").stats().enqueued
    first, last = (server - 60) * 1000, (raw.time()[0] + 1) * 1000
    ids = [occurrence_id(name, instant) for name in names for instant in range(first, last, 1000)]
    with raw.pipeline(transaction=False) as pipe:
        pipe.hmget(home("msg"), ids).hmget(home("tomb"), ids)
        messages, tombs = pipe.execute()
    assert enqueued == sum(1 for message, tomb in zip(messages, tombs, strict=True) if message or tomb)
    assert {run.tag for run in ledger.runs(stage.ledger)} >= {str(second) for second in range(begin, end - 2)}


def _home(stage: Stage) -> Partition:
    return partition(stage.namespace, "default")


def test_a_deploy_takes_away_what_the_code_no_longer_declares(stage: Stage) -> None:
    """Not while one old worker lives; and the younger code's definition counts, whoever speaks last."""
    quaff = Quaff(stage.url, namespace=stage.namespace)
    old = stage.worker("-p", "1", app=APP, LEASE="1", environment={"DEPLOYED": "30"})
    wait_until(lambda: quaff.schedules.get("deployed"), 10)
    assert _every(quaff) == 30
    young = stage.worker("-p", "1", app=APP, LEASE="1", environment={"DEPLOYED": "60"})
    wait_until(lambda: _every(quaff) == 60, 10)
    until = time.monotonic() + 1.5  # more than one round of declarations
    wait_until(lambda: time.monotonic() > until, 10)
    assert _every(quaff) == 60
    young.stop()
    newest = stage.worker("-p", "1", app=APP, LEASE="1")
    until = time.monotonic() + 4
    wait_until(lambda: time.monotonic() > until, 10)
    assert _every(quaff) == 60
    old.stop()
    wait_until(lambda: quaff.schedules.get("deployed") is None, 15)
    assert newest.process.poll() is None
    assert [each.what for each in quaff.queue("default").changes()] == [
        "schedule no longer declared",
        "schedule changed by the code",
        "schedule declared",
    ]


def _every(quaff: Quaff) -> float | None:
    found = quaff.schedules.get("deployed")
    return found and found.every


def test_a_run_by_hand_expires_after_the_seconds_of_its_task(stage: Stage) -> None:
    """Counted from the call."""
    stage.worker("-p", "1")
    hasty = stage.quaff.tasks["mark"].options(expires=60)
    stage.quaff.schedules.add("hasty", hasty, every=86_400, args=("hasty",))
    assert stage.quaff.schedules.run("hasty").result(timeout=10) == "hasty"


def test_more_schedules_than_one_look_brings_are_fired_at_once(stage: Stage) -> None:
    """A worker looks again while there may be more, and not with the next sweep."""
    for number in range(250):
        stage.quaff.schedules.add(f"often {number}", stage.quaff.tasks["mark"], every=1, args=("often",))
    home, store = _home(stage), stage.quaff.store
    wait_until(lambda: store.run(timetable.due(home)).next_ms is None, 5)
    keeper = Timekeeper(store, Source(stage.namespace), [home], "me", 30, 1000, 1000)
    looks = [keeper.fire(0)]
    while looks[-1] < 0.01 and len(looks) < 20:
        looks.append(keeper.fire(0))
    assert not store.run(timetable.due(home)).entries
    assert 3 <= len(looks) < 20


@pytest.mark.parametrize("given", [{"args": 5}, {"args": "text"}, {"kwargs": 5}, {"arg": (1,)}])
def test_what_a_schedule_cannot_have_is_refused(stage: Stage, given: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        stage.quaff.schedules.add("bad", stage.quaff.tasks["mark"], every=5, **given)
    with pytest.raises(ConfigurationError, match="no task"):
        stage.quaff.schedules.add("bad", print, every=5)  # type: ignore[arg-type]


def test_schedules_can_be_added_paused_run_and_removed_while_workers_run(stage: Stage) -> None:
    """With no restart, and the task sees its instant."""
    quaff = stage.quaff
    stage.worker("-p", "1")
    mark = quaff.tasks["mark"]
    quaff.schedules.add("often", mark, every=1, args=("scheduled",))
    assert [each.name for each in quaff.schedules.list()] == ["often"]
    stage.started("scheduled", 2)
    info = quaff.schedules.get("often")
    assert info is not None
    assert (info.words, info.declared, info.paused, len(info.next_at)) == ("every second", False, False, 5)
    wait_until(lambda: (found := quaff.schedules.get("often")) and found.last_job and found.last_at, 10)
    assert quaff.schedules.pause("often")
    count = len(stage.runs("scheduled"))
    job = quaff.schedules.run("often")
    assert job.result(timeout=10) == "scheduled"
    until = time.monotonic() + 2.2
    wait_until(lambda: time.monotonic() > until, 10)
    assert len(stage.runs("scheduled")) <= count + 2  # the extra one, and one that was on its way
    paused = quaff.schedules.get("often")
    assert paused is not None
    assert (paused.paused, paused.next_at) == (True, [])
    assert quaff.schedules.resume("often")
    stage.started("scheduled", count + 4)
    assert quaff.schedules.remove("often")
    assert quaff.schedules.list() == []
    assert not quaff.schedules.pause("often")
    assert [each.what for each in quaff.queue("default").changes()] == [
        *("schedule remove", "schedule resume", "schedule run", "schedule pause", "schedule add"),
    ]
