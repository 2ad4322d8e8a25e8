"""An application in production's shapes: queues a, b and c, a worker for them, and a producer that never rests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from quaff import EnqueueError, EnqueueUnknown, Job, Quaff
from quaff.errors import QuaffError
from quaff.store.keys import partition
from quaff.store.queries import stats
from quaff.task import Task
from tests.chaos import ledger
from tests.engines import Cluster, Server
from tests.helpers import Program
from tests.worker import engineapp
from tests.worker.support import ROOT

QUEUES = ("a", "b", "c")


class Site:
    """One test's namespace on a server or cluster, and a worker for it.

    Args:
        url: where.
        folder: for the ledger.
        start: the fixture ``start_worker``.
        namespace: one of its own.
    """

    def __init__(self, url: str, folder: Path, start: Callable[..., Program], namespace: str = "") -> None:
        self.url = url
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.namespace = namespace or f"n{uuid4().hex[:12]}"
        self.quaff = Quaff(url, namespace=self.namespace)
        for name, task in engineapp.quaff.tasks.items():
            self.quaff.tasks[name] = Task(self.quaff, task.name, task.fn, task.settings)
        self._start = start

    def worker(self, *arguments: str, **settings: str) -> Program:
        """One process, and its supervisor; ``settings``: ``LEASE="2"``."""
        environment = {
            "QUAFF_URL": self.url,
            "QUAFF_NAMESPACE": self.namespace,
            ledger.FOLDER: str(self.folder),
            "PYTHONPATH": str(ROOT),
            **{f"QUAFF_{name}": value for name, value in settings.items()},
        }
        return self._start("tests.worker.engineapp:quaff", "-p", "1", *arguments, cwd=ROOT, env=environment)

    def send(self, name: str, *arguments: Any, **options: Any) -> Job[Any]:
        """Enqueue one."""
        return self.quaff.tasks[name].options(**options).delay(*arguments)

    def slot(self, queue: str) -> int:
        """Where a queue is."""
        return partition(self.namespace, queue).slot

    def recorded(self, queue: str) -> int:
        """How many jobs of a queue the server has as succeeded, counted once each."""
        return self.counts(queue)["succeeded"]

    def counts(self, queue: str) -> dict[str, int]:
        """What the server has of a queue."""
        found: dict[str, int] = self.quaff.store.run(stats(partition(self.namespace, queue)))
        return found

    def close(self) -> None:
        """Close the connections of this process."""
        self.quaff.store.endpoint.abandon_pool()
        self.quaff.store.endpoint.tidy()


def spread(cluster: Cluster) -> str:
    """A namespace whose queues are on three different nodes."""
    for number in range(1000):
        name = f"n{time.monotonic_ns()}x{number}"
        if len({cluster.owner(partition(name, queue).slot) for queue in QUEUES}) == 3:
            return name
    raise AssertionError("no such namespace")


class Producer:
    """A thread that sends numbered jobs until it is told to stop; what fails is kept and not sent again.

    Args:
        site: where to.
        queue: which.
        primary: who will take the next job, if anybody; without it no job has to be kept by a replica.
        replicas: how many of its there are.

    Attributes:
        jobs: all that were acknowledged, by their number.
        kept: the numbers of those that nothing may lose: all replicas had them before the primary could die.
        refused: the errors; each took no longer than ``slowest`` seconds.
    """

    def __init__(
        self, site: Site, queue: str, primary: Callable[[], Server | None] | None = None, replicas: int = 1
    ) -> None:
        self.jobs: dict[int, Job[Any]] = {}
        self.kept: set[int] = set()
        self.refused: list[Exception] = []
        self.slowest = 0.0
        self._primary = primary
        self._replicas = replicas
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(site, queue))
        self._thread.start()

    def _work(self, site: Site, queue: str) -> None:
        number, mark = 0, f"{{{site.namespace}/{queue}#0}}"
        while not self._over.wait(0.002):
            number += 1
            primary = self._primary() if self._primary else None
            began = time.monotonic()
            try:
                self.jobs[number] = site.send("add", number, queue=queue)
            except (EnqueueError, EnqueueUnknown) as error:
                self.refused.append(error)
            except QuaffError as error:  # a kind that nobody expects here: the test says which
                self.refused.append(error)
                return
            self.slowest = max(self.slowest, time.monotonic() - began)
            if number in self.jobs and (not self._primary or (primary and self._replicated(primary, mark))):
                self.kept.add(number)

    def _replicated(self, primary: Server, mark: str) -> bool:
        """Whether all replicas have all that this server, if it is the primary still, has written by now."""
        try:
            with primary.client().pipeline(transaction=False) as pipe:
                # WAIT is about what its own connection has written; replication keeps the order of all.
                pipe.set(mark, 1).execute_command("WAIT", self._replicas, 300)
                return bool(pipe.execute()[1] >= self._replicas)
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join(20)
