"""``examples/shop`` as its README says: set up, started, used in a browser, ended by Ctrl+C; and its own tests."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.helpers import Program, end_embedded, python, wait_until

SHOP = Path(__file__).parents[2] / "examples" / "shop"
OWN_DATA = shutil.ignore_patterns("instance", ".quaff", "__pycache__", ".pytest_cache")
#: A Quaff, a database or a key of whoever runs these tests is not meant.
CLEAN = {"QUAFF_URL": "", "QUAFF_NAMESPACE": "", "DATABASE_URL": "", "SECRET_KEY": ""}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A copy of it, with a short name: a socket's path has little room."""
    place = Path(tempfile.mkdtemp(prefix="qs", dir="/tmp"))
    shutil.copytree(SHOP, place, dirs_exist_ok=True, ignore=OWN_DATA)
    yield place
    end_embedded(place / ".quaff")
    shutil.rmtree(place)


def log_in(page: Page, url: str, name: str) -> None:
    """As one of the accounts of ``init``."""
    page.goto(f"{url}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(re.compile("/uploads$|/quaff/$"))


@pytest.mark.early
@pytest.mark.timeout(120)
def test_the_shop_is_used_by_a_customer_a_seller_and_staff(
    visit: Visit, running: Callable[[Program], Program], folder: Path
) -> None:
    """An order and its mail, pictures with a bar, and the dashboard, which is for staff alone."""
    setup = running(python("-m", "flask", "--app", "shop", "init", cwd=folder, env=CLEAN))
    assert setup.wait() == 0, setup.output
    shop = running(python("-m", "flask", "--app", "shop", "quaff", "dev", "--port", "0", cwd=folder, env=CLEAN))
    told = wait_until(lambda: re.search(r"Running on (http://[\d.:]+)", shop.output), 30, "the web application")
    wait_until(lambda: "ready" in shop.output, 30, "the worker")
    url, page = told[1], visit.page

    def products() -> int:
        page.goto(url)
        return page.locator(".products img").count()

    wait_until(lambda: products() == 12, 20, "the small pictures")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth == 320)")
    page.get_by_label("E-mail for Chair").fill("eve@example.com")
    page.locator("li", has_text="Chair").get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("on its way to eve@example.com")

    log_in(page, url, "ann")
    large = next((folder / "instance" / "large").iterdir()).read_bytes()
    files = [{"name": f"Pot {n}.jpg", "mimeType": "image/jpeg", "buffer": large} for n in range(40)]
    page.get_by_label("Pictures").set_input_files(files)
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
            const bar = document.querySelector("progress");
            if (bar) new MutationObserver(() => sessionStorage.bar = `${sessionStorage.bar ?? ""} ${bar.value}`)
                .observe(bar, { attributes: true });
        })"""
    )

    def told(word: str) -> int:
        return running(python("-m", "flask", "--app", "shop", "quaff", word, "pictures", cwd=folder, env=CLEAN)).wait()

    # A machine may be faster than its browser: the first picture waits for the bar.
    assert told("pause") == 0
    page.get_by_role("button", name="Sell").click()
    expect(page.locator("progress")).to_be_visible()
    assert told("resume") == 0
    expect(page.locator(".products li")).to_have_count(40, timeout=20_000)  # it comes anew by itself in the end
    expect(page.locator(".products img")).to_have_count(40)
    shown = [float(value) for value in page.evaluate("sessionStorage.bar").split()]
    assert shown == sorted(shown)
    assert 40 in shown

    log_in(page, url, "staff")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.url == f"{url}/quaff/"
    page.goto(f"{url}/quaff/jobs?state=succeeded")
    expect(page.locator("main")).to_contain_text("shop.jobs.make_thumbnails")
    page.goto(f"{url}/mails")
    expect(page.locator("article")).to_contain_text("Chair by bob, 19.90 €.")
    assert visit.context.request.get(f"{url}/quaff/").status == 200
    page.get_by_role("button", name="Log out staff").click()
    page.wait_for_url(f"{url}/")
    assert visit.context.request.get(f"{url}/quaff/").status == 403

    page.goto("about:blank")  # what a page still asks for when its server ends is an error on its console
    assert shop.stop(signal.SIGINT) == 0, shop.output
    assert "Traceback" not in shop.output


@pytest.mark.timeout(120)
def test_its_own_tests_pass(running: Callable[[Program], Program], folder: Path) -> None:
    """In a copy, away from our settings, as whoever takes it runs them."""
    own = running(Program(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder, env=CLEAN))
    assert own.wait(110) == 0, own.output
    assert any(re.match(r"\d+ passed", line) for line in own.stdout)
