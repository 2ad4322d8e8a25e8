"""A stage for one scenario: a namespace, a ledger, workers on it, and everything gone at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from quaff import Job, Quaff
from quaff.model import ids, message
from quaff.store.keys import partition
from quaff.task import Task
from tests import helpers
from tests.chaos import fleet, ledger
from tests.chaos.ledger import Run
from tests.helpers import Program, gone, wait_until
from tests.matrix import WORKER, known_as, plain
from tests.worker import workapp

ROOT = Path(__file__).parents[2]


class Stage:
    """One scenario's own namespace on a server, with its ledger.

    Args:
        url: the server.
        folder: for the ledger and other files.

    Attributes:
        quaff: sends the tasks of workapp.py.
        folder: where files may be put.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.namespace = f"s{uuid4().hex[:12]}"
        self.ledger = folder / f"ledger-{self.namespace}"
        self.ledger.mkdir(parents=True)
        self.url = url
        self.quaff = Quaff(url, namespace=self.namespace)
        self.sends(workapp.quaff)
        self.mark = f"STAGE={self.namespace}"
        self._programs: list[Program] = []

    # Doing

    def worker(
        self,
        *arguments: str,
        app: str = "tests.worker.workapp:quaff",
        ready: bool = True,
        cwd: Path = ROOT,
        environment: Mapping[str, str] = MappingProxyType({}),
        **settings: str,
    ) -> Program:
        """Start a worker on this stage; ``settings``: ``LEASE="2"``; ``environment`` is for the application."""
        own = self.environment() | {"QUAFF_URL": known_as(WORKER, self.url)}
        own |= {f"QUAFF_{name}": value for name, value in settings.items()} | dict(environment)
        program = helpers.start_worker(app, *arguments, cwd=cwd, env=own, ready=False)
        self._programs.append(program)
        if ready:
            program.wait_for("ready")
        return program

    def command(
        self, *command: str, cwd: Path = ROOT, environment: Mapping[str, str] = MappingProxyType({})
    ) -> Program:
        """Start any program on this stage; a worker with the rights of one."""
        rights = {"QUAFF_URL": known_as(WORKER, self.url)} if "worker" in command else {}
        self._programs.append(Program(*command, cwd=cwd, env=self.environment() | rights | dict(environment)))
        return self._programs[-1]

    def environment(self) -> dict[str, str]:
        """What tells a program which stage it is on."""
        return {
            "QUAFF_URL": self.url,
            "QUAFF_NAMESPACE": self.namespace,
            "STAGE": self.namespace,
            ledger.FOLDER: str(self.ledger),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }

    def send(self, name: str, *arguments: Any, **options: Any) -> Job[Any]:
        """Enqueue one call of a task of workapp.py."""
        return self.quaff.tasks[name].options(**options).delay(*arguments)

    def sends(self, app: Quaff) -> Quaff:
        """``quaff``, which from now on sends the tasks of another application as well."""
        for name, task in app.tasks.items():
            self.quaff.tasks[name] = Task(self.quaff, task.name, task.fn, task.settings)
        return self.quaff

    def many(self, name: str, calls: Sequence[tuple[Any, ...]], **options: Any) -> list[Job[Any]]:
        """Enqueue many calls."""
        return self.quaff.tasks[name].options(**options).map(calls)

    def learn_tiny(self, count: int = 400) -> None:
        """Have the worker find out that jobs are tiny, so that it claims many in advance."""
        for job in self.many("tiny", [()] * count):
            job.result(timeout=20)

    def file(self) -> Path:
        """A path where nothing is yet."""
        return self.folder / uuid4().hex

    def forge(self, pipe: Any, name: str, *arguments: Any) -> bytes:
        """Store a job's message without giving the job a place; returns its id."""
        raw = ids.new_raw()
        pipe.hset(self.key("msg"), raw, message.encode(name, list(arguments), {}))
        pipe.hincrby(self.key("meta"), "enqueued", 1)
        return raw

    # Looking

    def runs(self, tag: str | None = None) -> list[Run]:
        """The runs so far, all or those of one tag."""
        return [run for run in ledger.runs(self.ledger) if tag in (None, run.tag)]

    def started(self, tag: str, count: int = 1, timeout: float = 15.0) -> Run:
        """The run of that number, waited for."""
        wait_until(lambda: len(self.runs(tag)) >= count, timeout, f"start {count} of {tag}: {self.runs(tag)}")
        return self.runs(tag)[count - 1]

    def raw(self) -> Any:
        """A plain client of the server."""
        return plain(self.url)

    def key(self, name: str, queue: str = "default") -> bytes:
        """A key of one of this stage's queues."""
        return partition(self.namespace, queue).key(name)

    def leases(self, queue: str = "default") -> dict[bytes, float]:
        """The processes that have a lease, and how many seconds of it are left."""
        raw = self.raw()
        now = raw.time()
        now_ms = now[0] * 1000 + now[1] / 1000
        return {each: (at - now_ms) / 1000 for each, at in raw.zrange(self.key("lease", queue), 0, -1, withscores=True)}

    def processes(self) -> list[fleet.Process]:
        """What lives of this stage's workers, guards and programs of tasks."""
        return fleet.marked(self.mark)

    # Ending

    def end(self) -> None:
        """Everything of this stage is gone."""
        while living := self.processes():
            for process in living:
                kill(process.pid)
            wait_until(lambda living=living: all(gone(each.pid) for each in living), 10, "the end of a stage")
        for program in self._programs:
            program.end()


def children(worker: Program) -> list[int]:
    """The pids of a worker's processes."""
    return fleet.children(worker.pid)


def tree(stage: Stage, worker: Program) -> list[int]:
    """A worker's supervisor, guard and processes, in the order in which a signal does the least by halves."""
    living = stage.processes()
    mine = [each.pid for each in living if each.parent == worker.pid]
    return [worker.pid, *mine, *(each.pid for each in living if each.parent in mine)]


def kill(pid: int, number: int = signal.SIGKILL) -> float:
    """Send a signal to a process of a test; the ledger's time just before."""
    before = ledger.now()
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    return before


def after(seconds: float) -> None:
    """Let time pass where only that is what is tested."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, seconds + 30)


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_of(pid: int, seconds: float = 2.0) -> float:
    """The share of one core that a process uses for a while."""
    before, since = cpu(pid), time.monotonic()
    after(seconds)
    return (cpu(pid) - before) / (time.monotonic() - since)


def side_by_side(*scenarios: Callable[[], None]) -> None:
    """Run scenarios at the same time; raises what went wrong in them, together."""
    with ThreadPoolExecutor(len(scenarios)) as pool:
        futures = [pool.submit(scenario) for scenario in scenarios]
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise BaseExceptionGroup("scenarios that failed", errors)
