"""Whatever somebody has named or said, every page shows it as text, and is as long as a page may be."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from quaff.dashboard import create_dashboard
from quaff.queues import acting_as
from tests.dashboard.conftest import OURS
from tests.hostile.conftest import Den
from tests.hostile.words import WORDS, whole

#: Characters of one page.
LONGEST = 1_000_000
STATES = "queued running scheduled retrying failed succeeded cancelled expired".split()


def app_of(den: Den) -> Flask:
    """The dashboard, for an admin."""
    return create_dashboard(den.quaff, auth=lambda _: "admin")


def fill_in(app: Flask, rule: Rule, value: str) -> str:
    """A URL of a rule with this in all of its places."""
    return app.url_map.bind("localhost").build(rule.endpoint, dict.fromkeys(rule.arguments, value))


def is_nowhere(answer: TestResponse) -> bool:
    """Whether it is Flask's own answer, a fixed text, for a URL that none of our routes has."""
    return answer.status_code in (404, 405) and "Content-Security-Policy" not in answer.headers


def rules(app: Flask, method: str) -> list[Rule]:
    """All that there are."""
    found = [rule for rule in app.url_map.iter_rules() if method in (rule.methods or ())]
    assert len(found) > 10
    return found


def test_every_page_shows_what_is_hostile_as_text(den: Den) -> None:
    """S14: every route there is, with every job, task and flow; whole, and bounded."""
    app = app_of(den)
    client = app.test_client()
    known = {"id": [*den.jobs, den.flow], "name": ["default", *(word[:20_000] for word in WORDS.values())]}
    urls = [f"/jobs?state={state}" for state in STATES]
    for rule in rules(app, "GET"):
        urls += (fill_in(app, rule, value) for value in known.get(next(iter(rule.arguments), ""), ["x"]))
    shown = 0
    for url in urls:
        answer = client.get(url)
        assert answer.status_code in (200, 400, 404), (url[:200], answer.text[-2000:])
        if answer.mimetype != "text/html" or is_nowhere(answer):
            continue
        assert len(answer.text) <= LONGEST, (url[:200], len(answer.text))
        try:
            whole(answer.text)
        except AssertionError as error:
            raise AssertionError(url[:200]) from error
        shown += "x-hostile" in answer.text
    assert shown > 20, "a page that shows none of it proves nothing"


@pytest.mark.parametrize("kind", WORDS)
def test_every_route_takes_what_is_hostile_in_its_url_and_form(den: Den, kind: str) -> None:
    """S14: pages and actions answer with a page, or lead elsewhere by one line; none of them breaks."""
    app = app_of(den)
    client = app.test_client()
    word = WORDS[kind][:5_000]
    asked = dict.fromkeys(("q", "state", "cursor", "done", "n", "span", "task", "do", "id", "for"), word)
    for method in ("GET", "POST"):
        for rule in rules(app, method):
            url = fill_in(app, rule, word)
            if method == "GET":
                answers = [client.get(url, query_string=asked)]
            else:
                answers = [client.post(url, data={**asked, **more}, headers=OURS) for more in ({}, {"do": "retry-all"})]
            for answer in answers:
                assert answer.status_code in (200, 303, 400, 404, 405), (
                    url[:200],
                    answer.status_code,
                    answer.text[-2000:],
                )
                assert answer.headers.get("Location", "").isprintable()
                if answer.mimetype == "text/html" and answer.status_code != 303 and not is_nowhere(answer):
                    whole(answer.text)


def test_who_acts_is_text_too(den: Den) -> None:
    """S14: the name that somebody has logged in with stands in the list of changes."""
    quaff = den.quaff
    for word in list(WORDS.values())[:-1]:
        with acting_as(word):
            quaff.queue("default").pause(0.001)
    for url in ("/queues/default", "/server"):
        whole(app_of(den).test_client().get(url).text)
