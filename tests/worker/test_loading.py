"""Which Quaff is meant by ``-A module``, where the module calls it what it likes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from quaff.errors import ConfigurationError
from quaff.worker.loading import load

HEAD = "from flask import Flask, current_app, g\nfrom quaff.flask import Quaff\n"
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module, and give its name."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def write(text: str) -> str:
        names.append(f"m{uuid4().hex[:8]}")
        (tmp_path / f"{names[-1]}.py").write_text(HEAD + text)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_two_of_them_are_told_rather_than_the_first_one_taken(write: Write) -> None:
    """By both names, as they are to be written; and each is there by its own."""
    name = write("mails = Quaff()\nnews = Quaff()\n")
    with pytest.raises(ConfigurationError, match=f"has 2 Quaff .*: -A {name}:mails or -A {name}:news"):
        load(name)
    assert load(f"{name}:news") is sys.modules[name].news
    two = write("shop, blog = Flask('shop'), Flask('blog')\nQuaff(shop), Quaff(blog)\n")
    with pytest.raises(ConfigurationError, match=f"-A {two}:shop or -A {two}:blog"):
        load(two)


@pytest.mark.parametrize(
    "text",
    [
        "jobs = work = Quaff()\n",
        "site = Flask('site')\njobs = work = Quaff(site)\n",
        "jobs = Quaff()\nsite = Flask('site')\njobs.init_app(site)\n",
        "other = Quaff()\njobs = quaff = Quaff()\n",
    ],
)
def test_one_under_several_names_is_taken_and_so_is_one_with_a_usual_name(write: Write, text: str) -> None:
    """Its application's name is one of them; Flask's proxies in the module belong to no application here."""
    name = write(text)
    assert load(name) is sys.modules[name].jobs


def test_the_first_application_of_one_quaff_is_the_one_that_is_served(write: Write) -> None:
    """One that has two, of which neither was named."""
    name = write("one, two = Flask('one'), Flask('two')\njobs = Quaff()\njobs.init_app(one)\njobs.init_app(two)\n")
    with load(name).attempt_scope() as context:
        assert context.app.name == "one"
