"""The demo's pages in a real browser: an upload, its bar while it goes on, and what came of it.

``PICTURES=/some/folder`` puts pictures of the pages there, for people to look at.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import DEMO, Demo, Visit
from tests.helpers import wait_until

sys.path.append(str(DEMO))

from analysis import Report, examine

#: Real ones, and some seconds of work: modules of the standard library.
FILES = sorted(Path(os.__file__).parent.glob("*.py"))[:110]


def hand_in(page: Page, url: str) -> None:
    """Fill in the form and send it."""
    page.goto(url)
    page.get_by_label("Python files").set_input_files(FILES)
    page.get_by_role("button", name="Count").click()
    page.wait_for_url("**/uploads/*")


def keep_bar(page: Page) -> None:
    """Have the page remember every value that its bar shows."""
    page.evaluate(
        """() => {
            const bar = document.getElementById("bar");
            window.shown = [];
            const note = () => bar.hasAttribute("value") && window.shown.push(bar.value);
            new MutationObserver(note).observe(bar, { attributes: true });
        }"""
    )


def shown(page: Page) -> list[float]:
    """What the bar has shown, each value once; it never goes down."""
    values: list[float] = page.evaluate("window.shown")
    assert values == sorted(values)
    return list(dict.fromkeys(values))


@cache
def reports() -> list[Report]:
    """What is in the files."""
    return [examine(file.name, file.read_bytes()) for file in FILES]


def check_result(page: Page) -> None:
    """What the page says is what is in the files."""
    page.wait_for_selector(".state.succeeded")
    numbers = [each.replace(",", "") for each in page.locator("dd").all_inner_texts()]
    assert numbers == [
        str(len(FILES)),
        str(sum(each.lines for each in reports())),
        str(sum(each.functions for each in reports())),
        str(sum(each.problem is not None for each in reports())),
    ]
    largest = max(reports(), key=lambda each: each.lines)
    assert page.locator("tbody tr").first.inner_text().startswith(largest.name)
    assert page.locator("tbody tr").count() == 10


def picture(page: Page, name: str) -> None:
    """One for people, if they want any."""
    if "PICTURES" in os.environ:
        page.screenshot(path=str(Path(os.environ["PICTURES"]) / f"{name}.png"), full_page=True)


def test_an_upload_has_a_live_bar_by_events_and_then_its_result(visit: Visit, demo: Demo) -> None:
    """One event stream, no request again and again, and no reload."""
    page = visit.page
    page.goto(demo.threads)
    picture(page, "first")
    hand_in(page, demo.threads)
    keep_bar(page)
    wait_until(lambda: len(shown(page)) > 3)
    picture(page, "running")
    check_result(page)
    picture(page, "succeeded")
    assert len([value for value in shown(page) if 0 < value < len(FILES)]) >= 3
    assert len(visit.asked("/events")) == 1
    assert visit.asked("?wait=") == []


def test_where_events_are_refused_the_bar_is_asked_for(visit: Visit, demo: Demo) -> None:
    """A server with one thread; the page sees the same, a little later."""
    page = visit.page
    hand_in(page, demo.sync)
    keep_bar(page)
    check_result(page)
    assert shown(page)
    assert len(visit.asked("/events")) == 1
    assert len(visit.asked("?wait=")) >= 2


def test_a_browser_without_events_asks_for_the_bar(visit: Visit, demo: Demo) -> None:
    """And a server that can wait answers when there is something to tell."""
    visit.context.add_init_script("delete window.EventSource")
    page = visit.page
    hand_in(page, demo.threads)
    keep_bar(page)
    check_result(page)
    assert shown(page)
    assert visit.asked("/events") == []
    assert len(visit.asked("?wait=")) >= 2


def test_without_javascript_a_reload_shows_how_it_goes_on(browser: Browser, demo: Demo) -> None:
    """The state, the bar and the result are in the page itself."""
    visit = Visit(browser.new_context(java_script_enabled=False))
    page = visit.page
    hand_in(page, demo.threads)
    seen = []
    while not page.locator(".state.succeeded").count():
        assert page.locator(".state.failed").count() == 0
        if page.locator("#bar[value]").count():
            seen.append(float(page.locator("#bar").get_attribute("value") or 0))
        page.wait_for_timeout(200)
        page.reload()
    check_result(page)
    assert any(0 < value < len(FILES) for value in seen)
    assert seen == sorted(seen)
    assert visit.asked("/jobs/") == []
    assert visit.complaints == []
    visit.context.close()


def test_whoever_stops_hears_no_more(visit: Visit, demo: Demo) -> None:
    """``watch`` gives the function for it, and it closes the connection."""
    page = visit.page
    hand_in(page, demo.threads)
    heard = page.evaluate(
        """() => new Promise(resolve => {
            let heard = 0;
            const stop = quaff.watch(document.getElementById("job").dataset.url, () => {
                heard++;
                stop();
                setTimeout(() => resolve(heard), 1500);
            });
        })"""
    )
    assert heard == 1
    check_result(page)


def test_a_ticket_that_is_no_good_ends_with_an_error(visit: Visit, demo: Demo) -> None:
    """And is not asked about for ever."""
    page = visit.page
    hand_in(page, demo.threads)
    before = len(visit.asked("/jobs/"))
    told = page.evaluate(
        "() => new Promise(resolve => quaff.watch('/jobs/forged', (job, event) => resolve([job, event.type])))"
    )
    assert told == [
        {"state": None, "progress": None, "error": told[0]["error"]},
        "state",
    ]
    assert told[0]["error"]["reason"] == "not_found"
    check_result(page)
    assert len(visit.asked("/jobs/forged")) == 2
    assert len(visit.asked("/jobs/")) - before <= 3
    assert all("404" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


@pytest.mark.parametrize(("name", "width", "scheme"), [("narrow", 360, "light"), ("dark", 1280, "dark")])
def test_the_pages_fit(browser: Browser, demo: Demo, name: str, width: int, scheme: str) -> None:
    """Nothing makes a telephone scroll sideways."""
    visit = Visit(browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme))  # type: ignore[arg-type]
    page = visit.page
    page.goto(demo.threads)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"first-{name}")
    hand_in(page, demo.threads)
    check_result(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, name)
    assert visit.complaints == []
    visit.context.close()
