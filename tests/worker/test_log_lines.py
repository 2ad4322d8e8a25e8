"""The worker's log: one record is one line, whatever texts come into it."""

from __future__ import annotations

import pytest

from quaff.model import codec, message
from quaff.worker.logs import first_line, printable
from tests.helpers import python, wait_until
from tests.worker.support import Stage
from tests.worker.test_messages import plant

#: Many threads that log at once, as a worker does.
CROWD = """
import logging
from concurrent.futures import ThreadPoolExecutor
from quaff.worker.logs import set_up

set_up("info")
with ThreadPoolExecutor(8) as pool:
    for number in range(2000):
        pool.submit(logging.getLogger("quaff.worker").info, "%d %s", number, "x" * (number * 17 % 20_000))
"""
EVIL = "\x1b[31mred\x1b[0m \r12:00:00 quaff.worker forged \u2028forged too \x00 \u202eesrever \x9b2J"


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x85", "\u2028", "\u2029"])
def test_a_text_is_one_printable_line(end: str) -> None:
    """S18: it ends where its first line does, and nothing in it speaks to a terminal."""
    assert first_line(f"first{end}second") == "first"
    assert printable(f"a{end}b").isprintable()
    assert first_line(EVIL).isprintable()
    assert len(first_line("x" * 10_000)) == 200


def test_what_fails_and_what_is_corrupt_forges_no_line(stage: Stage) -> None:
    """S18: an error's text, a task's name, and bytes that are no message; each is told in one line."""
    worker = stage.worker("-p", "1")
    failed = stage.send("fail", EVIL)
    unknown = plant(stage, message.encode(EVIL, [], {}))
    corrupt = plant(stage, b"\x01" + codec.pack((EVIL, [codec.Ext(6, EVIL.encode())], {}, 0)))
    wait_until(lambda: failed.state == corrupt.state == "failed" and unknown.info().parked, 10, "the end of all")
    wait_until(lambda: all(any(job.id in line for line in worker.stderr) for job in (failed, unknown, corrupt)))
    assert all(line.isprintable() for line in worker.stderr), worker.stderr
    assert not any(line.startswith(("12:00:00 quaff.worker forged", "forged")) for line in worker.stderr)
    assert sum(any(job.id in line for job in (failed, unknown, corrupt)) for line in worker.stderr) == 3


def test_what_many_threads_log_at_once_is_whole_lines() -> None:
    """S18: short ones, and long ones that no pipe takes at once."""
    crowd = python("-c", CROWD)
    try:
        assert crowd.wait() == 0
    finally:
        crowd.end()
    said = sorted(line.split(" ", 1)[1] for line in crowd.stderr)
    assert said == sorted(f"quaff.worker {number} {'x' * (number * 17 % 20_000)}" for number in range(2000))
