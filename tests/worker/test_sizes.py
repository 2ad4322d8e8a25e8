"""F53: what is too large is refused with the limit, on the way to a worker and on the way back."""

from __future__ import annotations

import re

import pytest

from quaff import JobFailed
from quaff.model import codec
from tests.helpers import python
from tests.worker.support import ROOT, Stage

LIMIT = 1000
#: One call of 64 MiB, again and again; then how much memory that took at most, and what of it is left, in MiB.
HUGE = """
import re
from pathlib import Path
from quaff import MessageTooLarge, Quaff

def mib(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

quaff = Quaff()
task = quaff.task(print, name="never")

def send(count):
    for _ in range(count):
        try:
            task.delay(data)
        except MessageTooLarge:
            yield 1

data = b"x" * (64 << 20)
refused = sum(send(1))  # what is loaded for it stays
before = mib("VmRSS")
refused += sum(send(5))
print(refused, mib("VmHWM") - before, mib("VmRSS") - before)
"""


def test_a_result_of_the_limit_is_kept_and_one_byte_more_has_failed_in_the_worker(stage: Stage) -> None:
    """F53, F59: both sizes are told, with the setting, and nothing of the value was sent."""
    stage.worker("-p", "1", MAX_RESULT=f"{LIMIT}")
    fits = next(b"x" * size for size in range(LIMIT, 0, -1) if len(codec.pack(b"x" * size)) == LIMIT)
    assert stage.send("echo", fits).result(timeout=10) == fits
    job = stage.send("echo", fits + b"x")
    with pytest.raises(JobFailed, match=re.escape("is 1,001 bytes, the limit is 1,000 (MAX_RESULT)")):
        job.result(timeout=10)
    assert [each.outcome for each in job.info().attempts] == ["failed"]
    kept = stage.raw().hget(stage.key("res"), bytes.fromhex(job.id[-32:]))
    assert b"xxxx" not in kept
    assert b"1,001 bytes" in kept


def test_a_call_that_is_refused_leaves_nothing_behind(stage: Stage) -> None:
    """F53: neither on the server, nor in the memory of who sends it, however large it was and however often."""
    program = python("-c", HUGE, cwd=ROOT, env=stage.environment())
    try:
        assert program.wait(30) == 0, program.output
        refused, most, left = map(int, program.stdout[-1].split())
    finally:
        program.end()
    print(f"{most} MiB at most, {left} left")
    assert refused == 6
    # The call as it would be sent, and what its parts are put together from.
    assert most < 3 * 64
    assert left < 8
    assert not stage.raw().exists(stage.key("msg"))
