"""A site with jobs in every state, its worker, and its dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from quaff import Flow, Inspector, Job, Quaff, chain, group
from quaff.dashboard import Role, create_dashboard
from quaff.task import Task
from tests import helpers
from tests.dashboard import shop
from tests.helpers import Program, wait_until
from tests.matrix import WORKER, known_as

ROOT = Path(__file__).parents[2]
#: What a browser says of a form that one of our pages has sent.
OURS = {"Sec-Fetch-Site": "same-origin"}


class Site:
    """One namespace.

    Attributes:
        quaff: the application.
        jobs: one job in each state, by the state's name.
        flow: one that has succeeded.
        gate: a file; the running job ends when it is there.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.namespace = f"d{uuid4().hex[:12]}"
        self.quaff = Quaff(url, namespace=self.namespace)
        for name, task in shop.quaff.tasks.items():
            self.quaff.tasks[name] = Task(self.quaff, task.name, task.fn, task.settings)
        self.gate = folder / "gate"
        self.jobs: dict[str, Job[object]] = {}
        self.environment = {"QUAFF_URL": url, "QUAFF_NAMESPACE": self.namespace, "PYTHONPATH": str(ROOT)}

    def start_worker(self, *words: str) -> Program:
        """One process that serves it."""
        env = self.environment | {"QUAFF_URL": known_as(WORKER, self.environment["QUAFF_URL"])}
        return helpers.start_worker("tests.dashboard.shop:quaff", "-p", "1", *words, cwd=ROOT, env=env)

    def send(self, name: str, *arguments: object, **options: object) -> Job[object]:
        """One call."""
        return self.quaff.tasks[name].options(**options).delay(*arguments)  # type: ignore[arg-type]

    def fill(self) -> None:
        """A job in each state, and a flow; beside a worker."""
        hostile = shop.HOSTILE
        self.jobs = {
            "succeeded": self.send("mail.send", 1, hostile),
            "failed": self.send("mail.send", 3, hostile),
            "running": self.send("wait.for", str(self.gate)),
            "scheduled": self.send("mail.send", 4, hostile, delay=600),
            "queued": self.send("give", hostile, queue="idle"),
            "cancelled": self.send("give", 1, queue="idle"),
        }
        self.jobs["cancelled"].cancel(hostile)
        add, total = self.quaff.tasks["add"], self.quaff.tasks["total"]
        self.flow: Flow[int] = chain(group(add.s(1, 2), add.s(3, 4)), total.s()).delay()
        assert self.flow.result(20) == 10
        for state, job in self.jobs.items():
            wait_until(lambda job=job, state=state: job.state == state, 20, f"{state}, is {job.state}")  # type: ignore[misc]
        wait_until(lambda: self.quaff.schedules.get("weekdays"), 20)
        # Workers tell what they have counted a second later: until then a page may change between two looks at it.
        wait_until(lambda: self._attempts() == {"mail.send": 3, "add": 2, "total": 1}, 20, "its counts")

    def _attempts(self) -> dict[str, int]:
        rows = Inspector(self.quaff).tasks()
        return {row.name: row.total.ended + row.total.retried for row in rows}

    def app(self, role: Role | None = "admin") -> Flask:
        """The dashboard, for somebody of that role."""
        return create_dashboard(self.quaff, auth=lambda _: role)

    def client(self, role: Role | None = "admin") -> FlaskClient:
        """A browser of that role."""
        return self.app(role).test_client()


@pytest.fixture(scope="session")
def site(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests that change nothing in it."""
    site = Site(server_url, tmp_path_factory.mktemp("site"))
    worker = site.start_worker("-Q", "default,mail")
    site.fill()
    yield site
    site.gate.touch()
    worker.end()


@pytest.fixture
def own_site(server_url: str, tmp_path: Path) -> Site:
    """One without a worker, for a test that changes something."""
    return Site(server_url, tmp_path)


@pytest.fixture
def worker(own_site: Site, running: Callable[[Program], Program]) -> Program:
    """A worker of ``own_site``."""
    return running(own_site.start_worker())
