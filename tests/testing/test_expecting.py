"""What a test asks: which jobs were enqueued, with what."""

from __future__ import annotations

import threading

import pytest

from quaff import UnknownTask, chain
from quaff.testing import Kit
from tests.testing import shop
from tests.testing.shop import Order


@pytest.fixture
def sent(jobs: Kit) -> Kit:
    """Some jobs were."""
    shop.add.delay(1, b=2)
    shop.add.options(queue="other", delay=60).delay(3)
    shop.ship.delay(Order(7, ["tea"]), urgent=True)
    return jobs


def test_a_job_is_found_by_its_task_by_some_of_its_arguments_and_by_its_queue(sent: Kit) -> None:
    """However they were given: by place, by name, or not at all."""
    assert len(sent.enqueued()) == 3
    assert sent.assert_enqueued(shop.add, args=(1,)) == sent.assert_enqueued("add", kwargs={"a": 1, "b": 2})
    assert sent.assert_enqueued(shop.add, kwargs={"b": 0}) == sent.assert_enqueued(queue="other")
    sent.assert_enqueued(shop.ship, args=(Order(7, ["tea"]),), kwargs={"urgent": True}, queue="mail")
    sent.assert_enqueued(shop.add, count=2)


def test_it_is_the_handle_so_that_more_can_be_asked_of_it(sent: Kit) -> None:
    job = sent.assert_enqueued(queue="other")
    due = job.info().scheduled_for
    assert due is not None
    assert (due - sent.now).total_seconds() == 60


def test_what_was_not_enqueued_is_told_beside_what_was(sent: Kit) -> None:
    with pytest.raises(AssertionError) as raised:
        sent.assert_enqueued(shop.add, args=(9,))
    assert str(raised.value).startswith("add(a=9) was not enqueued. What was enqueued:\n  ")
    assert "\n  add(a=1, b=2) in queue default" in str(raised.value)
    assert "\n  ship(order=Order(number=7, lines=['tea']), urgent=True) in queue mail" in str(raised.value)
    with pytest.raises(AssertionError, match=r"add\(\) was 2 times enqueued, and 1 were expected"):
        sent.assert_enqueued(shop.add, count=1)
    with pytest.raises(AssertionError, match="any task in queue nowhere was not enqueued"):
        sent.assert_enqueued(queue="nowhere")


def test_what_must_not_be_enqueued_is_refuted(sent: Kit) -> None:
    sent.refute_enqueued(shop.double)
    sent.refute_enqueued(shop.add, args=(9,))
    with pytest.raises(AssertionError, match=r"was enqueued:\n  ship\(.*urgent=True\) in queue mail"):
        sent.refute_enqueued(shop.ship, kwargs={"urgent": True})


def test_what_was_run_was_enqueued_whatever_came_of_it(sent: Kit) -> None:
    """Also what another job has sent, or a flow, and in an inline block."""
    flow = chain(shop.add.s(20, 1), shop.double.s()).delay()
    shop.sends.delay(4)
    shop.broken.delay()
    sent.run_all(raises=False)
    sent.assert_enqueued(shop.add, args=(1, 2))
    sent.assert_enqueued(shop.add, args=(4, 4))
    sent.assert_enqueued(shop.double, args=(21,))
    assert sent.assert_enqueued(shop.broken).state == "failed"
    assert flow.state == "succeeded"
    with sent.inline():
        shop.note.delay("inline")
    sent.assert_enqueued(shop.note, args=("inline",))


def test_performing_is_not_sending(sent: Kit) -> None:
    assert sent.perform(shop.double, 5) == 10
    sent.refute_enqueued(shop.double)


def test_a_job_from_another_thread_may_still_come(jobs: Kit) -> None:
    timer = threading.Timer(0.05, shop.add.delay, (1,))
    timer.start()
    jobs.assert_enqueued(shop.add, within=10)
    timer.join()
    with pytest.raises(AssertionError, match="What was enqueued:\n"):
        jobs.assert_enqueued(shop.note, within=0.02)


def test_questions_that_no_job_could_answer_are_refused(jobs: Kit) -> None:
    with pytest.raises(UnknownTask, match="Did you mean 'add'"):
        jobs.refute_enqueued("ad")
    with pytest.raises(TypeError, match=r"no call of add has these arguments: got an unexpected keyword argument 'c'"):
        jobs.refute_enqueued(shop.add, kwargs={"c": 1})
    with pytest.raises(TypeError, match="say of which"):
        jobs.refute_enqueued(args=(1,))
