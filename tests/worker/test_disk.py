"""A server that loses what it had not saved, one whose disk or memory is full: said, waited for, and gone on with."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quaff import Quaff, QueueFull, ServerUnavailable, group
from quaff.store import embedded
from quaff.store.keys import partition
from quaff.store.queries import stats
from quaff.task import Task
from tests.chaos import ledger
from tests.engines import Server
from tests.helpers import Program, wait_until
from tests.lacking import may_mount, not_allowed
from tests.store.engine import Desk
from tests.worker import workapp
from tests.worker.support import ROOT

#: What a mount of its own, of a size of its own, is made with; ``$6`` is what follows ``--dir``.
SMALL = """#!/bin/sh
exec {unshare} sh -c 'mount -t tmpfs -o size={size} none "$6" && exec {program} "$@"' sh "$@"
"""


class Site:
    """The tasks of workapp.py on a server, and workers for them."""

    def __init__(self, server: Server, folder: Path, start: Callable[..., Program]) -> None:
        self.server = server
        self.folder = folder / "ledger"
        self.folder.mkdir()
        self.quaff = Quaff(server.url, namespace="disk", deadline=1)
        for name, task in workapp.quaff.tasks.items():
            self.quaff.tasks[name] = Task(self.quaff, task.name, task.fn, task.settings)
        self._start = start

    def worker(self, *arguments: str) -> Program:
        """One process, and its supervisor."""
        environment = {"QUAFF_URL": self.server.url, "QUAFF_NAMESPACE": "disk", ledger.FOLDER: str(self.folder)}
        return self._start(
            "tests.worker.workapp:quaff", "-p", "1", *arguments, cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)}
        )

    def runs(self) -> list[str]:
        """The tags of what has run, in any order."""
        return sorted(run.tag for run in ledger.runs(self.folder))

    def recorded(self) -> int:
        """How many jobs have succeeded, as the server has it."""
        return self.quaff.store.run(stats(partition("disk", "default")))["succeeded"]

    def close(self) -> None:
        """Its connections."""
        self.quaff.store.endpoint.abandon_pool()


def test_a_server_without_a_file_loses_what_it_had_not_saved_and_nothing_else(
    tmp_path: Path, start_worker: Callable[..., Program]
) -> None:
    """F14: killed, it comes back with its snapshot; a worker goes on with that, and with new jobs within 5 s."""
    with Server() as server:
        site = Site(server, tmp_path, start_worker)
        mark = site.quaff.tasks["mark"]
        saved = mark.map([(f"saved {n}",) for n in range(10)])
        server.redis.save()
        lost = mark.map([(f"lost {n}",) for n in range(5)])
        server.kill()
        server.start()
        worker = site.worker()
        assert [job.result(timeout=10) for job in saved] == [f"saved {n}" for n in range(10)]
        assert site.runs() == sorted(f"saved {n}" for n in range(10))
        with pytest.raises(LookupError):
            lost[0].info()
        # And with a worker that is there all the time. The snapshot is from before those jobs ended, so they run again.
        server.kill()
        server.start()
        back = time.monotonic()
        assert mark.delay("new").result(timeout=5) == "new"
        assert time.monotonic() - back < 5
        wait_until(lambda: site.recorded() == 11, 15, "the end of those that the server has again")
        assert {tag: site.runs().count(tag) for tag in set(site.runs())} == {
            **{f"saved {n}": 2 for n in range(10)},
            "new": 1,
        }
        assert worker.stop() == 0
        site.close()


@pytest.mark.early
def test_a_full_memory_refuses_new_jobs_and_all_others_end_and_make_room(
    tmp_path: Path, start_worker: Callable[..., Program]
) -> None:
    """F23, F44: a job, a bulk call, a flow are refused; results as large as their jobs are kept, and make room."""
    with Server() as server:
        site = Site(server, tmp_path, start_worker)
        mark = site.quaff.tasks["mark"]
        tags = [f"{n:03} {'x' * 100_000}" for n in range(60)]
        jobs = mark.map([(tag,) for tag in tags])
        cancelled = mark.delay("cancelled")
        server.redis.config_set("maxmemory", server.redis.info("memory")["used_memory"])
        sends: list[Callable[[], Any]] = [
            lambda: mark.delay("refused"),
            lambda: mark.options(delay=60).delay("refused"),
            lambda: mark.map([("refused",)] * 10),
            group(mark.s("refused"), mark.s("refused")).delay,
        ]
        for send in sends:
            with pytest.raises(QueueFull, match="has no memory left for new jobs") as caught:
                send()
            assert caught.value.retry_after > 0
            assert caught.value.jobs == []
        assert cancelled.cancel()
        worker = site.worker("-c", "8")
        # Each result is asked for while there is no room, and taken: then it is gone, and its room is free.
        assert [job.take(timeout=20) for job in jobs] == tags
        assert {site.runs().count(tag) for tag in tags} == {1}

        def sent() -> Any:
            try:
                return mark.delay("there is room")
            except QueueFull:
                return None

        # Nobody has given it more memory.
        assert wait_until(sent, 10, "room").result(timeout=10) == "there is room"
        assert "refused" not in site.runs()
        assert worker.stop() == 0, worker.output
        site.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """A server whose disk has four MiB."""
    unshare = ["unshare", "-m" if may_mount() else "-rm"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        not_allowed(f"needs the right to mount in a namespace of its own ({' '.join(unshare)})")
    program = tmp_path / "small"
    program.write_text(SMALL.format(unshare=" ".join(unshare), size="4m", program=embedded.find_binary()))
    program.chmod(0o755)
    with Server("--appendonly", "yes", program=str(program)) as server:
        yield server


def test_a_full_disk_refuses_what_would_be_written_and_loses_nothing(
    small: Server, tmp_path: Path, start_worker: Callable[..., Program]
) -> None:
    """F22, F44: a typed error for new jobs; what runs ends and waits to be recorded; with room again all drains."""
    site = Site(small, tmp_path, start_worker)
    mark, gate = site.quaff.tasks["mark"], site.quaff.tasks["gate"]
    worker = site.worker("-c", "4")
    path = tmp_path / "go"
    running = [gate.delay(f"running {n}", str(path)) for n in range(4)]
    waiting = mark.map([(f"waiting {n}",) for n in range(50)])
    wait_until(lambda: len(site.runs()) == 4, what="the start of four jobs")
    filler = Path(f"/proc/{small.process.pid}/root{small.home}/filler")
    stored: list[Any] = []

    def fill_and_send() -> str:
        _fill(filler)
        try:
            stored.append(mark.delay(f"stored {len(stored)}"))
        except ServerUnavailable as error:
            return str(error)
        return ""

    said = wait_until(fill_and_send, what="a refusal")
    assert "MISCONF" in said
    assert "Nothing was stored" in said
    path.touch()
    wait_until(lambda: all(run.ended for run in ledger.runs(site.folder) if run.tag.startswith("running")))
    # Nothing of it can be recorded, and nobody gives up or turns in a circle.
    with pytest.raises(ServerUnavailable, match="MISCONF"):
        mark.delay("refused")
    assert {str(job.state) for job in running} == {"running"}
    assert worker.process.poll() is None
    assert len(worker.stderr) < 30, worker.output
    filler.unlink()
    for job in [*running, *waiting, *stored]:
        job.result(timeout=20)
    assert mark.delay("last").result(timeout=10) == "last"
    names = [f"running {n}" for n in range(4)] + [f"waiting {n}" for n in range(50)]
    assert site.runs() == sorted([*names, *(f"stored {n}" for n in range(len(stored))), "last"])
    assert worker.stop() == 0
    desk = Desk(small.url, "disk", queue="default")
    assert not desk.dump().active
    desk.close()
    site.close()


def _fill(path: Path) -> None:
    """Until there is no room on its disk."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
