"""The dashboard in a real browser: every screen in both colours, on a telephone, with scripts and without."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from quaff import Job
from tests.browser.conftest import Visit
from tests.dashboard import shop
from tests.dashboard.conftest import ROOT, Site
from tests.helpers import python, wait_until

#: Where the run leaves its pictures; `make pictures` puts them into the docs.
PICTURES = os.environ.get("PICTURES")
SCREENS = {
    "overview": "/",
    "jobs": "/jobs?state=failed",
    "queues": "/queues",
    "queue": "/queues/mail",
    "failures": "/failures",
    "schedules": "/schedules",
    "workers": "/workers",
    "tasks": "/tasks",
    "task": "/tasks/mail.send",
    "server": "/server",
}
#: Each colour, each width, and no scripts; FULL=1 has all of them with all others.
ONCE = [("light", 1280, True), ("dark", 360, True), ("light", 360, False)]
SHOWN = [
    pytest.param(scheme, width, scripts, id=f"{scheme}-{width}{'' if scripts else '-without-scripts'}")
    for scheme in ("light", "dark")
    for width in (1280, 360)
    for scripts in (True, False)
    if os.environ.get("FULL") or (scheme, width, scripts) in ONCE
]


class Board:
    """A site, and the URL of its dashboard, as the command serves it."""

    def __init__(self, site: Site, url: str) -> None:
        self.site = site
        self.url = url

    def screens(self) -> dict[str, str]:
        """URLs by name, those of a job and of a flow too."""
        return SCREENS | {"job": f"/jobs/{self.site.jobs['failed'].id}", "flow": f"/flows/{self.site.flow.id}"}


@pytest.fixture(scope="module")
def board(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """One with a worker; the tests that change something add jobs of their own."""
    site = Site(server_url, tmp_path_factory.mktemp("site"))
    options = {"cwd": ROOT, "env": site.environment}
    worker = site.start_worker("-Q", "default,mail")
    served = python("-m", "quaff", "dashboard", "-A", "tests.dashboard.shop:quaff", "-p", "0", **options)
    url = wait_until(lambda: next(iter(re.findall(r"http://[\d.:]+", served.output)), ""), 20, "the dashboard")
    site.fill()
    yield Board(site, url)
    site.gate.touch()
    for program in (served, worker):
        program.end()


@pytest.mark.parametrize(("scheme", "width", "scripts"), SHOWN)
def test_every_screen_shows_what_it_has_and_fits(
    browser: Browser, board: Board, scheme: Any, width: int, scripts: bool
) -> None:
    """No error on the console, nothing against the policy, nothing that scrolls sideways, nothing serious for axe.

    In each colour and width once; FULL=1 has each combination.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts
    )
    visit = Visit(context)
    page = visit.page
    for name, url in board.screens().items():
        page.goto(board.url + url)
        page.wait_for_selector("#main .panel")
        if scripts:
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            serious = [each["id"] for each in _violations(page) if each["impact"] in ("serious", "critical")]
            assert serious == [], name
            if PICTURES and width == 1280:
                page.screenshot(path=Path(PICTURES) / f"dashboard-{name}-{scheme}.png")
    assert visit.complaints == []
    context.close()


def _violations(page: Page) -> list[dict[str, Any]]:
    # Axe is put in by the driver, past the policy of the page.
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return found


def test_a_page_follows_what_happens(visit: Visit, board: Board) -> None:
    """Within seconds, without a reload, and the focus stays where it was."""
    page = visit.page
    job = board.site.send("give", 1, queue="idle")
    page.goto(f"{board.url}/jobs/{job.id}")
    assert page.inner_text("h1 .state") == "queued"
    page.focus("text=To the content")
    page.evaluate("window.mark = 1")
    job.cancel()
    page.wait_for_selector("#main >> text=cancelled")
    assert page.evaluate("window.mark") == 1
    assert page.evaluate("document.activeElement.className") == "skip"


def test_a_page_asks_nothing_while_it_is_hidden_or_switched_off(visit: Visit, board: Board) -> None:
    """And goes on when it is wanted again."""
    page = visit.page
    page.goto(f"{board.url}/queues")
    with page.expect_request(lambda request: request.headers.get("x-fragment") == "main"):
        pass
    page.select_option("#live", "0")
    page.reload()
    before = len(visit.requests)
    page.wait_for_timeout(3000)  # nothing is to come: there is nothing to wait for
    assert len(visit.requests) == before
    with page.expect_request(lambda request: request.headers.get("x-fragment") == "main"):
        page.select_option("#live", "2")


def test_the_theme_is_the_readers(visit: Visit, board: Board) -> None:
    """And stays."""
    page = visit.page
    page.goto(f"{board.url}/")

    def shade() -> str:
        colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    light = shade()
    page.select_option("#theme", "dark")
    dark = shade()
    assert dark != light
    page.goto(f"{board.url}/queues")
    assert shade() == dark


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without-scripts"])
def test_jobs_are_found_and_acted_on(browser: Browser, board: Board, scripts: bool) -> None:
    """By a filter, then those selected, then all that match, which are counted and asked about first."""
    visit = Visit(browser.new_context(java_script_enabled=scripts))
    page = visit.page
    queue = f"many{'-scripts' if scripts else ''}"
    jobs: list[Job[Any]] = [board.site.send("give", number, queue=queue) for number in range(7)]
    page.goto(f"{board.url}/queues")  # such a queue is no task's, so it is found by its jobs
    page.goto(f"{board.url}/jobs?state=queued")
    page.fill("input[type=search]", f"id:{','.join(job.id for job in jobs)}")
    page.click("text=Filter")
    wait_until(lambda: page.locator("tbody tr").count() == 7, 10, "the jobs that match")
    page.locator("tbody input").nth(0).check()
    page.locator("tbody input").nth(1).check()
    if scripts:
        assert page.inner_text("#selected") == "2"
    page.click("text=Cancel selected")
    page.wait_for_selector("text=2 jobs were cancelled")
    assert sum(job.state == "cancelled" for job in jobs) == 2
    page.click("text=Cancel all that match")
    page.wait_for_selector("text=Cancel 5 jobs")
    page.click("button.danger")
    page.wait_for_selector("text=5 cancelled.")
    assert {job.state for job in jobs} == {"cancelled"}
    assert visit.complaints == []
    visit.context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without-scripts"])
def test_where_a_running_job_is_comes_to_its_page(browser: Browser, board: Board, scripts: bool) -> None:
    """By itself, or with a reload where there are no scripts; nothing serious for axe on it."""
    visit = Visit(browser.new_context(java_script_enabled=scripts))
    page = visit.page
    page.goto(f"{board.url}/jobs/{board.site.jobs['running'].id}")
    page.click("text=Where is it?")
    page.wait_for_selector("text=Its worker is asked")
    if scripts:
        page.wait_for_selector("pre:has-text('in wait_for')")
        assert [each["id"] for each in _violations(page) if each["impact"] in ("serious", "critical")] == []
        page.goto(f"{board.url}/tasks")
        page.click("th >> text=Time in all")
        page.wait_for_selector("th[aria-sort=descending]")
    else:
        wait_until(lambda: page.reload() and "in wait_for" in page.inner_text("main"), 10, "the stacks")
    assert visit.complaints == []
    visit.context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without-scripts"])
def test_a_worker_is_drained_from_its_screen(browser: Browser, board: Board, scripts: bool) -> None:
    """After a question; nothing serious for axe on that."""
    name = f"drained{'-scripts' if scripts else ''}"
    program = board.site.start_worker("-Q", "mail", "-n", name)
    visit = Visit(browser.new_context(java_script_enabled=scripts))
    page = visit.page
    wait_until(lambda: page.goto(f"{board.url}/workers") and name in page.inner_text("main"), 20, "the worker")
    page.click(f"a[aria-label='Drain {name}']")
    page.wait_for_selector("button.danger")
    if scripts:
        assert [each["id"] for each in _violations(page) if each["impact"] in ("serious", "critical")] == []
    page.click("button.danger")
    page.wait_for_selector("text=ends when its jobs have")
    assert program.wait(20) == 0
    program.end()
    assert visit.complaints == []
    visit.context.close()


def test_it_is_gone_about_by_keys(visit: Visit, board: Board) -> None:
    """A filter by /, places by g and a letter, and what there is by ?."""
    page = visit.page
    page.goto(f"{board.url}/")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/jobs")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("queue:m")
    assert page.locator("#vocabulary option").evaluate_all("all => all.map(each => each.value)") == ["queue:mail"]
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")


def test_what_is_hostile_is_only_text(visit: Visit, board: Board) -> None:
    """S14: nothing of it becomes a part of a page, also when that has been brought up to date."""
    page = visit.page
    screens = board.screens()
    for name in ("overview", "jobs", "failures", "job"):
        page.goto(board.url + screens[name])
        page.wait_for_event("response", lambda answer: answer.request.headers.get("x-fragment") == "main")
        assert page.query_selector("x-hostile") is None
        assert shop.HOSTILE[:19] in page.inner_text("main")
