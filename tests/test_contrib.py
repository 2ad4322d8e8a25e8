"""What is there to be copied works as it stands."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from quaff.cli import program
from quaff.config import Settings

CONTRIB = Path(__file__).parents[1] / "contrib"
UNITS = sorted((CONTRIB / "systemd").glob("*.service"))


def service(path: Path) -> configparser.SectionProxy:
    """The section that says what runs."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit["Service"]


def understood(words: list[str]) -> click.Context:
    """A command line of ours, read by Click and not run."""
    group = program()
    name, command, rest = group.resolve_command(click.Context(group), words)
    assert command is not None
    return command.make_context(name, rest)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_a_unit(path: Path, tmp_path: Path) -> None:
    """Its programs are those of a machine that has the shop; another one stands in for them."""
    unit = tmp_path / path.name
    unit.write_text(re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", path.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_workers_unit_starts_a_worker_and_gives_it_time_to_stop() -> None:
    found = service(CONTRIB / "systemd" / "shop-worker.service")
    _, *words = shlex.split(found["ExecStart"])
    assert understood(words).params["app"] == "cards:create_app"
    assert float(found["TimeoutStopSec"]) > Settings().grace + 1


def test_the_image_starts_a_worker_that_gets_the_signals_itself() -> None:
    """Exec form: with a shell in between SIGTERM would not reach it."""
    lines = (CONTRIB / "Containerfile").read_text().splitlines()
    (command,) = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    _, *words = json.loads(command)
    assert understood(words).params["app"] == "cards:create_app"
