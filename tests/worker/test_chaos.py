"""Everything that can go wrong, at once, and whether the harness would notice: its gate, and a rule left out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import helpers
from tests.chaos.deck import DECK
from tests.chaos.mutants import MUTANTS, mutate
from tests.chaos.servers import FAKETIME
from tests.helpers import Program
from tests.lacking import ALL, lacks

ROOT = helpers.SRC.parent


def chaos(running: Callable[[Program], Program], *arguments: str) -> tuple[int, Program]:
    """Run the harness to its end."""
    program = running(helpers.python("-m", "tests.chaos", *arguments, cwd=ROOT))
    code = program.wait(170)
    print(program.output)
    return code, program


def kept(run: Program) -> dict[str, int]:
    """The files that a run has left, and their bytes; they are gone then."""
    folder = next(line for line in run.stdout if line.startswith("everything is kept in ")).rpartition(" ")[2]
    found = {path.name: path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    return found


def numbers(run: Program, line: str) -> dict[str, int]:
    """What a line of the summary counts: ``jobs: 7 succeeded, 1 poison``, or ``deeds: child 7, itself 1``."""
    (found,) = (each for each in run.stdout if each.startswith(f"{line}:"))
    pairs = [re.sub(r"(\d+)", "", each).strip() for each in found.partition(":")[2].split(",")]
    return dict(zip(pairs, map(int, re.findall(r"\d+", found)), strict=True))


@pytest.mark.alone
@pytest.mark.timeout(200)
def test_the_promise_holds_whatever_happens(running: Callable[[Program], Program]) -> None:
    """Each card of the deck is played at least once; every job is accounted for, every second run explained.

    F1, F2, F15, F20, F23, F26, F27, F28, F29, F30, F31, F32, F33, F38, F48, F50, F54, F61, F69. I1, I3, I4, I5, I6,
    I10, I12, I13, I17, I20.
    """
    if FAKETIME is None and ALL:
        lacks("no libfaketime for the server's clock here: apt-get install libfaketime")
    code, run = chaos(running, "--duration", "30")
    assert code == 0, run.output
    assert re.fullmatch(r"chaos: commit (\w+\+?), (Valkey|Redis) [\d.]+, \w+ [\d.]+\w*", run.stdout[1])
    assert run.stderr == []
    assert re.fullmatch(r"chaos: \d+ jobs, 0 lost, 0 faults, seed \d+", run.stdout[-1])
    assert numbers(run, "calls")["accepted"] > 500
    assert numbers(run, "jobs")["second runs"] > 20, "a run in which nothing ran again proves nothing"
    assert numbers(run, "again").keys() >= {"failed", "killed", "silent", "stopped"}
    deeds = numbers(run, "deeds")
    assert min(deeds[kind] for kind in ("child", "supervisor", "orphan", "itself", "stopped", "silent")) > 0
    probes = re.search(r"^probes: +(\d+),", run.output, re.MULTILINE)
    assert probes is not None
    assert int(probes[1]) >= len(DECK)
    assert any(each.startswith("without: clock") for each in run.stdout) == (FAKETIME is None)


@pytest.mark.early
@pytest.mark.timeout(120)
def test_the_harness_goes_red_without_the_fence(running: Callable[[Program], Program]) -> None:
    """The late run of a worker that stood still is then recorded, though another one has the job. F2."""
    code, run = chaos(running, "--duration", "1", "--cards", "silence", "--without", "fence")
    assert code == 1, run.output
    assert any(line.startswith("FAULT overwritten:") for line in run.stdout)
    # What tells why is there: ledgers, logs, and what the server has, as it is and call by call.
    found = kept(run)
    assert {"workers.log", "producers.log", "deeds.txt", "dump.rdb"} <= found.keys()
    assert any(name.endswith(".incr.aof") and size > 10_000 for name, size in found.items()), found


@pytest.mark.timeout(120)
def test_a_run_that_met_nothing_is_void(running: Callable[[Program], Program]) -> None:
    """Nothing was wrong, and nothing was shown: not red, and not green either."""
    code, run = chaos(running, "--duration", "0", "--cards", "flush")
    assert code == 3, run.output
    (void,) = (each for each in run.stdout if each.startswith("void:"))
    assert "a late run was refused (FENCED)" in void
    assert "scripts loaded again" not in void
    assert "0 lost, 0 faults" in run.stdout[-1]
    assert "dump.rdb" in kept(run)


@pytest.mark.parametrize("name", MUTANTS)
def test_what_can_be_left_out_is_still_said_so_in_the_scripts(name: str, tmp_path: Path) -> None:
    """Else a harness without it would be one with it; the package itself is not touched."""
    folder = mutate(name, tmp_path)
    script, rule, instead = MUTANTS[name]
    assert instead in (folder / "quaff" / "store" / "lua" / script).read_text()
    assert rule in (helpers.SRC / "quaff" / "store" / "lua" / script).read_text()
