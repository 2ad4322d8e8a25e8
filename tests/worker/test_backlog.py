"""F8, F63, F64: no backlog of one chore keeps another one waiting."""

from __future__ import annotations

import time

from tests.helpers import Program
from tests.worker.support import Stage

#: Seconds. A renewal every third of it leaves two thirds: the machine may stand still for more than two seconds.
LEASE = 5.0
#: Expired results that are put there at a time, and how many must be waiting at any moment: some 200 steps of a sweep.
SHOVEL, LEAST = 10_000, 20_000

FILL = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('%016d', i)
  redis.call('ZADD', KEYS[1], 1, id)
  redis.call('HSET', KEYS[2], id, 's0000000000001t.1.1|')
  redis.call('HSET', KEYS[3], id, 'a result')
end
"""


def test_leases_are_renewed_behind_a_backlog_of_expired_results(stage: Stage) -> None:
    """F8: for two leases the sweep always has more to do; no lease comes near its end, and nothing runs twice."""
    raw = stage.raw()
    keys = [stage.key(name) for name in ("done", "tomb", "res")]
    put = 0

    def keep_full() -> None:
        nonlocal put
        while raw.zcard(keys[0]) < LEAST:
            raw.eval(FILL, len(keys), *keys, put, put + SHOVEL - 1)
            put += SHOVEL

    keep_full()
    # Both sweep, so either takes back what the other one lets lapse.
    workers = [stage.worker("-p", "1", LEASE=str(LEASE)) for _ in range(2)]
    path = stage.file()
    job = stage.send("gate", "long", str(path))
    run = stage.started("long")
    least: dict[bytes, float] = {}
    until = time.monotonic() + 2 * LEASE
    while time.monotonic() < until:
        keep_full()
        for process, left in stage.leases().items():
            least[process] = min(left, least.get(process, LEASE))
    print(f"{put} results expired; the least that was left of a lease: {min(least.values()):.2f} s")
    assert len(least) == 2
    assert min(least.values()) > LEASE / 4
    path.touch()
    assert job.result(timeout=10) == "long"
    assert stage.runs() == [stage.runs("long")[0]]
    assert stage.runs()[0].pid == run.pid
    _quiet(workers)


def _quiet(workers: list[Program]) -> None:
    for worker in workers:
        assert not [line for line in worker.stderr if "silent" in line or "too late" in line], worker.output
