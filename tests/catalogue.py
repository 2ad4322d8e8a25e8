"""A catalogue of rows, the tests that cite them, and the page that shows both.

A test cites a row by its id, such as ``F54``, in its own docstring or that of its class.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ID = re.compile(r"\b[FS]\d+\b")
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


class Catalogue(NamedTuple):
    """Rows by part and number.

    Attributes:
        letter: the first of each id.
        name: of the module that makes the page, and of the page.
        title: of the page.
        parts: what the rows say.
        not_yet: what cannot be shown yet, and what it waits for.
    """

    letter: str
    name: str
    title: str
    parts: dict[str, dict[int, str]]
    not_yet: dict[int, str]

    @property
    def path(self) -> Path:
        """Where the page is."""
        return ROOT / "docs" / "reference" / f"{self.name}.md"

    def titles(self) -> dict[int, str]:
        """All rows, by number."""
        return {number: title for part in self.parts.values() for number, title in part.items()}

    def cited(self) -> dict[int, list[str]]:
        """The tests that cite each row, as ``file::test``."""
        found: dict[int, list[str]] = {}
        for path in sorted((ROOT / "tests").rglob("test_*.py")):
            for name, text in tests_of(path):
                for number in {int(id[1:]) for id in ID.findall(text) if id[0] == self.letter}:
                    found.setdefault(number, []).append(f"{path.relative_to(ROOT)}::{name}")
        return found

    def page(self) -> str:
        """The whole page."""
        tests = self.cited()
        first = f"{self.letter}{next(iter(self.titles()))}"
        lines = [
            f"# {self.title}",
            "",
            f'Made by `python -m tests.{self.name}`. `make test ARGS="-k {first}."` runs the tests of one row.',
        ]
        for part, rows in self.parts.items():
            lines += ["", f"## {part}", "", "| | row | tests |", "|---|---|---|"]
            for number, title in rows.items():
                shown = tests.get(number, [])
                where = "<br>".join(f"`{test.partition('::')[0]}` {sentence(test)}" for test in shown)
                lines.append(f"| {self.letter}{number} | {title} | {where or f'not yet: {self.not_yet[number]}'} |")
        return "\n".join(lines) + "\n"


def tests_of(path: Path) -> Iterator[tuple[str, str]]:
    """Each test of a file with the docstrings that speak of it: its own, and those of its class.

    One that is expected to fail shows nothing.
    """
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            above, name = ast.get_docstring(node) or "", f"{node.name}::"
            tests = [each for each in node.body if isinstance(each, _FUNCTION)]
        elif isinstance(node, _FUNCTION):
            above, name, tests = "", "", [node]
        else:
            continue
        for each in tests:
            if each.name.startswith("test_") and not any("xfail" in ast.unparse(mark) for mark in each.decorator_list):
                yield f"{name}{each.name}", f"{above} {ast.get_docstring(each) or ''}"


def sentence(test: str) -> str:
    return test.rpartition("::")[2].removeprefix("test_").replace("_", " ")
