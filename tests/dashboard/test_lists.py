"""Lists: how they are sorted."""

from __future__ import annotations

import re

from quaff import Inspector
from quaff.dashboard.words import size
from tests.dashboard.conftest import Site


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
