"""What a page costs the server, and whether its numbers are true: every page, with a few thousand jobs or a million."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from flask import Flask

from bench.server import Server
from quaff import Inspector
from quaff.dashboard import create_dashboard
from quaff.dashboard.assets import version
from quaff.inspector.bulk import MOST as MOST_CHOSEN
from tests.dashboard.conftest import ROOT, Site
from tests.dashboard.full import QUEUES, Tabs, audited, fill, numbers, sent_to, standing_still, tiles
from tests.helpers import Program, python, wait_until

#: Commands for one page: two or three for each queue, however many jobs it has.
MOST = 12
pytestmark = pytest.mark.only("valkey", why="what is counted is what one server is sent")
STATES = "queued running scheduled retrying failed succeeded cancelled expired".split()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of its own, so that nobody else's commands are counted."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Jobs in every state, and a worker that is stopped as it stands: it is seen, and sends nothing."""
    site = Site(server.url, tmp_path_factory.mktemp("site"))
    fill(site, 3000)
    worker = site.start_worker("-Q", "default,mail")
    site.fill()
    wait_until(lambda: Inspector(site.quaff).workers(), 10, "the worker's word")
    with standing_still(worker):
        yield site
    site.gate.touch()
    worker.end()


def pages(app: Flask, site: Site) -> list[str]:
    """Every page that can be asked for, of those that there are, with values that there are; lists with each filter."""
    values = {"stamp": version(), "rest": "nowhere"}
    ids = {"flow": site.flow.id, "worker_drain": Inspector(site.quaff).workers()[0].id}
    adapter = app.url_map.bind("localhost")
    found = []
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.endpoint.endswith((".static", ".nowhere")):
            continue
        name = rule.endpoint.rpartition(".")[2]
        own = {
            **values,
            "id": ids.get(name, site.jobs["failed"].id),
            "name": "give" if name == "task" else "mail",
        }
        found.append(adapter.build(rule.endpoint, {each: own[each] for each in rule.arguments}))
    found += [f"/jobs?state={state}" for state in STATES]
    found += [f"/jobs?state={state}&q=task:nobody" for state in STATES]
    found += [f"/jobs/{job.id}" for job in site.jobs.values()]
    return [*found, "/jobs?state=failed&q=task:give+error:OSError+queue:mail", "/tasks/give?span=week"]


def test_every_page_asks_the_server_few_things(server: Server, site: Site) -> None:
    """However many jobs there are; the first screen is one look at each queue."""
    few_commands(server, site)


def few_commands(server: Server, site: Site) -> None:
    """Commands of each page."""
    app = dashboard(site)
    client = app.test_client()
    told = {}
    for url in pages(app, site):
        client.get(url)  # scripts are told once, and who counts partitions does so now and then
        with sent_to(server) as sent:
            answer = client.get(url)
        assert answer.status_code == 200, url
        told[url] = len(sent)
    print(told)
    assert told["/"] == told["/queues"] == len(QUEUES)
    assert max(told.values()) <= MOST, told


def test_the_numbers_on_every_page_are_those_of_the_audit(site: Site) -> None:
    """Tiles, tables, tabs; and as many jobs are listed as are counted."""
    true_numbers(site)


def true_numbers(site: Site) -> None:
    """Of every page."""
    true_ones = audited(site)
    totals = {state: sum(each[state] for each in true_ones.values()) for state in true_ones["mail"]}
    assert totals["queued"] > 1000
    assert totals["failed"] > 10
    assert totals["running"] == 1
    client = dashboard(site).test_client()

    def shown(url: str) -> str:
        return client.get(url).text

    assert tiles(shown("/")) == {state: totals[state] for state in ("queued", "running", "scheduled", "failed")}
    columns = {"queued": 1, "running": 2, "failed": 3}
    assert numbers(shown("/"), columns) == {
        queue: {state: each[state] for state in columns} for queue, each in true_ones.items()
    }
    columns = {"queued": 2, "running": 3, "scheduled": 4, "blocked": 5, "failed": 6}
    assert numbers(shown("/queues"), columns) == true_ones
    for queue in QUEUES:
        assert tiles(shown(f"/queues/{queue}")) == true_ones[queue]
    for state in STATES:
        assert tiles(shown(f"/jobs?state={state}")) == {name: totals[name] for name in totals if name != "blocked"}
    inspector = Inspector(site.quaff, QUEUES)
    for state in ("failed", "running", "scheduled", "queued"):
        chosen = inspector.matching("cancel" if state != "failed" else "retry", f"state:{state}")
        assert len(set(chosen.ids)) == len(chosen.ids) == min(totals[state], MOST_CHOSEN)


#: Sends a thousand jobs a second, in tens.
FLOW = """
import sys, time
from quaff import Quaff
quaff = Quaff()
@quaff.task(name="give")
def give(value): ...
at = time.monotonic()
while True:
    give.map([(number,) for number in range(10)])
    at += 0.01
    time.sleep(max(0.0, at - time.monotonic()))
"""
TABS = (
    *("/", "/jobs?state=failed", "/jobs?state=queued", "/jobs?state=failed&q=task:nobody", "/queues"),
    *("/queues/default", "/failures", "/workers", "/tasks", "/tasks/give"),
)


@pytest.mark.skipif(not os.environ.get("FULL"), reason="FULL=1 takes the million")
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_million_jobs_and_a_thousand_a_second_in_ten_tabs(
    tmp_path: Path, running: Callable[[Program], Program]
) -> None:
    """Every page is there within 200 ms, costs the server next to nothing, and says what the audit says."""
    with Server(tmp_path) as server:
        site = Site(server.url, tmp_path)
        fill(site, 1_000_000)
        worker = running(site.start_worker("-Q", "default,mail"))
        site.fill()
        words = ("-m", "quaff", "dashboard", "-A", "tests.dashboard.shop:quaff", "-Q", ",".join(QUEUES), "-p", "0")
        board = running(python(*words, cwd=ROOT, env=site.environment))
        (base,) = wait_until(lambda: re.findall(r"http://127.0.0.1:\d+", board.output), 20, "its address")
        flow = running(python("-c", FLOW, env=site.environment))
        wait_until(lambda: Inspector(site.quaff, QUEUES).tasks(), 20, "the flow")
        without = [share(server, site, 15)]
        with Tabs(base, TABS) as tabs:
            with_tabs = share(server, site, 40)
        without.append(share(server, site, 15))
        flow.stop()
        wait_until(lambda: site.quaff.queue("default").stats().queued == 0, 30, "the end of the flow")
        every = [seconds for several in tabs.took.values() for seconds in several]
        slowest = {path: round(1000 * statistics.quantiles(several, n=20)[-1]) for path, several in tabs.took.items()}
        p50, p95 = (1000 * statistics.quantiles(every, n=20)[place] for place in (9, 18))
        ours = with_tabs.cpu - statistics.mean(each.cpu for each in without)
        looks = with_tabs.looks - statistics.mean(each.looks for each in without)
        print(f"{len(every)} pages, {tabs.same} unchanged: p50 {p50:.0f} ms, p95 {p95:.0f} ms; of each {slowest}")
        print(f"before, with and after the tabs {without[0]}, {with_tabs}, {without[1]}")
        print(f"of a core the server takes {ours:.2%} more, and for scripts that only look {looks:.2%} more")
        with standing_still(worker):
            few_commands(server, site)
            true_numbers(site)
        site.gate.touch()
        assert p95 < 200
        assert looks < 0.02


class Share(NamedTuple):
    """Jobs that end in a second, and of a core what the server takes, in all and for scripts that only look."""

    jobs: float
    cpu: float
    looks: float


def share(server: Server, site: Site, seconds: float) -> Share:
    """Of so many seconds."""
    ended = site.quaff.queue("default").stats().succeeded
    looks, before, began = _looks(server), server.counters(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    looks, cpu = _looks(server) - looks, server.counters().since(before).cpu
    ended = site.quaff.queue("default").stats().succeeded - ended
    return Share(*(round(each, 4) for each in (ended / took, cpu / took, looks / 1e6 / took)))


def _looks(server: Server) -> int:
    return int(server.client.info("commandstats").get("cmdstat_evalsha_ro", {}).get("usec", 0))


def dashboard(site: Site) -> Flask:
    """With all of its queues."""
    return create_dashboard(site.quaff, auth=lambda _: "admin", queues=QUEUES)
