"""A queue whose tasks are of both kinds: how many jobs a claim is for."""

from __future__ import annotations

from tests.helpers import wait_until
from tests.worker.support import Stage


def test_coroutines_are_not_claimed_by_the_number_of_threads(stage: Stage) -> None:
    """Any job might need one of four threads; what the last ones needed tells how many may be claimed."""
    count = 1500
    stage.many("amark", [(f"job {number}",) for number in range(count)])
    stage.worker("-p", "1", "-c", "4")
    succeeded = stage.key("meta"), "succeeded"
    wait_until(lambda: int(stage.raw().hget(*succeeded) or 0) == count, 20, "all of them")
    (last,) = stage.raw().hvals(stage.key("claims"))
    claims = int(last.split(b":")[0])
    assert claims < count / 4 / 2, "each claim was for as many as there are threads"
