"""Stored bytes that were damaged: only our errors, no crash, and what cannot be read is seen to be ``corrupt``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quaff import Inspector, Job, JobFailed, QuaffError, ResultCorrupt
from quaff.model import codec, ids, message, outcome, steps
from quaff.model.message import CorruptMessage, NewerMessage
from quaff.model.outcome import Attempt, Outcome
from tests.damaged.damage import BOMBS, damaged
from tests.helpers import wait_until
from tests.worker.support import Stage, children
from tests.worker.test_messages import corrupt, plant, unharmed


def _record(value: Any) -> bytes:
    return outcome.encode(
        Outcome("t", 0, Attempt(1, 2, 3, "w", 4, "succeeded"), outcome.msgspec.Raw(codec.pack(value)))
    )


def _layer(kind: bytes, data: bytes, rest: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "big") + data + rest


PLAIN = message.encode("mark", ["tag", {"a": (1, 2.5)}], {"b": {3}}, {message.EXPIRES: 2**41})
MESSAGES = {
    "plain": PLAIN,
    "keyed": message.encode_keyed("mark", ["tag"], {}, 7),
    "carrying": message.carrying(PLAIN, PLAIN),
    "given results": _layer(
        b"\x04",
        len(_record([1])).to_bytes(4, "big") + _record([1]) + bytes(4),
        message.encode("mark", [codec.wire(codec.Ref(0)), codec.wire(codec.Ref(1))], {}),
    ),
    "a traveller": _layer(b"\x05", ids.new_raw() + b"default#0", PLAIN),
}


@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
def test_a_damaged_message_is_corrupt_or_another_one(data: bytes) -> None:
    """S8, F56: of each kind, each bit of it; nothing else is raised, whoever reads."""
    message.decode(data)
    for each in damaged(data):
        message.origin(each)
        message.digest(each)
        try:
            message.decode(each)
        except (CorruptMessage, NewerMessage):
            continue
        message.lacks_results(each)


def test_a_worker_lives_through_damaged_messages(stage: Stage) -> None:
    """S8, F56: each bit of one that is given results and of a traveller's, and bombs; each ends, or is parked."""
    worker = stage.worker("-p", "1", MAX_MESSAGE="100000")
    before = children(worker)
    several = [*damaged(MESSAGES["given results"]), *damaged(MESSAGES["a traveller"])]
    server = stage.raw()
    planted = {plant(stage, data, server): data for data in several}
    bombs = {name: plant(stage, data, server) for name, data in BOMBS.items()}
    for job, data in planted.items():
        wait_until(lambda job=job: _over(job), 30, f"an end of {data[:500]!r}")
    for name, job in bombs.items():
        wait_until(lambda job=job: _over(job), 30, f"an end of {name}")
        corrupt(job)
        assert job.info().error.reason == "corrupt", name
    wait_until(lambda: server.llen(stage.key("ready")) + server.hlen(stage.key("active")) == 0)
    unharmed(stage, worker, before)


def _over(job: Job[object]) -> bool:
    """Whether it has ended, or waits for a worker that knows it; a job that is nowhere raises JobNotFound."""
    return job.state.terminal or job.info().parked


def _ask_everything(stage: Stage, job: Any) -> list[str]:
    """What comes of each way to look at a job; raises what is no error of ours."""
    came: list[str] = []
    ways: tuple[Callable[[], object], ...] = (
        lambda: job.result(0),
        job.info,
        lambda: list(Inspector(stage.quaff).failed()),
        lambda: list(job.watch(1)),
    )
    for way in ways:
        try:
            came.append(repr(way()))
        except QuaffError as error:
            came.append(type(error).__name__)
    return came


def test_a_damaged_outcome_is_seen_to_be_corrupt(stage: Stage) -> None:
    """S8: of a job that succeeded, and of one that failed after an attempt before."""
    worker = stage.worker("-p", "1")
    done, dead = stage.send("mark", "x"), stage.send("fail", "x")
    assert done.result(timeout=10) == "x"
    wait_until(lambda: dead.state == "failed", 10, "a dead letter")
    assert worker.stop() == 0
    server = stage.raw()
    for job in (done, dead):
        raw = bytes.fromhex(job.id[-32:])
        kept = server.hget(stage.key("res"), raw)
        for each in damaged(kept):
            server.hset(stage.key("res"), raw, each or b"\xc1")
            _ask_everything(stage, job)
        server.hset(stage.key("res"), raw, b"\xc1 nobody wrote this")
        assert job.info().error.reason == "corrupt"
    with pytest.raises(ResultCorrupt):
        done.result()
    with pytest.raises(JobFailed, match="corrupt"):
        dead.result()
    assert [letter.reason for letter in Inspector(stage.quaff).failed()] == ["corrupt"]


@pytest.mark.parametrize("where", ["history", "steps", "prog"])
def test_other_damaged_records_are_left_out(stage: Stage, where: str) -> None:
    """S8: attempts before, steps, progress: what can be read is told."""
    job = stage.send("mark", "x", delay=3600)
    raw = bytes.fromhex(job.id[-32:])
    attempt = outcome.encode(Attempt(1, 2, 3, "w", 4, "failed"))
    step = b"1700000000000" + steps.encode("one", steps.DONE, 1, codec.pack(5))
    good = {"history": attempt, "steps": step, "prog": codec.pack([1, 2, "note", None])}[where]
    framed = good if where == "prog" else len(good).to_bytes(4, "big") + good
    server = stage.raw()
    for each in damaged(framed):
        server.hset(stage.key(where), raw, each)
        assert job.info().state == "scheduled"
    server.hset(stage.key(where), raw, framed)
    assert job.info().task == "mark"


def test_a_damaged_schedule_stops_no_other(stage: Stage) -> None:
    """S8: it is listed as what cannot be read, is said to be so when it is run, and can be replaced."""
    mark = stage.quaff.tasks["mark"]
    stage.quaff.schedules.add("good", mark, every=1, args=("good",))
    stage.quaff.schedules.add("damaged", mark, every=1, args=("damaged",))
    server, key = stage.raw(), stage.key("sched_def")
    kept = server.hget(key, "damaged")
    for each in damaged(kept):
        server.hset(key, "damaged", each)
        stage.quaff.schedules.list()
    server.hset(key, "damaged", b"\xc1 nobody wrote this")
    found = stage.quaff.schedules.get("damaged")
    assert found is not None
    assert "corrupt" in found.words
    with pytest.raises(QuaffError, match="replace=True"):
        stage.quaff.schedules.run("damaged")
    worker = stage.worker("-p", "1")
    wait_until(lambda: stage.runs("good"), 15, "an occurrence of the other one")
    worker.wait_for("cannot be read")
    stage.quaff.schedules.add("damaged", mark, every=1, args=("damaged",), replace=True)
    wait_until(lambda: stage.runs("damaged"), 15, "an occurrence")
