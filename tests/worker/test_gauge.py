"""How large a process is while something runs in it: its largest, also where it is small again at the end."""

from __future__ import annotations

import os

import pytest

from quaff.worker.gauge import Gauge
from quaff.worker.run import Run

MUCH = 64 * 2**20


def begun(gauge: Gauge) -> Run:
    """An attempt that begins now."""
    nothing: list[object] = [None, None]
    run = Run(*nothing, 0.0, 0.0, 0.0, 0.0)  # type: ignore[arg-type]
    run.smallest = gauge.now
    return run


def test_an_attempt_is_told_by_how_much_its_process_grew_and_not_the_next_one() -> None:
    """Seen while it was large; what is given back before the end of an attempt was needed all the same."""
    gauge = Gauge(counted=True)
    run, beside = begun(gauge), begun(gauge)
    block = b"x" * MUCH
    gauge.look([run])
    del block
    assert gauge.grown(run) == pytest.approx(MUCH, rel=0.1)
    assert gauge.grown(beside) < MUCH / 2, "nobody has looked for it"
    assert gauge.grown(begun(gauge)) < MUCH / 2


def test_where_nobody_counts_nobody_looks() -> None:
    """It costs nothing then."""
    gauge = Gauge()
    assert (gauge.on, gauge.now) == (False, 0)


@pytest.mark.parametrize("instead", ["/dev/null", "/proc/self/comm", "."])
def test_where_a_task_has_closed_its_file_it_looks_no_more(instead: str) -> None:
    """Whatever has that number now: the thread that looks goes on, for it ends attempts at their limits."""
    gauge = Gauge(counted=True)
    file = os.open(instead, os.O_RDONLY)
    os.dup2(file, gauge._file)
    os.close(file)
    gauge.look([begun(gauge)])
    assert not gauge.on
    os.close(gauge._file)
    gauge.look([begun(gauge)])
