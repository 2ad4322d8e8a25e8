"""Every code block of the README and the docs is run: pages that lie are worse than none."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from quaff.cli.flask import quaff_group
from tests.helpers import Program, python, wait_until
from tests.matrix import ENGINE, known_as

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")

Start = Callable[..., Program]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language on a page."""
    return [match[2] for match in BLOCK.finditer(page.read_text()) if match[1] == language]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_url: str, namespace: str) -> Iterator[Path]:
    """A directory to work in as a reader would, with a server of the tests behind whatever URL the page names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("QUAFF_URL", known_as(ENGINE, server_url))
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_on_each_page_runs_from_top_to_bottom(
    page: Path, workplace: Path, start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that open with a file name are written there, and a worker runs their tasks; the others are executed.

    Tests among the files are run by pytest, as whoever reads the page would.
    """
    scope: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        for variable in re.findall(r'os\.environ\["(\w+)"\]', block):
            monkeypatch.setenv(variable, f"{variable} of the reader")
        name = FILE.match(block)
        if name:
            module = name[1].removesuffix(".py")
            (workplace / name[1]).write_text(block)
            # Another test may have imported one of that name.
            monkeypatch.delitem(sys.modules, module, raising=False)
            if "quaff.task" in block or "quaff.dialects" in block:
                start_worker(module, "-p", "1", cwd=workplace)
            if "@quaff.cron" in block:
                app = importlib.import_module(module).quaff
                wait_until(lambda app=app: all(map(app.schedules.get, app.declared_schedules)), 10, "what it declares")
        else:
            exec(compile(block, str(page), "exec"), scope)
    tests = [str(path) for path in workplace.glob("test_*.py")]
    if tests:
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(words, cwd=workplace, capture_output=True, text=True, timeout=40, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.only("valkey", "redis7", why="it sets no SECRET_KEY, and only an embedded server keeps one")
def test_the_first_screen_of_the_readme_works_as_it_says(
    workplace: Path, running: Callable[[Program], Program]
) -> None:
    """The application of the first block, the one command, and both calls of curl."""
    block = blocks(ROOT / "README.md", "python")[0]
    (workplace / "app.py").write_text(block)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "flask", "--app", "app", "quaff", "dev", "--port", str(port)]
    dev = running(python(*command, cwd=workplace))
    wait_until(lambda: "ready" in dev.output and "Running on" in dev.output, 20, "web application and worker")
    home = f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(urllib.request.Request(f"{home}/add/1/2", method="POST"), timeout=5) as answer:
        assert answer.status == 202
        ticket = json.load(answer)
    assert ticket["state"] == "queued"

    def succeeded() -> Any:
        with urllib.request.urlopen(home + ticket["url"], timeout=5) as answer:
            body = json.load(answer)
        return body if body["state"] == "succeeded" else None

    assert wait_until(succeeded, 10) == {"progress": None, "state": "succeeded", "value": 3}
    assert dev.stop() == 0


def commands() -> list[tuple[str, str]]:
    """Each line with a prompt: the page's name and the command."""
    lines = [(page.name, line) for page in PAGES for block in blocks(page, "") for line in block.splitlines()]
    return [(name, line.removeprefix("$ ").strip()) for name, line in lines if line.startswith("$ ")]


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:50])
def test_each_command_on_a_page_exists_with_its_options(page: str, line: str) -> None:
    """A flag that was renamed must not live on in the docs."""
    from quaff.cli import program

    program_name, *words = shlex.split(re.sub(r"^(QUAFF_\w+=\S+ )+", "", line))
    if program_name == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program_name == "flask":
        parse(quaff_group, words[words.index("quaff") + 1 :])
    elif program_name == "quaff":
        parse(program(), words)
    elif words[:2] == ["manage.py", "quaff"]:
        parse(program(), [words[2], "-A", "quaff.django:application", *words[3:]])
    else:
        assert program_name in ("curl", "pip", "pytest"), f"{page}: who runs {line!r}?"


def parse(group: click.Group, words: list[str]) -> None:
    """Let click read a command line without running it."""
    context = click.Context(group)
    name, command, rest = group.resolve_command(context, words)
    assert command is not None
    command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_link_on_a_page_leads_somewhere(page: Path) -> None:
    """Links to files of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
