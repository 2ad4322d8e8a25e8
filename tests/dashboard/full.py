"""A site with very many jobs, what is counted of it beside its pages, and tabs that show these."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bench.server import Server
from quaff.audit.auditor import Audit
from quaff.audit.closeup import walk
from quaff.model import message, outcome
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.placement import Wishes, placement
from quaff.model.states import JobState
from quaff.store.keys import partition
from quaff.store.pages import partitions
from quaff.store.probe import Line, lines
from tests.dashboard.conftest import Site
from tests.helpers import Program, wait_until
from tests.store.engine import HOUR, Desk, process_id
from tests.worker.support import children, kill

QUEUES = ("bulk", "default", "mail")
#: Of all jobs: the parts that wait in line (all in the first queue, which no worker serves), wait for their time, were
#: given up, have succeeded.
PARTS = {"queued": 0.6, "scheduled": 0.2, "failed": 0.005, "succeeded": 0.195}


def fill(site: Site, count: int) -> None:
    """So many jobs, spread over the queues, as workers would have left them."""
    messages = [message.encode("give", [number], {}) for number in range(100)]
    for queue in QUEUES:
        desk = Desk(site.environment["QUAFF_URL"], site.namespace, queue=queue)
        parts = {name: int(count * part / len(QUEUES)) for name, part in PARTS.items()}
        for state in (JobState.FAILED, JobState.SUCCEEDED):
            me, left = process_id(), parts[state]
            while left > 0:
                some = min(left, 100)
                desk.put(*messages[:some])
                desk.settle(me, *desk.take(me, some), state=state, record=_record(state))
                left -= some
        due = placement("give", Wishes(0, 1000 * HOUR, 0, None, (), None, None), {})
        for at in range(0, parts["scheduled"], 15):
            desk.place(*((each, due) for each in messages[: min(15, parts["scheduled"] - at)]))
        waiting = int(count * PARTS["queued"]) if queue == QUEUES[0] else 0
        for at in range(0, waiting, 100):
            desk.put(*messages[: min(100, waiting - at)])
        desk.close()


def _record(state: JobState) -> bytes:
    failure = Failure("error", "OSError", "no route to host") if state is JobState.FAILED else None
    return outcome.encode(Outcome("give", 0, Attempt(1, 1, 2, "w", 3, str(state), failure)))


@contextmanager
def sent_to(server: Server) -> Iterator[list[str]]:
    """What is sent to a server by its port meanwhile, a line for each command; what scripts do is not among it."""
    found: list[str] = []
    connection: Any = server.client.connection_pool.get_connection()
    connection.send_command("MONITOR")
    connection.read_response()

    def read() -> None:
        while True:
            line = str(connection.read_response())
            if "that is all" in line:
                return
            if "[0 127.0.0.1:" in line:
                found.append(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield found
    finally:
        server.client.echo("that is all")
        reader.join(10)
        connection.disconnect()
        server.client.connection_pool.release(connection)


@contextmanager
def standing_still(worker: Program) -> Iterator[None]:
    """A worker and its processes are stopped as they are: they are seen, and send nothing."""
    family = [worker.pid, *children(worker)]
    for pid in family:
        kill(pid, signal.SIGSTOP)
    # The signal is sent, not obeyed, when kill returns.
    wait_until(lambda: all(state(pid) in "TZ" for pid in family), 10, "processes that stand still")
    try:
        yield
    finally:
        for pid in family:
            kill(pid, signal.SIGCONT)


def state(pid: int) -> str:
    """Of a process, in a letter as ``ps`` has it; ``Z`` for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def audited(site: Site) -> dict[str, dict[str, int]]:
    """How many jobs of each queue are where, counted one by one as ``quaff audit`` reads them; and nothing is wrong."""
    endpoint = site.quaff.store.endpoint
    keys = {str(home): keys for home, keys in partitions(lines(endpoint).values(), site.namespace).items()}
    found = {}
    for queue in QUEUES:
        home = partition(site.namespace, queue)
        line = Line(endpoint, home=home)
        assert Audit(line, home, keys[str(home)], 3).run() == []
        seen = walk(line, home)
        ready, solo, _ = seen.lines()
        found[queue] = {
            "queued": len({*ready, *solo, *seen.prio, *(member[24:] for member in seen.backlog)}),
            "running": len(seen.active),
            "scheduled": len(seen.sched),
            "blocked": len(seen.waiting_nodes()) + len(seen.heirs),
            "failed": len(seen.dead),
        }
        line.close()
    return found


def tiles(page: str) -> dict[str, int]:
    """The numbers in the tiles, or tabs, of a page, by the state."""
    found = re.findall(r'<span class="state (\w+)">\w+</span></span><b>([\d,]+)</b>', page)
    found += re.findall(r'>(\w+)<span class="count">([\d,]+)</span>', page)
    return {state: int(number.replace(",", "")) for state, number in found}


def rows(page: str) -> list[list[str]]:
    """The texts in the cells of a page's tables."""
    cut = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", cut, re.DOTALL)
    ]


def numbers(page: str, titles: dict[str, int]) -> dict[str, dict[str, int]]:
    """Of the queues in a table the numbers in some columns, by these columns' names."""
    return {
        row[0].split()[0]: {name: int(row[place].replace(",", "")) for name, place in titles.items()}
        for row in rows(page)
        if row and row[0].split()[:1] and row[0].split()[0] in QUEUES
    }


class Tabs:
    """So many tabs of a browser, each with one page of a dashboard: asked for again as the page's own script does.

    Args:
        base: where the dashboard is.
        paths: of the pages, one for each tab.

    Attributes:
        took: seconds of each answer, by path.
        same: how many were not sent again, because nothing had changed.
    """

    EVERY = 2.0

    def __init__(self, base: str, paths: Sequence[str]) -> None:
        self.took: dict[str, list[float]] = {path: [] for path in paths}
        self.same = 0
        self._base = base
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._show, args=each) for each in enumerate(paths)]

    def __enter__(self) -> Tabs:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _show(self, number: int, path: str) -> None:
        headers: dict[str, str] = {}
        self._done.wait(self.EVERY * number / len(self._threads))
        while not self._done.is_set():
            began = time.perf_counter()
            try:
                with urlopen(Request(self._base + path, headers=headers), timeout=30) as answer:
                    answer.read()
                    tag = answer.headers["ETag"]
            except HTTPError as error:
                if error.code != 304:
                    raise
                self.same += 1
            else:
                headers = {"X-Fragment": "main", **({"If-None-Match": tag} if tag else {})}
            self.took[path].append(time.perf_counter() - began)
            self._done.wait(self.EVERY)
