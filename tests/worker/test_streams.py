"""Streams: what a generator yields comes soon, in order, once; in bounds; and the end of the stream is the job's."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quaff import (
    Batch,
    ConfigurationError,
    Job,
    JobCancelled,
    JobFailed,
    Quaff,
    ResultDropped,
    ResultTimeout,
    StreamGap,
    StreamRestarted,
)
from tests.helpers import in_loop, wait_until
from tests.worker import streamapp
from tests.worker.streamapp import Point
from tests.worker.support import Stage, children, kill

APP = "tests.worker.streamapp:quaff"
both = pytest.mark.parametrize("kind", ["", "a"])


@pytest.fixture
def quaff(stage: Stage) -> Quaff:
    """The application of streamapp.py on this stage."""
    return stage.sends(streamapp.quaff)


@pytest.fixture(scope="module")
def shared(shared_stage: Stage) -> Quaff:
    """The same on the stage of the file, which has a worker."""
    return shared_stage.sends(streamapp.quaff)


@both
def test_values_come_while_the_job_runs(stage: Stage, quaff: Quaff, tmp_path: Path, kind: str) -> None:
    """To all who read, in threads and in coroutines, whenever they come; the result is what the generator returned."""
    gate = tmp_path / "gate"
    job = quaff.tasks[f"{kind}numbers"].delay(10, str(gate), 6)

    async def amain() -> list[int]:
        return [value async for value in job.astream(timeout=30)]

    with ThreadPoolExecutor(4) as pool:
        early = [pool.submit(lambda: list(job.stream(timeout=30))) for _ in range(2)]
        early.append(pool.submit(in_loop, quaff, amain))
        stage.worker("-p", "1", app=APP)
        seen: list[int] = []
        for value in job.stream(timeout=30):
            seen.append(value)
            if value == 5:
                assert job.state == "running"
                gate.touch()
        assert seen == list(range(10))
        assert [each.result(10) for each in early] == [seen] * 3
    assert list(job.stream()) == seen
    assert job.result(timeout=5) == (None if kind else "10 numbers")


@both
def test_a_value_comes_at_once(shared: Quaff, tmp_path: Path, kind: str) -> None:
    """The first one after silence well before anybody would look by himself."""
    gate = tmp_path / "gate"
    job = shared.tasks[f"{kind}numbers"].delay(3, str(gate), 2)
    values = iter(job.stream(timeout=30))
    assert [next(values), next(values)] == [0, 1]
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, values)
        time.sleep(0.6)  # it listens by now
        began = time.monotonic()
        gate.touch()
        assert following.result(10) == 2
        assert time.monotonic() - began < 1


@both
def test_values_have_the_class_that_the_hint_says(shared_stage: Stage, shared: Quaff, kind: str) -> None:
    """As results have."""
    job = shared.tasks[f"{kind}points"].delay()
    assert list(job.stream(timeout=20)) == [Point(1, 2), Point(3, 4)]
    assert job.result(timeout=5) == (None if kind else [Point(5, 6)])
    assert list(Quaff(shared_stage.url, namespace=shared_stage.namespace).job(job.id).stream()) == [
        {"x": 1, "y": 2},
        {"x": 3, "y": 4},
    ]


def test_a_stream_is_resumed_in_its_middle(shared: Quaff, tmp_path: Path) -> None:
    """From any position, also after the end, by another handle."""
    gate = tmp_path / "gate"
    job = shared.tasks["numbers"].delay(3000, str(gate), 2500)
    stream = job.stream(timeout=20)
    assert stream.position == 0
    for value in stream:
        if value == 1499:
            break
    assert stream.position == 1500
    gate.touch()
    again = shared.job(job.id).stream(start=stream.position, timeout=20)
    assert list(again) == list(range(1500, 3000))
    assert again.position == 3000
    assert list(stream) == list(range(1500, 3000))
    assert list(job.stream(start=2999)) == [2999]
    assert list(job.stream(start=3000)) == []
    with pytest.raises(StreamGap):
        list(job.stream(start=3001))


@both
def test_many_values_are_few_calls(shared_stage: Stage, shared: Quaff, kind: str) -> None:
    """All of them, and never one call a value."""
    list(shared.tasks["numbers"].delay(1).stream(timeout=20))
    raw = shared_stage.raw()
    raw.config_resetstat()
    job = shared.tasks[f"{kind}numbers"].delay(15_000)
    job.result(timeout=20)
    assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] < 120
    assert list(job.stream(timeout=5)) == list(range(15_000))


def test_whoever_is_too_slow_is_told_what_is_gone(stage: Stage, quaff: Quaff) -> None:
    """The server keeps the newest, in bounds; nobody holds the generator up."""
    job = quaff.tasks["large"].delay(1000, 4000)
    stage.worker("-p", "1", app=APP)
    job.result(timeout=20)
    with pytest.raises(StreamGap, match=r"value 0 of job .* is not kept") as caught:
        list(job.stream())
    assert not isinstance(caught.value, StreamRestarted)
    assert str(caught.value).endswith("[QF038]")
    first = caught.value.position
    rest = [int.from_bytes(value[:4], "big") for value in job.stream(start=first)]
    assert rest == list(range(first, 1000))
    assert 524_288 / 4005 < len(rest) <= 17 * 65_536 / 4005
    kept = stage.raw().hgetall(stage.key("chunks"))
    assert sum(map(len, kept.values())) < 17 * 65_536 + 1000
    many = quaff.tasks["numbers"].delay(50_000)
    many.result(timeout=20)
    with pytest.raises(StreamGap) as caught:
        list(many.stream())
    assert 8000 <= 50_000 - caught.value.position <= 17_000


def test_a_generator_that_fails_half_way(stage: Stage, quaff: Quaff) -> None:
    """What it gave before, and then its failure."""
    job = quaff.tasks["fails"].delay(5)
    stage.worker("-p", "1", app=APP)
    seen: list[int] = []
    with pytest.raises(JobFailed, match="half-way"):
        seen.extend(job.stream(timeout=20))
    with pytest.raises(JobFailed, match="half-way") as caught:
        list(job.stream(start=5))
    assert "fails" in caught.value.traceback
    job.discard()
    assert stage.raw().exists(stage.key("chunks")) == 0


@pytest.mark.parametrize(("how", "text"), [("object", "object cannot be sent"), ("large", "MAX_RESULT")])
def test_a_value_that_cannot_be_sent_fails_the_job(shared: Quaff, how: str, text: str) -> None:
    """And says why."""
    job = shared.tasks["bad"].delay(how)
    values = iter(job.stream(timeout=20))
    assert next(values) == "fine"
    with pytest.raises(JobFailed, match=text) as caught:
        next(values)
    assert caught.value.type == "EncodeError"


def test_a_restart_is_seen_by_whoever_has_values_of_the_attempt_before(shared: Quaff, tmp_path: Path) -> None:
    """Never silently twice; and whoever comes afterwards has those of the last attempt alone."""
    gate = tmp_path / "gate"
    job = shared.tasks["twice"].delay(3, str(gate))
    values = iter(job.stream(timeout=20))
    assert [next(values) for _ in range(3)] == [(1, 0), (1, 1), (1, 2)]
    gate.touch()
    with pytest.raises(StreamRestarted) as caught:
        next(values)
    assert str(caught.value).endswith("[QF039]")
    assert list(job.stream(start=caught.value.position, timeout=20)) == [(2, 0), (2, 1)]
    assert list(job.stream()) == [(2, 0), (2, 1)]
    with pytest.raises(StreamRestarted):
        list(job.stream(start=3))
    none = shared.tasks["twice"].delay(1, str(gate))
    wait_until(lambda: none.state == "succeeded", 10)
    with pytest.raises(StreamRestarted):
        list(none.stream(start=1))
    assert list(none.stream()) == []


def test_a_crash_is_a_restart(stage: Stage, quaff: Quaff, tmp_path: Path) -> None:
    """What was given before the process died was given."""
    gate = tmp_path / "gate"
    job = quaff.tasks["crashing"].delay(str(gate))
    worker = stage.worker("-p", "1", app=APP)
    stream = job.stream(timeout=30)
    values = iter(stream)
    assert next(values) == 1
    for pid in children(worker):
        kill(pid)
    with pytest.raises(StreamRestarted) as caught:
        next(values)
    gate.touch()
    assert list(job.stream(start=caught.value.position, timeout=20)) == [2, -1]


@both
def test_a_generator_that_is_called_off_cleans_up(shared: Quaff, tmp_path: Path, kind: str) -> None:
    """Its ``finally`` blocks run, and whoever reads is told."""
    mark = tmp_path / "mark"
    job = shared.tasks[f"{kind}endless"].delay(str(mark))
    values = iter(job.stream(timeout=20))
    assert [next(values) for _ in range(20)] == list(range(20))
    assert job.cancel("enough")
    with pytest.raises(JobCancelled):
        list(values)
    assert mark.exists()


@both
def test_a_generator_that_is_too_slow_cleans_up(shared: Quaff, tmp_path: Path, kind: str) -> None:
    """At its limit, also while nobody reads."""
    mark = tmp_path / "mark"
    task = shared.tasks[f"{kind}endless"]
    job = task.options(timeout=0.5).delay(str(mark))
    with pytest.raises(JobFailed) as caught:
        list(job.stream(timeout=20))
    assert caught.value.reason == "timeout"
    assert mark.exists()


@both
def test_a_soft_timeout_is_raised_in_the_generator(shared: Quaff, kind: str) -> None:
    """Which has a last word, also where it was waiting for room."""
    job = shared.tasks[f"{kind}soft"].delay()
    job.result(timeout=20)
    try:
        last = list(job.stream())[-1]
    except StreamGap as gap:
        last = list(job.stream(start=gap.position))[-1]
    assert last == "time is up"


def test_with_result_ttl_0_nothing_stays(stage: Stage, quaff: Quaff) -> None:
    """Not even for a moment, so the end of the stream cannot be told from a part of it."""
    job = quaff.tasks["unkept"].delay()
    stage.worker("-p", "1", app=APP)
    with pytest.raises(ResultDropped):
        list(job.stream(timeout=20))
    assert stage.raw().exists(stage.key("chunks")) == 0


def test_what_gives_no_values_is_an_empty_stream(shared: Quaff) -> None:
    """A generator handed back by a plain function is no stream, but a failure."""
    job = shared.tasks["numbers"].delay(0)
    plain = shared.tasks["plain"].delay()
    assert list(job.stream(timeout=20)) == []
    with pytest.raises(JobFailed, match="cannot be stored"):
        list(plain.stream(timeout=20))


def test_what_cannot_be_is_refused(quaff: Quaff) -> None:
    """Before anything is sent."""
    job = quaff.tasks["numbers"].delay(1)
    with pytest.raises(TypeError, match="position"):
        job.stream(start=-1)
    with pytest.raises(ResultTimeout):
        list(job.stream(timeout=0.05))

    def batch(calls: list[tuple[int]]):  # type: ignore[no-untyped-def]
        yield calls

    with pytest.raises(ConfigurationError, match="generator"):
        quaff.task(batch, batch=Batch(5))


def test_a_call_is_a_plain_generator() -> None:
    """Here and now."""
    values = streamapp.numbers(3)
    assert list(values) == [0, 1, 2]


def test_waiting_for_room_is_no_load(shared: Quaff) -> None:
    """A generator in a hurry keeps no other task from running."""
    hasty = [shared.tasks["anumbers"].delay(200_000) for _ in range(3)]
    began = time.monotonic()
    others: list[Job[Any]] = [shared.tasks["numbers"].delay(1) for _ in range(20)]
    for job in others:
        assert job.result(timeout=20) == "1 numbers"
    assert time.monotonic() - began < 10
    for job in hasty:
        job.result(timeout=40)


@both
def test_a_connection_that_breaks_loses_no_value_and_doubles_none(
    shared_stage: Stage, shared: Quaff, tmp_path: Path, kind: str
) -> None:
    """All connections are cut again and again, in the middle of whatever is said."""
    job = shared.tasks[f"{kind}endless"].options(timeout=60).delay(str(tmp_path / "mark"))
    values = iter(job.stream(timeout=50))
    next(values)
    stop, raw = threading.Event(), shared_stage.raw()

    def cut() -> None:
        while not stop.wait(0.15):
            raw.execute_command("CLIENT", "KILL", "TYPE", "NORMAL")

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        assert [next(values) for _ in range(400)] == list(range(1, 401))
    finally:
        stop.set()
        cutter.join()
    job.cancel()
