"""The benchmark runs, and Quaff keeps its distance from the bare loop: a ratio within one run, never a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Program, python

BENCH = Path(__file__).parents[1] / "bench"


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_one_process_drains_at_least_0_4_times_as_fast_as_the_bare_loop(
    running: Callable[[Program], Program], tmp_path: Path
) -> None:
    """Of three rounds the median; usually it is above 0.6."""
    told = tmp_path / "result.json"
    bench = running(python(str(BENCH / "drain.py"), "--jobs=20000", "--rounds=3", f"--json={told}"))
    assert bench.wait(150) == 0, bench.output
    result = json.loads(told.read_text())
    assert len(result["rounds"]) == 3
    for each in result["rounds"]:
        assert each["floor"]["drained"] == each["quaff"]["drained"] == 20_000
    assert result["summary"]["ratio"]["median"] >= 0.4, bench.output
    assert bench.stdout[-1].startswith("drain: ratio ")
