"""A real browser, Debian's Chromium, and the demo's web application with its worker."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests import helpers
from tests.helpers import end_embedded, python, wait_until

DEMO = Path(__file__).parents[2] / "examples" / "demo"

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

#: Nothing but the pages it is sent to: no updates, no look-ups of its own.
FLAGS = [
    "--no-sandbox",  # it does not start as root with one
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a file. Closed with them: while it is open this thread has a running event loop."""
    if CHROMIUM is None:
        text = "no Chromium on this machine (Debian: apt-get install chromium; elsewhere: CHROMIUM=/path/to/it)"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """Pages of one context, and what went wrong in them."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._said)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def asked(self, part: str) -> list[str]:
        """The requests that have this in their URL."""
        return [url for url in self.requests if part in url]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """A visitor; no error on the console, and none of its pages broke the security policy."""
    context = browser.new_context()
    visit = Visit(context)
    yield visit
    context.close()
    assert visit.complaints == []


class Demo(NamedTuple):
    """The demo's web application, served in two ways.

    Attributes:
        threads: URL of its first page, by its own server with threads.
        sync: by gunicorn with one thread, where nothing is kept open.
    """

    threads: str
    sync: str


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Both; the worker runs."""
    home = Path(tempfile.mkdtemp(prefix="qb", dir="/tmp"))
    env = {"QUAFF_URL": f"embedded://{home}/server", "DEMO_SPOOL": str(home / "spool")}
    web = python("app.py", cwd=DEMO, env=env)
    sync = python("-m", "gunicorn", "-b", "127.0.0.1:0", "app:app", cwd=DEMO, env=env)
    worker = helpers.start_worker("app:quaff", "-p", "1", cwd=DEMO, env=env)
    url = wait_until(lambda: next((line for line in web.stdout if line.startswith("http")), ""), 20, "the web server")
    at = re.search(r"http://[\d.:]+", sync.wait_for("Listening at"))
    assert at
    yield Demo(url, f"{at[0]}/")
    for program in (worker, sync, web):
        program.end()
    end_embedded(home / "server")
    shutil.rmtree(home, ignore_errors=True)
