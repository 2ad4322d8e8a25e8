"""The kit: jobs run when the test says so, in its own thread, as a worker would run them."""

from __future__ import annotations

import asyncio
import itertools
import threading
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quaff import (
    Cancel,
    ConfigurationError,
    JobFailed,
    JobState,
    Quaff,
    Retry,
    Snooze,
    chain,
    chord,
    current_job,
    group,
)
from quaff.audit.auditor import Audit
from quaff.model.steering import TimeLimit
from quaff.store.pages import names, partitions
from quaff.store.probe import Line, lines
from quaff.testing import Kit, kit
from tests.helpers import wait_until
from tests.matrix import owners
from tests.testing import shop
from tests.testing.shop import Order, OutOfStock

# Running


def test_nothing_runs_before_it_is_told_to_and_then_in_the_thread_of_the_test(jobs: Kit) -> None:
    job = shop.note.delay("it")
    assert (shop.ran, job.state) == ([], "queued")
    assert jobs.run_all() == [job]
    assert (shop.ran, job.state) == ([("it", threading.get_ident())], "succeeded")
    assert jobs.run_all() == []


def test_what_a_job_sends_is_run_too_and_coroutines_beside_functions(jobs: Kit) -> None:
    first, second = shop.sends.delay(4), shop.double.delay(8)
    jobs.run_all()
    assert jobs.app.job(first.result(1)).result(1) == 8
    assert second.result(1) == 16


def test_arguments_and_results_travel(jobs: Kit) -> None:
    order = Order(7, ["tea"])
    job = shop.ship.delay(order)
    jobs.run_all()
    assert job.result(1) == order == shop.ran[0]
    assert shop.ran[0] is not order
    with pytest.raises(TypeError, match="argument 'order'"):
        shop.ship.delay("no order")  # type: ignore[arg-type]


def test_what_a_task_raises_is_raised_where_the_test_is_with_its_own_frames(jobs: Kit) -> None:
    job, after = shop.broken.delay(), shop.add.delay(1)
    with pytest.raises(OutOfStock, match="nothing left") as raised:
        jobs.run_all()
    assert any(frame.name == "broken" for frame in traceback.extract_tb(raised.value.__traceback__))
    assert (job.state, after.state) == ("failed", "queued")
    assert jobs.run_all() == [after]


def test_with_raises_false_a_failure_is_recorded_and_the_others_run(jobs: Kit) -> None:
    job, after = shop.broken.delay(), shop.add.delay(1)
    assert jobs.run_all(raises=False) == [job, after]
    with pytest.raises(JobFailed, match="OutOfStock: nothing left"):
        job.result(1)


@pytest.mark.parametrize(("kind", "raised"), [("fail", pytest.fail.Exception), ("stop", KeyboardInterrupt)])
def test_what_is_meant_for_the_test_run_always_comes_to_it(jobs: Kit, kind: str, raised: type[BaseException]) -> None:
    """A Ctrl+C, and a check within a task, also where failures of jobs are only recorded."""
    shop.checks.delay(kind)
    with pytest.raises(raised):
        jobs.run_all(raises=False)


def test_an_attempt_that_is_tried_again_raises_nothing_and_what_is_due_at_once_runs_at_once(jobs: Kit) -> None:
    later, now = shop.flaky.delay(3), shop.at_once.delay(3)
    assert jobs.run_all() == [later, now, now, now]
    assert (later.state, now.result(1)) == ("retrying", 3)
    assert [each.outcome for each in now.info().attempts] == ["failed", "failed", "succeeded"]


def test_a_job_longer_than_its_timeout_is_cut_short_and_the_test_goes_on(jobs: Kit) -> None:
    job = shop.slow.delay()
    with pytest.raises(TimeLimit, match=r"limit of 0\.2 s"):
        jobs.run_all()
    assert job.state == "failed"
    assert jobs.perform(shop.add, 1, 2) == 3


def test_a_task_that_sends_itself_is_noticed_and_what_was_not_begun_waits(jobs: Kit) -> None:
    shop.forever.delay()
    with pytest.raises(AssertionError, match=r"20 attempts were run.* of forever.*larger limit="):
        jobs.run_all(limit=20)
    assert jobs.app.queue("default").stats().queued == 1
    assert jobs.app.queue("default").stats().running == 0


def test_progress_lines_and_values_are_there_afterwards(jobs: Kit) -> None:
    said, given = shop.talks.delay(), shop.counts.delay(1500)
    jobs.run_all()
    info = said.info()
    assert info.progress is not None
    assert (info.progress.done, [line.text for line in info.logs]) == (1, ["begun", "half done"])
    assert list(given.stream(timeout=5)) == list(range(1500))


def test_calls_of_a_batch_task_run_together_as_many_as_there_are(jobs: Kit) -> None:
    sent = shop.together.map([(n,) for n in range(4)])
    jobs.run_all()
    assert shop.ran == [[0, 1, 2], [3]]
    assert [job.result(1) for job in sent] == [0, 10, 20, 30]


def test_flows_run_to_their_end_over_several_queues(jobs: Kit) -> None:
    flow = chain(shop.add.s(1, 2), shop.double.s(), shop.add.s(4)).delay()
    both = chord([shop.double.s(n) for n in (1, 2)], shop.note.si("done")).delay()
    jobs.run_all()
    assert (flow.result(1), both.state) == (10, "succeeded")
    assert [what for what, _ in shop.ran] == ["done"]  # type: ignore[misc]


def test_who_is_told_of_a_job_that_is_given_up_is_told(jobs: Kit) -> None:
    job = shop.hopeless.delay()
    jobs.run_all(raises=False)
    assert shop.ran == [job.id]


def test_what_is_paused_or_parked_waits(jobs: Kit) -> None:
    job = shop.add.delay(1)
    stranger = jobs.app.task(lambda: None, name="stranger").delay()
    del jobs.app.tasks["stranger"]
    jobs.app.queue("default").pause()
    assert jobs.run_all() == []
    jobs.app.queue("default").resume()
    assert jobs.run_all() == [job]
    assert stranger.info().parked


def test_a_queue_that_no_task_names_is_served_when_something_was_sent_there(jobs: Kit) -> None:
    job = shop.add.options(queue="elsewhere").delay(2)
    assert jobs.run_all() == [job]


def test_what_is_left_behind_on_the_server_is_as_the_engine_leaves_it(jobs: Kit) -> None:
    """One engine: its own auditor finds nothing wrong after all of this."""
    for task in (shop.flaky, shop.add):
        task.delay(2)
    shop.together.map([(1,), (2,)])
    chain(shop.add.s(1), shop.double.s()).delay()
    shop.broken.delay()
    shop.onboard.delay(1)
    jobs.run_all(raises=False)
    jobs.run_for("70m")
    line = Line(jobs.app.backend.endpoint)
    homes = partitions([line], jobs.app.settings.namespace)
    assert len(homes) > 3
    assert [finding for home, keys in homes.items() for finding in Audit(line, home, keys, 3).run()] == []
    line.close()


# Inline


def test_inline_a_job_has_run_when_delay_returns_with_its_arguments_encoded(jobs: Kit) -> None:
    order = Order(7, [])
    with jobs.inline():
        job = shop.ship.delay(order)
        assert (job.state, shop.ran) == ("succeeded", [order])
        assert shop.ran[0] is not order
        with pytest.raises(OutOfStock):
            shop.broken.delay()
        assert group(shop.add.s(1), shop.double.s(2)).delay().result(1) == [1, 4]
        assert jobs.app.job(shop.sends.delay(2).result(1)).state == "succeeded"
    assert shop.add.delay(1).state == "queued"


def test_inline_a_batch_runs_when_it_is_sent(jobs: Kit) -> None:
    with jobs.inline():
        with jobs.app.batch():
            job = shop.note.delay("first")
            assert shop.ran == []
        assert job.state == "succeeded"


# One call


def test_perform_runs_one_call_with_its_job_and_gives_the_value(jobs: Kit) -> None:
    order = Order(1, ["a"])
    value = jobs.perform(shop.ship, order, urgent=True)
    assert value == order
    assert value is not order
    assert (jobs.perform(shop.double, 4), jobs.perform(shop.flaky, 1), jobs.perform(shop.together, 4)) == (8, 1, 40)  # type: ignore[arg-type]
    assert not current_job


def test_perform_does_not_care_what_waits_or_what_limits_there_are(jobs: Kit) -> None:
    shop.once.delay(1)
    assert [jobs.perform(shop.once, 1) for _ in range(3)] == [1, 1, 1]
    assert [job.id for job in jobs.enqueued()] == [shop.once.delay(1).id]


@pytest.mark.parametrize(("how", "kind"), [("retry", Retry), ("snooze", Snooze), ("cancel", Cancel)])
def test_perform_raises_what_the_attempt_raised(jobs: Kit, how: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        jobs.perform(shop.steered, how)
    with pytest.raises(OutOfStock, match="attempt 1"):
        jobs.perform(shop.flaky, 2)
    assert jobs.run_for("1h") == []


def test_perform_says_of_a_task_that_waits_how_to_test_it(jobs: Kit) -> None:
    with pytest.raises(AssertionError, match=r"the task waits.*run_for\(\)"):
        jobs.perform(shop.onboard, 1)


def test_steps_sleeps_and_signals_work(jobs: Kit) -> None:
    job = shop.onboard.delay(1)
    jobs.run_for("1d")
    assert job.state == "scheduled"
    jobs.run_for("1d")
    job.signal("plan", "pro")
    jobs.run_all()
    assert job.result(1) == "user 1 on pro"


# Time


def test_time_stands_still_until_it_is_moved(jobs: Kit) -> None:
    before = jobs.now
    job = shop.add.options(delay=60).delay(1)
    assert job.info().scheduled_for == before + timedelta(seconds=60)
    jobs.travel(59.9)
    assert jobs.run_all() == []
    jobs.travel(0.1)
    assert jobs.run_all() == [job]
    assert [each.started_at for each in job.info().attempts] == [jobs.now] == [before + timedelta(seconds=60)]


def test_run_for_runs_each_job_when_it_is_due(jobs: Kit) -> None:
    before, job = jobs.now, shop.flaky.delay(4)
    assert jobs.run_for("1h") == [job] * 4
    offsets = [each.started_at - before for each in job.info().attempts if each.started_at]
    assert [each.total_seconds() for each in offsets] == [0, 60, 180, 420]
    assert jobs.now == before + timedelta(hours=1)


def test_schedules_fire_as_time_goes_by_and_each_instant_has_its_job(jobs: Kit) -> None:
    jobs.run_for("3d")
    reports = [each for each in shop.ran if isinstance(each, datetime)]
    assert len(reports) == 3
    assert {each.hour for each in reports} == {shop.HOUR}
    assert reports == sorted({each.replace(tzinfo=UTC) for each in reports})


def test_travel_puts_what_schedules_bring_in_line_and_runs_nothing(jobs: Kit) -> None:
    jobs.travel("3d")
    assert shop.ran == []
    jobs.assert_enqueued(shop.report, queue="reports", count=3)
    jobs.run_all()
    assert len(shop.ran) == 3


def test_what_expires_does_by_the_clock_of_the_test_also_if_it_is_sent_later(jobs: Kit) -> None:
    jobs.run_for("1d")
    in_time = shop.add.options(expires=60).delay(1)
    assert jobs.run_all() == [in_time]
    late = shop.add.options(expires=60).delay(3)
    jobs.travel(61)
    assert jobs.run_all() == []
    assert late.state == "expired"


def test_a_limit_lets_the_next_one_start_when_its_time_has_come(jobs: Kit) -> None:
    sent = [shop.once.options(unique=None).delay(n) for n in range(3)]
    assert jobs.run_all() == sent[:1]
    assert jobs.run_for("2m") == sent[1:]


def test_results_stay_however_far_a_test_travels_unless_it_says_how_long(jobs: Kit) -> None:
    job = shop.add.delay(1)
    jobs.run_for("30d")
    assert job.result(1) == 1
    with kit(Quaff(), result_ttl=10) as own:
        short = own.app.task(shop.add.fn, name="short").delay(1)
        own.run_for(11)
        assert (short.state, own.app.settings.result_ttl) == ("succeeded", 10)


@pytest.mark.parametrize("bad", ["soon", -1, datetime(2011, 9, 24, tzinfo=UTC), datetime(2099, 1, 1)])  # noqa: DTZ001
def test_a_time_that_is_none_or_was_before_is_refused(jobs: Kit, bad: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^run_for\(\): '2 hours' is no time"):
        jobs.run_for("2 hours")
    with pytest.raises(ConfigurationError, match="travel"):
        jobs.travel(bad)  # type: ignore[arg-type]


# Coroutines, threads


def test_in_an_event_loop_coroutines_run_in_that_loop(jobs: Kit) -> None:
    async def test() -> None:
        task = jobs.app.task(_loop, name="loop")
        try:
            job = await task.adelay()
            assert await jobs.arun_all() == [job]
            assert await job.aresult(1) == id(asyncio.get_running_loop()) == await jobs.aperform(task)
            assert await jobs.aperform(shop.add, 1, 2) == 3
            with jobs.inline():
                assert (await shop.double.adelay(4)).state == "succeeded"
            later = await shop.double.options(delay=60).adelay(1)
            assert await jobs.arun_for(60) == [later]
            # And where nobody can await, in a loop of its own.
            assert jobs.perform(task) != id(asyncio.get_running_loop())
        finally:
            del jobs.app.tasks["loop"]

    asyncio.run(test())


async def _loop() -> int:
    return id(asyncio.get_running_loop())


def test_within_working_jobs_run_as_they_come_and_time_goes_on(jobs: Kit) -> None:
    with jobs.working():
        job = shop.at_once.delay(2)
        jobs.wait_for(job, "retrying")
        assert job.result(5) == 2
        assert shop.add.options(delay=0.05).delay(1, 2).result(5) == 3
    assert jobs.states(job) == ["running", "retrying", "running", "succeeded"]
    with pytest.raises(AssertionError, match=r"was not succeeded within 0.02 s, and is queued.*working\(\)"):
        jobs.wait_for(shop.add.delay(1), timeout=0.02)


def test_perform_runs_its_call_itself_whoever_else_runs_jobs(jobs: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, do, send = itertools.count(), jobs._worker.chores.do, jobs.app.send
    at = [0]

    def counted() -> bool:
        at[0] = next(rounds)
        return do()

    def sent(*args: Any) -> Any:
        result, before = send(*args), at[0]
        wait_until(lambda: at[0] > before + 1, 10, "a round of the working thread after the call was sent")
        return result

    with monkeypatch.context() as patched:
        patched.setattr(jobs._worker.chores, "do", counted)
        patched.setattr(jobs.app, "send", sent)
        with jobs.working():
            assert jobs.perform(shop.add, 1, 2) == 3
    with jobs.inline():
        assert jobs.perform(shop.add, 1, 2) == 3
        assert asyncio.run(jobs.aperform(shop.add, 1, 2)) == 3


def test_waiting_for_a_state_ends_when_the_job_has_ended_otherwise(jobs: Kit) -> None:
    job = shop.broken.delay()
    jobs.run_all(raises=False)
    with pytest.raises(AssertionError, match="was to be succeeded, and is failed"):
        jobs.wait_for(job)
    assert jobs.wait_for(job, JobState.FAILED) == job


# What it is made on


def test_it_takes_no_server_of_anybodys_and_leaves_the_application_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUAFF_URL", "redis://127.0.0.1:1")
    quaff = Quaff(namespace="mine")
    task = quaff.task(shop.add.fn, name="add")
    with kit(quaff) as first, kit(shop.quaff) as second:
        assert quaff.settings.url.startswith("embedded:///tmp/quaff-") or quaff.settings.url.startswith("embedded://")
        assert quaff.settings.namespace != shop.quaff.settings.namespace
        task.delay(1)
        assert (len(first.run_all()), second.run_all()) == (1, [])
    assert (quaff.settings.url, quaff.settings.namespace) == ("redis://127.0.0.1:1", "mine")


def test_another_server_may_be_given_and_nothing_stays_on_it(server_url: str) -> None:
    url = owners(server_url)  # the kit sends, runs and looks
    with kit(shop.quaff, url=url) as jobs:
        namespace = jobs.app.settings.namespace
        shop.add.delay(1)
        shop.broken.delay()
        assert len(jobs.enqueued()) == 2
        jobs.run_all(raises=False)
        assert jobs.app.settings.url == url
    with kit(shop.quaff, url=url) as jobs:
        assert jobs.enqueued() == []
        for line in lines(jobs.app.backend.endpoint).values():
            assert list(names(line, namespace)) == []
            line.close()


def test_an_object_without_a_quaff_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"kit\(7\)"), kit(7):
        pass
