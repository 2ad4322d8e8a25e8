"""Workers that have keys: what they run, what they refuse, and what is left of it on the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from quaff import JobExpired, JobFailed, Quaff, ResultCorrupt, chain
from quaff.dashboard import create_dashboard
from quaff.model import ids, message
from quaff.model.message import Where
from quaff.store import embedded
from quaff.task import Task
from tests.helpers import wait_until
from tests.worker import workapp
from tests.worker.support import Stage, after

OLD, NEW = "the old key of these tests", "the new key of these tests"


def keyed(stage: Stage, **settings: Any) -> Quaff:
    """A producer with keys, on the stage of a test."""
    quaff = Quaff(stage.url, namespace=stage.namespace, **settings)
    for name, task in workapp.quaff.tasks.items():
        quaff.tasks[name] = Task(quaff, task.name, task.fn, task.settings)
    return quaff


def raw_of(job: Any) -> bytes:
    """The bytes of a job's id."""
    return bytes.fromhex(job.id[-32:])


def planted(stage: Stage, quaff: Quaff, data: bytes, queue: str = "default", raw: bytes | None = None) -> Any:
    """A job with these bytes as its message, as somebody with access to the server puts it in line."""
    raw = raw or ids.new_raw()
    server = stage.raw()
    server.hset(stage.key("msg", queue), raw, data)
    server.lpush(stage.key("ready", queue), raw)
    server.lpush(stage.key("wake", queue), "1")
    return quaff.job(f"{queue}-0-{raw.hex()}")


def refused(job: Any) -> None:
    """It has failed as corrupt."""
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=10)
    assert caught.value.reason == "corrupt"
    assert job.info().error.reason == "corrupt"


def test_a_worker_runs_what_is_signed_for_that_job_and_nothing_else(stage: Stage) -> None:
    """S4, S5: forged, changed, moved, swapped, cut, its signature taken off, or signed with another key."""
    quaff = keyed(stage, signing_keys=[NEW])
    job = quaff.tasks["mark"].options(delay=3600).delay("real")
    data = stage.raw().hget(stage.key("msg"), raw_of(job))
    flipped = bytes([*data[:-1], data[-1] ^ 1])
    theirs = keyed(stage, signing_keys=["a key that this worker has not"])
    stranger = theirs.tasks["mark"].options(delay=3600).delay("theirs")
    bad = {
        "moved": planted(stage, quaff, data),
        "moved to another queue": planted(stage, quaff, data, "other", raw_of(job)),
        "changed": planted(stage, quaff, flipped, raw=ids.new_raw()),
        "taken off": planted(stage, quaff, b"\x06\x00" + data[22:]),
        "never signed": planted(stage, quaff, b"\x01" + data[22:]),
        "cut": planted(stage, quaff, data[:15]),
        "another key": planted(stage, quaff, stage.raw().hget(stage.key("msg"), raw_of(stranger))),
    }
    worker = stage.worker("-p", "1", "-Q", "default,other", SIGNING_KEYS=NEW, REQUIRE_SIGNED="1")
    for forged in bad.values():
        refused(forged)
    assert quaff.tasks["mark"].delay("good").result(timeout=10) == "good"
    assert [run.tag for run in stage.runs()] == ["good"]
    assert stage.raw().hget(stage.key("msg"), raw_of(bad["moved"])) == data, "what is refused is kept"
    assert sum("corrupt" in line for line in worker.stderr) == len(bad)


def test_a_replay_ends_with_the_time_that_is_signed(stage: Stage) -> None:
    """S4: what is put in line again once it has ended runs again, unless its ``expires=``, which is signed, is over."""
    quaff = keyed(stage, signing_keys=[NEW])
    stage.worker("-p", "1", SIGNING_KEYS=NEW, REQUIRE_SIGNED="1")
    job = quaff.tasks["mark"].options(expires=2, delay=0.5).delay("once")
    data = stage.raw().hget(stage.key("msg"), raw_of(job))
    until = message.decode(data, seals=quaff.settings.seals, where=Where(stage.namespace, job._id)).terms["!expires"]
    assert job.result(timeout=10) == "once"
    stage.raw().hdel(stage.key("tomb"), raw_of(job))
    assert planted(stage, quaff, data, raw=raw_of(job)).result(timeout=10) == "once"
    after(until / 1000 - time.time() + 0.1)
    stage.raw().hdel(stage.key("tomb"), raw_of(job))
    with pytest.raises(JobExpired):
        planted(stage, quaff, data, raw=raw_of(job)).result(timeout=10)
    assert len(stage.runs()) == 2


def test_keys_are_rotated_under_load(new_stage: Any) -> None:
    """S5: old, both, both with the new one first, new: no job fails, and none is read by who has not its key."""
    stage = new_stage()
    rings = [OLD, f"{OLD},{NEW}", f"{NEW},{OLD}", NEW]
    jobs: list[Any] = []
    worker = stage.worker("-p", "1", SIGNING_KEYS=rings[0], ENCRYPTION_KEYS=rings[0], REQUIRE_SIGNED="1")
    for ring in rings[1:]:
        before = keyed(stage, signing_keys=rings[rings.index(ring) - 1], encryption_keys=rings[rings.index(ring) - 1])
        after = keyed(stage, signing_keys=ring, encryption_keys=ring)
        several = [before.tasks["mark"].map([(f"{ring} {n}",) for n in range(50)])]
        following = stage.worker("-p", "1", SIGNING_KEYS=ring, ENCRYPTION_KEYS=ring, REQUIRE_SIGNED="1")
        assert worker.stop() == 0
        several.append(after.tasks["mark"].map([(f"{ring} after {n}",) for n in range(50)]))
        worker = following
        if ring is not rings[-1]:
            jobs += [after.job(job.id) for some in several for job in some]
            wait_until(lambda jobs=jobs: all(job.state.terminal for job in jobs), 20, "the end of all")
            assert {job.state for job in jobs} == {"succeeded"}
        else:
            # What only the old key can open was done before that one went.
            assert [job.result(timeout=20) for job in several[-1]] == [f"{ring} after {n}" for n in range(50)]


def test_a_result_is_that_of_its_job(stage: Stage) -> None:
    """S4, S6: that of another one in its place, and one that nobody signed, are refused."""
    quaff = keyed(stage, signing_keys=[NEW], require_signed=True)
    stage.worker("-p", "1", SIGNING_KEYS=NEW, REQUIRE_SIGNED="1")
    one, other = quaff.tasks["mark"].delay("one"), quaff.tasks["mark"].delay("other")
    assert [one.result(timeout=10), other.result(timeout=10)] == ["one", "other"]
    server = stage.raw()
    server.hset(stage.key("res"), raw_of(one), server.hget(stage.key("res"), raw_of(other)))
    with pytest.raises(ResultCorrupt, match="another job"):
        one.result()
    server.hset(stage.key("res"), raw_of(other), b"\x94\xa4mark\x00\x96\x01\x00\x00\xa0\x00\xa9succeeded\xa6forged")
    with pytest.raises(ResultCorrupt, match="REQUIRE_SIGNED"):
        other.result()
    assert stage.quaff.job(other.id).result() == "forged", "who asks for no signature sees what is there"


def test_arguments_and_results_are_nowhere_on_the_disk(own_server: Any, tmp_path: Path) -> None:
    """S6: of a job, its result, a flow, a schedule; neither in memory as it is dumped, nor in the append-only file.

    Nor in what the server is sent, nor on a page of whoever has no key.
    """
    make, _ = own_server
    stage = make()
    server = stage.raw()
    listening: Any = server.connection_pool.get_connection()
    listening.send_command("MONITOR")
    assert listening.read_response() == b"OK"
    canary = f"canary{os.urandom(8).hex()}"
    quaff = keyed(stage, encryption_keys=[NEW], signing_keys=[NEW])
    stage.worker("-p", "1", ENCRYPTION_KEYS=NEW, SIGNING_KEYS=NEW, REQUIRE_SIGNED="1")
    mark = quaff.tasks["mark"]
    ended = mark.delay(canary)
    assert ended.result(timeout=10) == canary
    assert chain(mark.s(canary), mark.s()).delay().result(timeout=10) == canary
    quaff.schedules.add("secret", mark, every=1, args=(canary,))
    wait_until(lambda: len(stage.runs(canary)) >= 4, 15, "an occurrence")
    waits = mark.options(delay=3600).delay(canary)
    server.save()
    home = embedded.directory(stage.url)
    files = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size]
    assert {path.suffix for path in files} >= {".rdb", ".aof"}
    assert [path.name for path in files if canary.encode() in path.read_bytes()] == []
    server.echo("that is all")
    sent: list[str] = []
    while "that is all" not in "".join(sent[-1:]):
        sent.append(listening.read_response().decode())
    listening.disconnect()
    assert len([line for line in sent if "EVALSHA" in line]) > 10
    assert [line for line in sent if canary in line] == []
    client = create_dashboard(stage.quaff, auth=lambda _: "admin").test_client()
    for url in (f"/jobs/{ended.id}", f"/jobs/{waits.id}", "/jobs?state=scheduled", "/schedules", "/failures"):
        assert canary not in client.get(url).text, url
    with_keys = create_dashboard(quaff, auth=lambda _: "admin").test_client()
    assert canary in with_keys.get(f"/jobs/{waits.id}").text, "who has the key may look"


def test_a_worker_with_another_key_says_what_to_do(stage: Stage) -> None:
    """S5: a SECRET_KEY that is another one in each process is the usual mistake; the job can be sent back."""
    quaff = keyed(stage, signing_keys=[NEW])
    worker = stage.worker("-p", "1", SIGNING_KEYS=OLD)
    job = quaff.tasks["mark"].delay("late")
    refused(job)
    assert "SECRET_KEY" in worker.wait_for("corrupt")
    assert worker.stop() == 0
    stage.worker("-p", "1", SIGNING_KEYS=f"{NEW},{OLD}")
    assert job.requeue()
    assert quaff.job(job.id).result(timeout=10) == "late"
