"""What a power cut leaves: the append-only file ends anywhere, or is damaged, and what is read of it adds up."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quaff import Quaff, ServerUnavailable
from quaff.model import ids
from quaff.model.limits import Concurrency, FairBy, Unique
from quaff.model.placement import Placement, Wishes, placement
from quaff.model.states import JobState
from quaff.store import embedded
from tests.engines import Server
from tests.helpers import end_embedded, gone, wait_until
from tests.store.engine import HOUR, Desk, Dump, process_id
from tests.store.flows import seed, store

FULL = bool(os.environ.get("FULL"))
#: Among the last so many calls are the places to cut at, and with FULL=1 in the last so many commands is each byte one.
LAST = 50


class Kept:
    """A server that writes each call to its disk before it answers; it can be put back to any byte of that file."""

    def __init__(self) -> None:
        self.server = Server("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
        self.file = next((self.server.home / "appendonlydir").glob("*.incr.aof"))
        self._whole = b""

    def size(self) -> int:
        """Bytes on disk."""
        return self.file.stat().st_size

    def fail(self) -> bytes:
        """The power fails; what is on disk."""
        self.server.kill()
        self._whole = self.file.read_bytes()
        return self._whole

    @contextmanager
    def back_with(self, data: bytes) -> Iterator[None]:
        """The power is back for a while, and this is what the disk has."""
        self.file.write_bytes(data)
        self.server.start()
        try:
            yield
        finally:
            self.server.redis.connection_pool.disconnect()
            self.server.kill()


@pytest.fixture
def kept() -> Iterator[Kept]:
    """One of the test's own."""
    kept = Kept()
    yield kept
    kept.server.end()


def asks(number: int) -> Placement:
    """A job that holds a unique key, one within a limit, one that waits for its time and its turn."""
    wishes = (
        Wishes(0, 0, 0, Unique(on_conflict="replace"), (), None, None),
        Wishes(0, 0, 0, None, (Concurrency(4, key="host"),), None, None),
        Wishes(0, HOUR, 1, None, (), FairBy("user"), None),
    )
    return placement("task", wishes[number], {"user": number, "host": "h"})


def lives(desk: Desk, choice: random.Random) -> Iterator[None]:
    """Jobs of every kind come, run, end in every way, and are kept or given up; one call after the other."""
    one, two = process_id(), process_id()
    while True:
        desk.put(b"a", b"b", b"c")
        yield
        desk.place(*((b"placed", asks(number)) for number in range(3)))
        yield
        store(desk, [seed(0, "node")])
        yield
        held = desk.take(one, 4)
        yield
        choice.shuffle(held)
        for state, lease in zip((JobState.SUCCEEDED, JobState.FAILED, JobState.RETRYING), held, strict=False):
            desk.settle(one, lease, state=state, ttl_ms=HOUR)
            yield
        desk.release(one, *held[3:])
        yield
        unwanted = desk.put(b"not any more")
        yield
        desk.cancel(*unwanted)
        yield
        crashed = desk.take(two, 2)
        yield
        desk.reap(two, *(lease.id for lease in crashed[:1]))
        two = process_id()
        yield
        desk.sweep()
        yield


@pytest.mark.timeout(3600 if FULL else 60)
def test_a_power_cut_at_any_byte_leaves_whole_calls(kept: Kept, namespace: str) -> None:
    """F16, F17, I1, I3: what was answered is there as it was, what was not is there whole or not at all."""
    desk, choice = Desk(kept.server.url, namespace), random.Random(7)
    marks: list[tuple[int, Dump]] = []
    steps = lives(desk, choice)
    while len(marks) < LAST + 10:
        next(steps)
        if not marks or kept.size() > marks[-1][0]:  # a sweep that finds nothing writes nothing
            marks.append((kept.size(), desk.dump()))
    whole = kept.fail()
    sizes = [size for size, _ in marks]
    assert sizes[-1] == len(whole)
    calls = list(itertools.pairwise(sizes[-1 - LAST :]))[::2]
    cuts = [_place(number % 3, *call, choice) for number, call in enumerate(calls)]
    if FULL:
        at = len(whole)
        for _ in range(LAST):
            at = whole.rindex(b"\r\n*", 0, at)
        cuts += range(at, len(whole) + 1)
    for cut in cuts:
        _, expected = next(mark for mark in reversed(marks) if mark[0] <= cut)
        with kept.back_with(whole[:cut]):
            found = desk.dump()
            assert found == expected, f"cut at byte {cut} of {len(whole)}"
            desk.close()
    # And it goes on from there.
    with kept.back_with(whole[: sizes[-2] + 1]):
        desk.put(b"after that")
        assert desk.take(process_id(), idle=True)
        desk.sweep()
        desk.dump()
        desk.close()


def _place(kind: int, start: int, end: int, choice: random.Random) -> int:
    """Before a call, in it, or all but its last byte."""
    return (start, choice.randrange(start + 1, end), end - 1)[kind]


@pytest.mark.only("valkey", why="Debian's Redis 7 is older than WAITAOF")
def test_with_appendfsync_always_nothing_acknowledged_is_lost(kept: Kept) -> None:
    """F17: four threads send; the power fails after any of the answers: all that was answered by then is there."""
    quaff = Quaff(kept.server.url, namespace="cut", durability="fsync")
    task = quaff.task(lambda n: n, name="t")
    answered: list[tuple[int, str]] = []

    def send() -> None:
        for n in range(25):
            id = task.delay(n).id
            answered.append((kept.size(), id))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    quaff.store.endpoint.abandon_pool()
    whole = kept.fail()
    assert len(answered) == 100
    for place in (0, 24, 50, 99):
        on_disk = max(size for size, _ in answered[: place + 1])
        with kept.back_with(whole[:on_disk]):
            there = {str(quaff.job(id).state) for _, id in answered[: place + 1]}
            assert there == {"queued"}
            quaff.store.endpoint.abandon_pool()


def test_a_damaged_file_is_refused_until_somebody_has_looked_at_it(tmp_path: Path) -> None:
    """F19: nothing is served from half a file; the error says where to look, and what was before the damage is kept."""
    home = Path(f"/tmp/quaff-t{ids.new_raw().hex()[:12]}")
    quaff = Quaff(f"embedded://{home}", namespace="flaw")
    task = quaff.task(lambda n: n, name="t")
    jobs = [task.delay(n) for n in range(20)]
    info: Any = embedded.server_info(home)
    os.kill(info["pid"], 9)
    wait_until(lambda: gone(info["pid"]))
    file = next((home / "appendonlydir").glob("*.incr.aof"))
    data = bytearray(file.read_bytes())
    at = bytes(data).index(bytes.fromhex(jobs[10].id[-32:]))
    begin = bytes(data).rindex(b"*", 0, at)
    data[begin] = ord("!")
    file.write_bytes(data)
    with pytest.raises(ServerUnavailable, match=r"look into valkey.log there"):
        jobs[0].state  # noqa: B018
    assert "Bad file format" in (home / "valkey.log").read_text()
    program = embedded.find_binary()
    checker = tmp_path / program.name.replace("server", "check-aof")  # what it is called is what it does
    checker.symlink_to(program)
    # That of Valkey 9.1 does not know its own base file, so it is given the damaged one by name.
    subprocess.run([checker, "--fix", file], input=b"y\n", capture_output=True, check=True)
    quaff.store.endpoint.abandon_pool()
    assert {str(job.state) for job in jobs[:10]} == {"queued"}
    assert task.delay(1).state == "queued"
    quaff.store.endpoint.abandon_pool()
    end_embedded(home)
    shutil.rmtree(home)
