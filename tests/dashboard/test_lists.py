"""Lists: how they are sorted, and where they are longer than a page."""

from __future__ import annotations

import html
import re

from quaff import Inspector
from quaff.dashboard.words import size
from quaff.store.tallies import Failed, tally
from tests.dashboard.conftest import Site
from tests.store.engine import Desk, process_id


def test_tasks_are_sorted_by_what_they_cost(site: Site) -> None:
    """The most first; by name if nothing is said, or nonsense."""

    def listed(by: str) -> list[str]:
        return re.findall(r'<td><a href="/tasks/([\w.]+)"', site.client().get("/tasks", query_string={"by": by}).text)

    found = {row.name: row.total for row in Inspector(site.quaff).tasks()}
    assert listed("") == listed("nonsense") == sorted(found)
    assert listed("time") == sorted(sorted(found), key=lambda name: -found[name].run.sum)
    assert listed("bytes") == sorted(sorted(found), key=lambda name: -found[name].stored)
    assert listed("failures")[0] == listed("bytes")[0] == "mail.send"
    page = site.client().get("/tasks?by=memory").text
    assert re.search(r'aria-sort="descending"><a href="/tasks\?by=memory">Memory p95', page)
    assert f'<td class="num">{size(found["mail.send"].stored)}</td>' in page
    assert f"<span>{size(found['mail.send'].stored)} in all</span>" in site.client().get("/tasks/mail.send").text


def test_long_lists_have_pages(own_site: Site) -> None:
    """Kinds of failures, and tasks; each is on one of them."""
    desk, me = Desk(own_site.environment["QUAFF_URL"], own_site.namespace, queue="mail"), process_id()
    desk.take(me)
    kinds = [Failed(b"%d" % each, 1, 0, f'["t{each}","error","E{each}","",""]', "") for each in range(120)]
    tasks = {f"t{each:03}": {"s": 1} for each in range(120)}
    assert desk.store.run(tally(desk.home, process=me, number=1, tasks=tasks, failures=kinds, recent=[]))
    desk.close()
    client = own_site.client()
    for url, row in (("/failures", r"<b>(E\d+)</b>"), ("/tasks?by=bytes", r'<td><a href="/tasks/(t\d+)"')):
        found, then = [], [url]
        while then:
            page = client.get(html.unescape(then[0])).text
            found.append(re.findall(row, page))
            then = re.findall(r'href="([^"]*)" rel="next"', page)
        assert [len(each) for each in found] == [50, 50, 20]
        assert len({each for several in found for each in several}) == 120
        assert "101 to 120 of" in page
    assert client.get("/failures?skip=-1").text.count("<b>E") == 50
    assert client.get("/failures?skip=9999").status_code == 200
