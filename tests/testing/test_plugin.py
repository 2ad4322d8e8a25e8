"""The fixtures, in pytest runs of projects that use them, and of one that does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers import wait_until

pytest_plugins = ["pytester"]

SHOP = """
    from flask import Flask, jsonify
    from quaff import current_job
    from quaff.flask import Quaff

    quaff = Quaff()

    @quaff.task(queue="mail")
    def welcome(user: str) -> str:
        from flask import current_app
        return f"{current_app.name}: hello {user}, attempt {current_job.attempt}"

    def create_app():
        app = Flask("shop")
        app.config["SECRET_KEY"] = "secret"
        quaff.init_app(app)

        @app.post("/users/<name>")
        def register(name):
            return jsonify(quaff.ticket(welcome.delay(name))), 202

        return app
"""


def run(pytester: pytest.Pytester, *arguments: str, **files: str) -> pytest.RunResult:
    """A run of its own in a directory with these modules, whose environment names a server that is not there."""
    for name, text in files.items():
        pytester.path.joinpath(f"{name}.py").write_text(dedent(text))
    pytester._monkeypatch.setenv("QUAFF_URL", "redis://127.0.0.1:1")
    options = ["-pno:valkey", "-pno:cacheprovider", "-Werror", "--import-mode=importlib"]
    return pytester.runpytest_subprocess(*options, *arguments, timeout=50)


def test_a_flask_application_of_a_factory_is_tested_with_its_client(pytester: pytest.Pytester) -> None:
    """The fixture ``app`` that such projects have is taken; each test has its own jobs."""
    done = run(
        pytester,
        "-pno:randomly",
        shop=SHOP,
        conftest="""
            import pytest, shop

            @pytest.fixture
            def app():
                return shop.create_app()
        """,
        test_shop="""
            import pytest, shop

            @pytest.mark.parametrize("name", ["ann", "bob"])
            def test_who_registers_is_welcomed(app, quaff_jobs, name):
                client = app.test_client()
                ticket = client.post(f"/users/{name}").get_json()
                assert client.get(ticket["url"]).get_json()["state"] == "queued"
                job = quaff_jobs.assert_enqueued(shop.welcome, args=(name,), queue="mail", count=1)
                assert quaff_jobs.run_all() == [job]
                assert client.get(ticket["url"]).get_json()["value"] == f"shop: hello {name}, attempt 1"
                assert quaff_jobs.perform(shop.welcome, "eve") == "shop: hello eve, attempt 1"

            def test_a_context_that_is_there_does_not_matter(app, quaff_jobs):
                with app.app_context(), quaff_jobs.inline():
                    assert shop.welcome.delay("cid").result(1) == "shop: hello cid, attempt 1"
        """,
    )
    done.assert_outcomes(passed=3)
    assert not pytester.path.joinpath(".quaff").exists()


def test_the_files_on_the_page_about_tests_pass(pytester: pytest.Pytester) -> None:
    """As a reader would write them."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    files = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    run(pytester, **files).assert_outcomes(passed=2)


def test_quart_is_tested_with_its_client_in_the_loop_of_the_test(pytester: pytest.Pytester) -> None:
    """``arun_all`` where the views run."""
    done = run(
        pytester,
        test_pages="""
            import asyncio
            from quart import Quart
            from quaff.quart import Quaff
            from quaff.testing import kit

            app = Quart("pages")
            app.config["SECRET_KEY"] = "secret"
            quaff = Quaff(app)

            @quaff.task
            async def fetch(url: str) -> int:
                await asyncio.sleep(0)
                return len(url)

            @app.post("/fetch")
            async def start():
                return quaff.ticket(await fetch.adelay("https://example.com")), 202

            def test_a_page_is_fetched():
                async def test():
                    with kit(app) as jobs:
                        client = app.test_client()
                        ticket = await (await client.post("/fetch")).get_json()
                        await jobs.arun_all()
                        status = await (await client.get(ticket["url"])).get_json()
                        assert status["value"] == 19
                asyncio.run(test())
        """,
    )
    done.assert_outcomes(passed=1)


def test_the_setting_names_the_application_and_each_worker_of_xdist_has_a_server(pytester: pytest.Pytester) -> None:
    """Two processes, two servers, one for all tests of each."""
    done = run(
        pytester,
        *("-n2", "--dist=load", "-oquaff_app=tasks:quaff"),
        tasks="""
            from quaff import Quaff
            quaff = Quaff()

            @quaff.task
            def add(a: int, b: int) -> int:
                return a + b
        """,
        test_tasks="""
            import os, pathlib, pytest, tasks, time

            @pytest.mark.parametrize("n", range(8))
            def test_one(quaff_jobs, n):
                job = tasks.add.delay(n, 1)
                assert quaff_jobs.run_all() == [job]
                assert job.result(1) == n + 1
                url = tasks.quaff.settings.url
                pathlib.Path(__file__).with_name(f"url-{os.getpid()}-{n}").write_text(url)
        """,
    )
    done.assert_outcomes(passed=8)
    urls: dict[str, set[str]] = {}
    for path in pytester.path.glob("url-*"):
        urls.setdefault(path.name.split("-")[1], set()).add(path.read_text())
    assert len(urls) == 2
    assert all(len(each) == 1 for each in urls.values())
    assert len(set.union(*urls.values())) == 2
    homes = [Path(url.removeprefix("embedded://")) for url in set.union(*urls.values())]
    wait_until(lambda: not any(home.exists() for home in homes), 15, "both directories to be gone")


def test_without_an_application_the_error_says_how_to_give_one(pytester: pytest.Pytester) -> None:
    """Where nothing was set and no fixture of the usual name is there."""
    done = run(pytester, test_it="def test_it(quaff_jobs): ...")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*set quaff_app = module:object in pytest's settings*"])


def test_unittest_has_it_too(pytester: pytest.Pytester) -> None:
    """Without pytest."""
    pytester.path.joinpath("test_case.py").write_text(
        dedent("""
            import unittest
            from quaff import Quaff
            from quaff.testing import JobsMixin

            quaff = Quaff()

            @quaff.task
            def add(a: int, b: int) -> int:
                return a + b

            class TestAdding(JobsMixin, unittest.TestCase):
                quaff_app = quaff

                def test_it(self):
                    job = add.delay(1, 2)
                    self.jobs.run_all()
                    self.assertEqual(job.result(1), 3)

                def test_another_one_has_other_jobs(self):
                    self.jobs.refute_enqueued(add)
        """)
    )
    done = pytester.run(sys.executable, "-Werror", "-m", "unittest", "-v", "test_case", timeout=50)
    assert done.ret == 0
    done.stderr.fnmatch_lines(["Ran 2 tests*", "OK"])


def test_a_project_that_does_not_use_it_pays_nothing() -> None:
    """What the plugin brings beside pytest is itself, and the front door."""
    code = (
        "import pytest, sys, json; before = set(sys.modules); import quaff.testing.plugin;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == ["quaff", "quaff.testing", "quaff.testing.plugin"]
