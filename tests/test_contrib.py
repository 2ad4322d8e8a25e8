"""What is there to be copied works as it stands."""

from __future__ import annotations

import configparser
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from quaff.cli import program
from quaff.config import Settings

ROOT = Path(__file__).parents[1]
CONTRIB = ROOT / "contrib"
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
    assert not [line for line in lines if line.startswith("ENTRYPOINT")]


def test_the_image_leaves_out_data_and_secrets() -> None:
    """Jobs of development, the environment of another machine, and what is in a file of settings."""
    lines = (CONTRIB / "Containerfile.dockerignore").read_text().splitlines()
    assert {".git", ".quaff", ".venv", "**/*.env"} <= set(lines)


def test_whatever_stops_a_container_gives_its_worker_longer_than_grace() -> None:
    """Docker kills after ten seconds unless it is told otherwise, Kubernetes after thirty."""
    page = (ROOT / "docs" / "tutorial" / "deploy.md").read_text()
    told = re.findall(r"--stop-timeout (\d+)|terminationGracePeriodSeconds: (\d+)", page)
    assert len(told) == 2
    assert all(float(one or other) > Settings().grace + 1 for one, other in told)


def test_each_step_of_the_release_is_there_to_be_run() -> None:
    """Scripts, targets of the Makefile, and files that these make."""
    makefile = (ROOT / "Makefile").read_text()
    steps = re.findall(r"- run: (.+?)(?: #.*)?$", (ROOT / ".github/workflows/release.yml").read_text(), re.MULTILINE)
    assert len(steps) > 2
    for step in steps:
        program, *words = shlex.split(step)
        if program == "make":
            assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in words), step
        elif program == "rm":
            made = re.findall(r"\s-o (dist/\S+)", makefile)
            assert all(fnmatch.filter(made, word) for word in words), step
        else:
            assert os.access(ROOT / program, os.X_OK), step
