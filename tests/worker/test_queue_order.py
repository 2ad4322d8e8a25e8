"""In what order a worker looks at its queues: strict, by weights, in turns."""

from __future__ import annotations

from collections import Counter

import pytest
from click.testing import CliRunner

from quaff.cli import program
from tests.helpers import wait_until
from tests.worker.support import Stage


def fill(stage: Stage, count: int, *queues: str) -> None:
    """So many jobs of a hundredth of a second in each queue: too long to be claimed in advance."""
    for queue in queues:
        stage.many("nap", [(queue, 0.01)] * count, queue=queue)


def order(stage: Stage, count: int) -> list[str]:
    """The queues of the first starts."""
    wait_until(lambda: len(stage.runs()) >= count, 30)
    return [run.tag for run in stage.runs()][:count]


def test_queues_in_their_order_are_strict(stage: Stage) -> None:
    """The second one is looked at when nothing waits in the first."""
    fill(stage, 40, "low", "high")
    stage.worker("-p", "1", "-c", "1", "-Q", "high,low")
    assert order(stage, 80) == ["high"] * 40 + ["low"] * 40


def test_weights_share_the_claims_and_nobody_starves(stage: Stage) -> None:
    """Of ten claims six, three and one, evenly: no queue waits for longer than its share says."""
    fill(stage, 100, "high", "mid", "low")
    stage.worker("-p", "1", "-c", "1", "-Q", "high:6,mid:3,low:1")
    starts = order(stage, 100)
    counts = Counter(starts)
    assert (counts["high"], counts["mid"], counts["low"]) == pytest.approx((60, 30, 10), abs=4)
    low = [place for place, queue in enumerate(starts) if queue == "low"]
    assert max(later - earlier for earlier, later in zip([0, *low], low, strict=False)) <= 13


def test_a_queue_without_work_costs_the_others_nothing(stage: Stage) -> None:
    """What it would have had goes to those that have some."""
    fill(stage, 60, "low")
    stage.worker("-p", "1", "-c", "1", "-Q", "high:9,low:1")
    assert order(stage, 60) == ["low"] * 60
    first, last = stage.runs()[0].started, stage.runs()[-1].started
    assert last - first < 60 * 0.05


def test_equal_weights_take_turns(stage: Stage) -> None:
    """Evenly."""
    fill(stage, 30, "default", "slow")
    stage.worker("-p", "1", "-c", "1", "-Q", "default:1,slow:1")
    assert Counter(order(stage, 40)) == pytest.approx({"default": 20, "slow": 20}, abs=2)


@pytest.mark.parametrize("given", ["a:x", "a:0", "a:1,b", "a:-1", "a:10000", "a b", "", "a:1:2"])
def test_a_list_that_cannot_be_is_refused(given: str) -> None:
    """With the exit code of a wrong command line."""
    told = CliRunner().invoke(program(), ["worker", "-A", "tests.worker.workapp:quaff", "-Q", given])
    assert told.exit_code == 2, told.output
    assert "-Q" in told.output or "queue" in told.output
