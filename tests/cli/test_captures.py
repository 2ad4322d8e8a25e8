"""What the docs show of a terminal is what commands print now: the same columns, and the same things looked at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from quaff.cli import jobs, looking, program
from tests.captures import APP, PAGE, SHOWN, WIDE
from tests.matrix import owners

CAPTURED = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text()
AGAIN = "docs/terminal.md is out of date: make captures"


def captured(command: str) -> list[str]:
    """The lines that the page shows of a command."""
    found = re.search(rf"^\$ {re.escape(command)}\n(.*?)^```$", CAPTURED, re.MULTILINE | re.DOTALL)
    assert found, AGAIN
    return found[1].splitlines()


def titles(lines: list[str]) -> list[list[str]]:
    """The columns of each table."""
    return [line.split() for line in lines if re.fullmatch(r"[A-Z]{2,}\s.*", line) and line.upper() == line]


@pytest.fixture
def folder(server_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The application of the page, with nothing done yet."""
    monkeypatch.setenv("QUAFF_URL", owners(server_url))
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "captured_shop.py").write_text(APP)
    return tmp_path


def printed(command: str, *more: str) -> list[str]:
    """What it prints here, without a terminal."""
    words = command.replace("-A shop", "-A captured_shop").split()[1:]
    done = CliRunner().invoke(program(), [*words, *more], env={"COLUMNS": str(WIDE)})
    assert done.exit_code in (0, 1), done.output
    return done.output.splitlines()


def test_the_page_has_each_command_as_it_is_captured() -> None:
    """With the same words around it."""
    assert CAPTURED.startswith(PAGE.format(wide=WIDE)), AGAIN
    assert re.findall(r"^\$ (.*)$", CAPTURED, re.MULTILINE) == [command for _, command, _ in SHOWN], AGAIN
    assert all(len(line) <= WIDE for _, command, _ in SHOWN for line in captured(command))


def test_the_columns_are_those_that_are_printed(folder: Path) -> None:
    """Of queues, workers, failures, tasks and jobs."""
    (top, tasks, list_, _) = (command for _, command, _ in SHOWN)
    known = [[title.removeprefix(">") for title in row if title] for row in (looking.QUEUES, looking.WORKERS)]
    assert titles(captured(top))[:2] == known, AGAIN
    assert titles(printed(top, "--once"))[0] == known[0]
    assert titles(captured(top))[2] == [title.removeprefix(">") for title in looking.FAILURES], AGAIN
    assert titles(captured(tasks)) == [[title.removeprefix(">") for title in looking.TASKS]], AGAIN
    assert titles(captured(list_)) == [[title.removeprefix(">") for title in jobs.COLUMNS]], AGAIN


@pytest.mark.only("valkey", why="it is that server which is captured")
def test_the_doctor_looks_at_what_the_page_says(folder: Path) -> None:
    """The same checks in the same order."""
    (*_, doctor) = (command for _, command, _ in SHOWN)

    def checks(lines: list[str]) -> list[str]:
        found = re.findall(r"^(?:ok|warn|danger|unknown) +([a-z ]+):", "\n".join(lines), re.MULTILINE)
        return [each for each in found if not each.startswith("queue ")]

    assert checks(captured(doctor)) == checks(printed(doctor)), AGAIN
