"""F55, F56, F57, S2, S27: whatever is in a queue, the worker lives, keeps what it cannot read and runs real jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quaff import Job, JobFailed
from quaff.model import codec
from quaff.model.ids import JobId, new_raw
from tests.helpers import Program, wait_until
from tests.worker.support import Stage, children, side_by_side

NewStage = Callable[[], Stage]


def plant(stage: Stage, data: bytes, server: Any = None) -> Job[object]:
    """Put bytes in line as if a producer had; the handle of the job that they are. ``server``: a client, for many."""
    raw, server = new_raw(), server or stage.raw()
    server.hset(stage.key("msg"), raw, data)
    server.lpush(stage.key("ready"), raw)
    server.lpush(stage.key("wake"), "1")
    return stage.quaff.job(str(JobId("default", 0, raw)))


def message(task: object, *arguments: object) -> bytes:
    """A message of this version."""
    return b"\x01" + codec.pack((task, list(arguments), {}, 0))


def strangers(stage: Stage) -> int:
    """How many entries of the queue were nobody's."""
    return int(stage.raw().hget(stage.key("meta"), "strangers") or 0)


def unharmed(stage: Stage, worker: Program, before: list[int]) -> None:
    """The same processes run both kinds of job, and nobody had to write a traceback."""
    jobs = [stage.send(kind, f"real {kind} {n}") for kind in ("mark", "amark") for n in range(4)]
    assert [job.result(timeout=10) for job in jobs] == [
        f"real {kind} {n}" for kind in ("mark", "amark") for n in range(4)
    ]
    assert children(worker) == before, worker.output
    assert worker.process.poll() is None
    assert not any("Traceback" in line for line in worker.stderr), worker.output
    assert worker.stdout == []


def corrupt(job: Job[object]) -> None:
    """The job has ended as failed for that reason."""
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=10)
    assert caught.value.reason == "corrupt"
    assert job.state == "failed"


BYTES = {
    "nothing": b"",
    "noise": bytes(range(255, 127, -1)),
    "text": b"hello",
    "json": b'{"task": "mark", "args": ["x"]}',
    "pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "only the first byte": b"\x01",
    "cut short": message("mark", "x" * 100)[:-20],
    "a digest cut short": b"\x02abc",
    "something behind it": message("mark", "x") + b"\x00",
    "no array": b"\x01" + codec.pack("mark"),
    "a number for a task": message(5),
    "arguments that are none": b"\x01" + codec.pack(("mark", 7, {}, 0)),
    "a term that is no number": b"\x01" + codec.pack(("mark", ["x"], {}, 0, {"!expires": "soon"})),
    "a limit that is none": b"\x01" + codec.pack(("mark", ["x"], {}, 0, {"!timeout": None})),
    "an instant that is none": b"\x01" + codec.pack(("mark", ["x"], {}, 0, {"scheduled": [1]})),
    "keys that are no text": b"\x01" + codec.pack(("mark", [], {1: 2}, 0)),
    "a thousand arrays": b"\x01" + b"\x91" * 100_000 + b"\xc0",
    "a promise of 4 GB": b"\x01\xdd\xff\xff\xff\xff",
    "an unknown extension": b"\x01\x94\xa4mark\x91\xc7\x03\x63abc\x80\x00",
}


def test_bytes_that_are_no_message_end_as_corrupt_and_are_kept(stage: Stage) -> None:
    """F56, S1: each of them, between real jobs; nothing in them is run, and an operator can still look at them."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    planted = {}
    for name, data in BYTES.items():
        planted[name] = plant(stage, data)
        stage.send("mark", f"after {name}")
    for name, job in planted.items():
        corrupt(job)
        parsed = bytes.fromhex(job.id.rpartition("-")[2])
        assert stage.raw().hget(stage.key("msg"), parsed) == BYTES[name], name
    wait_until(lambda: len(stage.runs()) == len(BYTES))
    assert sum("corrupt" in line for line in worker.stderr) == len(BYTES)
    unharmed(stage, worker, before)


def test_noise_does_not_hold_up_real_jobs(stage: Stage) -> None:
    """F56: two hundred random messages among two hundred real ones; each of both ends once."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    noise, real = [], []
    for n in range(200):
        noise.append(plant(stage, b"\x01" + os.urandom(1 + n)))
        real.append(stage.send("mark", f"mark {n}"))
    assert [job.result(timeout=20) for job in real] == [f"mark {n}" for n in range(200)]
    for job in noise:
        wait_until(lambda job=job: job.state.terminal or job.info().parked, 10, "an end")
    unharmed(stage, worker, before)


def test_entries_that_are_nobodys_are_counted_and_dropped(stage: Stage) -> None:
    """An id without message, ids of the wrong length, a foreign list entry: strangers; the jobs behind them run."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    foreign = [new_raw(), b"", b"x", b"short", b"y" * 40, b"\xff" * 500, b'{"task": "mark"}']
    for entry in foreign:
        stage.raw().lpush(stage.key("ready"), entry)
        assert stage.send("mark", "behind it").result(timeout=10) == "behind it"
    wait_until(lambda: strangers(stage) == len(foreign), 10, "all strangers")
    assert stage.raw().llen(stage.key("ready")) == 0
    unharmed(stage, worker, before)


def test_a_message_under_an_id_of_the_wrong_length_harms_nobody(stage: Stage) -> None:
    """It has a message and cannot be a job: whatever comes of it, it does not come back for ever."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    server = stage.raw()
    for raw in (b"", b"short", b"y" * 40):
        tag = f"odd {len(raw)}"
        server.hset(stage.key("msg"), raw, message("mark", tag))
        server.lpush(stage.key("ready"), raw)
        assert stage.send("mark", "behind it").result(timeout=10) == "behind it"
        wait_until(lambda: server.llen(stage.key("ready")) == 0 and server.hlen(stage.key("active")) == 0)
        assert len(stage.runs(tag)) <= 1
    unharmed(stage, worker, before)


def test_an_entry_that_is_there_twice_runs_once(stage: Stage) -> None:
    """The second one is a stranger: of a job that runs, or that has ended."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    path = stage.file()
    job = stage.send("gate", "once", str(path))
    stage.started("once")
    raw = bytes.fromhex(job.id.rpartition("-")[2])
    stage.raw().lpush(stage.key("ready"), raw, raw)
    assert stage.send("mark", "behind it").result(timeout=10) == "behind it"
    path.touch()
    assert job.result(timeout=10) == "once"
    stage.raw().lpush(stage.key("ready"), raw)
    assert stage.send("mark", "behind that").result(timeout=10) == "behind that"
    assert len(stage.runs("once")) == 1
    assert strangers(stage) == 3
    unharmed(stage, worker, before)


OTHER_APP = """
from tests.worker.workapp import quaff

@quaff.task(name="later")
def later(tag):
    from tests.chaos import ledger
    with ledger.run(tag):
        return "known now"
"""


def test_a_task_that_is_not_registered_waits_for_a_worker_that_knows_it(stage: Stage, tmp_path: Path) -> None:
    """F55: parked, still queued, said once, at no cost; it runs as soon as the right worker starts, and once."""
    old = stage.worker("-p", "1")
    before = children(old)
    job = plant(stage, message("later", "waits"))
    wait_until(lambda: job.info().parked, 10, "parked")
    assert job.state == "queued"
    assert [attempt.number for attempt in job.info().attempts] == []
    assert "later" in old.wait_for("is parked")
    unharmed(stage, old, before)
    (tmp_path / "newapp.py").write_text(OTHER_APP)
    assert old.stop() == 0
    stage.worker("-p", "1", app="newapp:quaff", cwd=tmp_path)
    assert job.result(timeout=10) == "known now"
    assert [run.attempt for run in stage.runs("waits")] == [1]
    assert not job.info().parked
    assert [attempt.number for attempt in job.info().attempts] == [1]


def test_a_message_of_another_version_waits_for_a_worker_that_knows_it(stage: Stage) -> None:
    """F57: a deploy is under way; the old worker does not fail what it cannot read yet."""
    worker = stage.worker("-p", "1")
    before = children(worker)
    for version in (0, 8, 9):
        job = plant(stage, bytes([version]) + b"of another time")
        wait_until(lambda job=job: job.info().parked, 10, "parked")
        assert job.state == "queued"
    unharmed(stage, worker, before)


def test_a_message_cannot_make_a_worker_import_anything(stage: Stage, tmp_path: Path) -> None:
    """S2, S3: names are looked up in the registry and nowhere else; a module that is named is not imported."""
    canary = tmp_path / "canary"
    (tmp_path / "bait.py").write_text(
        f"open({str(canary)!r}, 'w').close()\ndef f(*_): open({str(canary)!r}, 'w').close()\n"
    )
    worker = stage.worker("-p", "1", cwd=tmp_path)
    before = children(worker)
    names = (
        "bait.f",
        "bait:f",
        "bait",
        "os.system",
        "builtins.exec",
        "eval",
        "__import__",
        "tests.worker.workapp.mark",
    )
    jobs = [plant(stage, message(name, f"touch {canary}")) for name in (*names, "mаrk", "", "../mark")]
    for job in jobs:
        wait_until(lambda job=job: job.info().parked, 10, "parked")
    assert not canary.exists()
    unharmed(stage, worker, before)


def test_a_file_in_the_working_directory_hides_no_module(new_stage: NewStage, tmp_path: Path) -> None:
    """S27: a planted json.py, redis.py or quaff.py is not what the worker imports; the application there still is."""

    def scenario(*command: str) -> None:
        stage = new_stage()
        folder = tmp_path / stage.namespace
        folder.mkdir()
        canary = folder / "canary"
        bite = f"open({str(canary)!r}, 'a').write(__name__)\nraise SystemExit(9)\n"
        for name in ("json", "redis", "msgspec", "logging", "random", "click"):
            (folder / f"{name}.py").write_text(bite)
        (folder / "mine.py").write_text("from tests.worker.workapp import quaff\n")
        worker = stage.command(*command, "worker", "-A", "mine:quaff", "-p", "1", cwd=folder)
        worker.wait_for("ready")
        assert stage.send("mark", "safe").result(timeout=10) == "safe"
        assert not canary.exists(), canary.read_text()

    quaff = str(Path(sys.executable).with_name("quaff"))
    side_by_side(lambda: scenario(quaff), lambda: scenario(sys.executable, "-m", "quaff"))
