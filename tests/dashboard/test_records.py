"""S20: whatever an operator does in the dashboard is written down, with his name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import pytest
from flask.testing import FlaskClient

from quaff import Quaff, chain
from quaff.dashboard import create_dashboard
from quaff.queues import Change, Queue
from tests.dashboard.conftest import OURS, Site
from tests.helpers import Program, wait_until

Act = tuple[str, Mapping[str, str]]


class Operator:
    """Somebody with a name, and what he may do something about.

    Args:
        site: with a worker of its queues ``default`` and ``mail``.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        quaff = Quaff(
            site.environment["QUAFF_URL"],
            namespace=site.namespace,
            dashboard_user="ann",
            dashboard_password="s3cret",
        )
        quaff.tasks.update(site.quaff.tasks)
        self.app = create_dashboard(quaff)
        self.client: FlaskClient = self.app.test_client()

    def post(self, act: Act) -> None:
        """Do it."""
        url, form = act
        answer = self.client.post(url, data=form, headers=OURS, auth=("ann", "s3cret"))
        assert answer.status_code in (200, 303), (url, answer.text)
        assert "done=nothing" not in answer.headers.get("Location", ""), url
        answer.get_data()  # what is streamed is done by whoever reads it

    def failed(self) -> str:
        """The id of a dead letter."""
        job = self.site.send("mail.send", 3, "x")
        wait_until(lambda: job.state == "failed", 20, "a dead letter")
        return job.id

    def waits(self, queue: str = "mail") -> str:
        """The id of a job that waits for its time."""
        return self.site.send("give", 1, queue=queue, delay=3600).id

    def runs(self) -> str:
        """The id of a job that runs."""
        job = self.site.send("wait.for", str(self.site.gate))
        wait_until(lambda: job.state == "running", 20, "a job that runs")
        return job.id

    def flow(self) -> str:
        """The id of a flow that has not ended."""
        tasks = self.site.quaff.tasks
        return chain(tasks["add"].options(delay=3600).s(1, 2), tasks["give"].s()).delay().id

    def failed_flow(self) -> str:
        """The id of a flow that has failed."""
        tasks = self.site.quaff.tasks
        flow = chain(tasks["mail.send"].s(3, "x"), tasks["give"].s()).delay()
        wait_until(lambda: flow.state == "failed", 20, "a flow that fails")
        return flow.id

    def worker(self) -> str:
        """The id of the worker."""
        page = "/workers"
        found: list[str] = wait_until(
            lambda: re.findall(r"/workers/(\w+)/drain", self.client.get(page, auth=("ann", "s3cret")).text), 20
        )
        return found[0]


def _paused(operator: Operator) -> Act:
    operator.site.quaff.queue("mail").pause()
    return "/queues/mail/resume", {}


def _scheduled(operator: Operator) -> Act:
    operator.site.quaff.schedules.pause("weekdays")
    return "/schedules/weekdays/resume", {}


def _waiting(operator: Operator) -> Act:
    operator.site.send("give", 1, queue="idle")
    return "/queues/idle/purge", {}


#: For each route that changes something: what is sent there, what the record calls it, and in which queue it is.
ACTS: dict[str, tuple[Callable[[Operator], Act], str, str]] = {
    "queue_pause": (lambda _: ("/queues/mail/pause", {}), "pause", "mail"),
    "queue_resume": (_paused, "resume", "mail"),
    "queue_purge_now": (_waiting, "purge", "idle"),
    "job_cancel": (lambda he: (f"/jobs/{he.waits()}/cancel", {}), "cancel", "mail"),
    "job_requeue": (lambda he: (f"/jobs/{he.failed()}/requeue", {}), "retry", "mail"),
    "job_discard": (lambda he: (f"/jobs/{he.failed()}/discard", {}), "discard", "mail"),
    "job_stack": (lambda he: (f"/jobs/{he.runs()}/stack", {}), "stack", "default"),
    "bulk": (
        lambda he: ("/jobs/bulk", {"do": "cancel", "state": "scheduled", "id": he.waits()}),
        "cancel",
        "mail",
    ),
    "schedule_run": (lambda _: ("/schedules/weekdays/run", {}), "schedule run", "default"),
    "schedule_pause": (lambda _: ("/schedules/weekdays/pause", {}), "schedule pause", "default"),
    "schedule_resume": (_scheduled, "schedule resume", "default"),
    "flow_cancel": (lambda he: (f"/flows/{he.flow()}/cancel", {}), "flow cancel", "default"),
    "flow_requeue": (lambda he: (f"/flows/{he.failed_flow()}/requeue", {}), "flow requeue", "mail"),
    "worker_drain_now": (lambda he: (f"/workers/{he.worker()}/drain", {}), "drain", "default"),
}


@pytest.fixture
def operator(own_site: Site, worker: Program) -> Iterator[Operator]:
    """Of a site whose schedule is known by now."""
    wait_until(lambda: own_site.quaff.schedules.get("weekdays"), 20, "what the code declares")
    yield Operator(own_site)
    own_site.gate.touch()


def test_every_act_is_written_down_with_who_did_it(operator: Operator) -> None:
    """S20: of each route that there is: who did what, and to what; the page of its queue shows it."""
    routes = {
        rule.endpoint.partition(".")[2] for rule in operator.app.url_map.iter_rules() if "POST" in (rule.methods or ())
    }
    assert routes == ACTS.keys(), "a new act needs a line here"
    for name, (prepare, word, where) in ACTS.items():
        url, form = prepare(operator)
        queue = operator.site.quaff.queue(where)
        before = _by_ann(queue)
        operator.post((url, form))
        new = _by_ann(queue)[: -len(before) or None]
        assert [(each.who, each.what) for each in new] == [("ann@127.0.0.1", word)], name
        if url.startswith(("/jobs", "/flows", "/schedules")):
            assert form.get("id", url.split("/")[2]) in new[0].about, name
    for name in ("mail", "default", "idle"):
        page = operator.client.get(f"/queues/{name}", auth=("ann", "s3cret")).text
        assert page.count("ann@127.0.0.1") == len(_by_ann(operator.site.quaff.queue(name))) > 0


def _by_ann(queue: Queue) -> list[Change]:
    """Her changes there, the newest first; what is prepared is done by somebody else."""
    return [each for each in queue.changes() if each.who.startswith("ann@")]


def test_what_is_refused_is_not_written_down(operator: Operator) -> None:
    """S20: of a viewer, of somebody without a name, and of another site's page."""
    job = operator.waits()
    url = f"/jobs/{job}/cancel"
    assert operator.client.post(url, headers=OURS).status_code == 401
    theirs = {"Sec-Fetch-Site": "cross-site"}
    assert operator.client.post(url, headers=theirs, auth=("ann", "s3cret")).status_code == 403
    assert operator.site.client("viewer").post(url, headers=OURS).status_code == 403
    assert operator.site.quaff.queue("mail").changes() == []
    assert operator.site.quaff.job(job).state == "scheduled"
