"""The files in typing/ that the checkers of ``make check`` read, as far as they can be tried without a checker."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from quaff import Task
from tests.helpers import Program, python
from tests.typing import check_bad

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "typing"


def test_make_check_has_both_checkers_read_both_files() -> None:
    """A check that never runs is none."""
    makefile = (ROOT / "Makefile").read_text()
    named = re.search(r"^CHECKS := (.*)$", makefile, re.MULTILINE)
    assert named is not None
    recipes = dict(re.findall(r"^check-(\w+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    assert recipes.keys() == set(named[1].split())
    lines = [line.strip().removeprefix("$(VENV)/bin/") for recipe in recipes.values() for line in recipe.splitlines()]
    assert {"mypy", "pyright", "python tests/typing/check_bad.py"} <= set(lines)
    assert any("pyright --verifytypes quaff" in line for line in lines), "what users are promised by py.typed"
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert "tests/typing/good.py" in tools["mypy"]["files"]
    assert tools["mypy"]["strict"] is True
    assert "tests/typing/good.py" in tools["pyright"]["include"]


@pytest.mark.parametrize("name", ["good.py", "bad.py"])
def test_no_checker_is_told_to_look_away(name: str) -> None:
    """No ignore and no cast: what is read is what a user would write."""
    assert not re.search(r"type: ?ignore|pyright:|mypy:|\bcast\(|no_type_check", (FOLDER / name).read_text())


@pytest.mark.parametrize("name", ["good", "bad"])
def test_what_a_checker_reads_can_be_imported(name: str, running: Callable[[Program], Program]) -> None:
    """Whoever declares tasks so gets them, without a server."""
    program = running(python("-c", f"import {name}; print(sorted({name}.quaff.tasks))", cwd=FOLDER))
    assert program.wait() == 0, program.output
    assert f"{name}.add" in program.stdout[0]


def test_every_part_of_a_task_is_in_a_file_that_must_pass() -> None:
    """A new public method of a task is not forgotten."""
    text = (FOLDER / "good.py").read_text()
    public = [name for name, it in vars(Task).items() if name[0] != "_" and not isinstance(it, property)]
    assert [name for name in public if f".{name}(" not in text] == []


# The judge of bad.py


@pytest.mark.parametrize("checker", sorted(check_bad.OTHERWISE))
def test_what_a_checker_sees_otherwise_is_one_line_each(checker: str) -> None:
    """And of what has to be refused it sees nearly all."""
    bad, good = (FOLDER / "bad.py").read_text(), (FOLDER / "good.py").read_text()
    expected, _ = check_bad.marked(bad)
    unseen = expected.keys() - check_bad.seen_by(checker, bad, expected).keys()
    refused = check_bad.seen_by(checker, good, {})
    assert len(unseen) + len(refused) == len(check_bad.OTHERWISE[checker])
    assert len(unseen) <= 3


def test_a_line_that_a_checker_sees_by_now_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the table would go on to excuse what nobody needs to be excused for."""
    monkeypatch.setitem(check_bad.OTHERWISE, "ty", {'add("one")': "too young"})
    seen = check_bad.seen_by("ty", MARKED, check_bad.marked(MARKED)[0])
    assert seen == {}
    assert check_bad.differences("ty", seen, {2: {"error"}}) == ["bad.py:2: ty reports error, the mark says nothing"]


MARKED = """ok(1)
add("one")  # error: arg-type reportArgumentType
"""


def test_the_marks_of_the_bad_file_can_be_read() -> None:
    """And there are enough of them to mean something."""
    for_mypy, for_pyright = check_bad.marked(check_bad.BAD.read_text())
    assert for_mypy.keys() == for_pyright.keys()
    assert len(for_mypy) > 20


def test_a_file_as_it_is_marked_is_right() -> None:
    """Nothing differs."""
    for_mypy, for_pyright = check_bad.marked(MARKED)
    assert check_bad.differences("mypy", for_mypy, {2: {"arg-type"}}) == []
    assert check_bad.differences("pyright", for_pyright, {2: {"reportArgumentType"}}) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "bad.py:2: mypy reports nothing, the mark says arg-type"),
        ({2: {"misc"}}, "bad.py:2: mypy reports misc, the mark says arg-type"),
        ({2: {"misc", "arg-type"}}, "bad.py:2: mypy reports arg-type misc, the mark says arg-type"),
        ({1: {"misc"}, 2: {"arg-type"}}, "bad.py:1: mypy reports misc, the mark says nothing"),
    ],
    ids=["missed", "another", "more", "unmarked"],
)
def test_a_file_that_is_not_as_it_is_marked_is_told(found: check_bad.Found, told: str) -> None:
    """A line that is no longer refused, one refused for another reason, and one that should be fine."""
    assert check_bad.differences("mypy", check_bad.marked(MARKED)[0], found) == [told]


@pytest.mark.parametrize("text", ["", "add(1)\n", "add(1)  # error: arg-type\n", "add(1)  # error\n" + MARKED])
def test_a_file_without_marks_that_can_be_read_is_refused(text: str) -> None:
    """A misspelt mark must not be one line fewer to check."""
    with pytest.raises(ValueError, match="mark"):
        check_bad.marked(text)


@pytest.mark.parametrize("module", ["this", "compileall"])
def test_a_checker_that_ends_otherwise_than_with_errors_is_no_success(module: str) -> None:
    """0 means that it has read nothing, 2 that it broke."""
    arguments = ["--no-such-option"] if module == "compileall" else []
    with pytest.raises(SystemExit, match=rf"^{module} ended with [02]:"):
        check_bad._run(module, *arguments)
