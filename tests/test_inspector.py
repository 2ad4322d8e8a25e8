"""What an operator sees: queues, jobs by page and filter, failures, workers; dead letters, sent back or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from quaff import ConfigurationError, DeadLetter, Inspector, Job, JobNotFound, ServerUnavailable
from quaff.model import outcome
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.states import JobState
from quaff.store.keys import partition
from quaff.store.transitions import claim, settle
from tests.helpers import wait_until
from tests.store.engine import Desk
from tests.worker.support import Stage

ME = b"p" * 8


@pytest.fixture
def stage(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A namespace of its own."""
    stage = Stage(server_url, tmp_path_factory.mktemp("inspector"))
    yield stage
    stage.end()


def fail(
    stage: Stage, task: str, error: str, count: int = 1, queue: str = "default", why: str = "why"
) -> list[Job[object]]:
    """Jobs that were given up for an error, without the time that a worker takes."""
    jobs = stage.many(task, [("x",)] * count, queue=queue)
    home = partition(stage.namespace, queue)
    desk = Desk(stage.url, stage.namespace, queue=queue)
    run = desk.store.run
    while jobs:
        take = claim(
            home,
            process=ME,
            number=fail.number,
            claim_id=b"%d" % fail.number,
            count=40,  # as many failures as one settle takes
            free=0,
            idle=True,
            lease_ms=9999,
        )
        fail.number += 1
        leases = run(take).leases
        if not leases:
            break
        attempt = Attempt(1, 1, 2, "w", 3, "failed", Failure("error", error, why))
        record = outcome.encode(Outcome(task, 0, attempt))
        items = [(lease.id, lease.token, JobState.FAILED, 60_000, b"", record) for lease in leases]
        run(settle(home, process=ME, window_ms=60_000, items=items))
    desk.close()
    return jobs


fail.number = 1  # type: ignore[attr-defined]


def test_an_operator_finds_what_was_given_up_and_why(stage: Stage) -> None:
    """With real workers: an error, a crash too many; each with its task, its time and its reason."""
    stage.worker("-p", "1", MAX_CRASHES="1")
    # One after the other: a job that runs beside one that dies is charged, too.
    raised = stage.send("fail", "SystemExit")
    wait_until(lambda: raised.state.terminal, 20, "the failure")
    died = stage.send("die", "dies", "SIGSEGV")
    wait_until(lambda: died.state.terminal, 20, "the crash")
    found = {letter.id: letter for letter in Inspector(stage.quaff).failed()}
    assert set(found) == {raised.id, died.id}
    first, second = found[raised.id], found[died.id]
    assert (first.queue, first.task, first.reason, first.error) == ("default", "fail", "error", "SystemExit")
    assert (second.task, second.reason, second.error) == ("die", "poison", "SIGSEGV")
    assert "SIGSEGV" in second.message
    assert timedelta(0) <= datetime.now(UTC) - first.failed_at < timedelta(minutes=1)


def test_pages_are_read_to_the_end_also_where_hundreds_failed_in_one_moment(stage: Stage) -> None:
    """Each letter once; a queue is asked for alone or with all others."""
    mail = fail(stage, "mark", "OSError", 730, queue="mail")
    home = partition(stage.namespace, "mail")
    dead = stage.raw().zrange(home.key("dead"), 0, -1)
    stage.raw().zadd(home.key("dead"), {id: 1000 + place // 350 for place, id in enumerate(dead)})
    here = fail(stage, "mark", "OSError", 3)
    found = [letter.id for letter in Inspector(stage.quaff).failed(queue="mail")]
    assert len(found) == 730
    assert set(found) == {job.id for job in mail}
    assert {letter.id for letter in Inspector(stage.quaff).failed()} == {job.id for job in here}
    stage.quaff.task(fail, name="of_mail", queue="mail")
    assert len(list(Inspector(stage.quaff).failed())) == 733


def test_a_letter_that_is_too_long_for_a_page_is_read_by_itself(stage: Stage) -> None:
    """All of its text, and its task."""
    jobs = fail(stage, "mark", "OSError", 2, why="x" * 20_000)
    found = list(Inspector(stage.quaff).failed(error="OSError"))
    assert {letter.id for letter in found} == {job.id for job in jobs}
    assert {(letter.task, letter.message) for letter in found} == {("mark", "x" * 20_000)}


def test_all_that_match_are_sent_back_or_deleted_and_nothing_else(stage: Stage) -> None:
    """By task, by error, by both; the number of them is told."""
    inspector = Inspector(stage.quaff)
    a = fail(stage, "mark", "OSError", 250)
    b = fail(stage, "mark", "ValueError", 3)
    c = fail(stage, "amark", "OSError", 4)
    assert inspector.requeue_failed(task="mark", error="OSError") == 250
    assert {job.state for job in a} == {JobState.QUEUED}
    assert {job.state for job in (*b, *c)} == {JobState.FAILED}
    assert inspector.discard_failed(error="OSError") == 4
    left = list(inspector.failed())
    assert {letter.id for letter in left} == {job.id for job in b}
    assert all(isinstance(letter, DeadLetter) and letter.error == "ValueError" for letter in left)
    assert inspector.requeue_failed(task="nobody") == 0
    stage.worker("-p", "1")
    for job in a:
        assert job.result(timeout=30) == "x"


def test_what_fails_again_while_it_is_sent_back_is_not_sent_back_twice(stage: Stage) -> None:
    """A worker is faster than the operator: the call ends, and each job has run once more."""
    stage.worker("-p", "1")
    jobs = stage.many("fail", [("SystemExit",)] * 300)
    wait_until(lambda: all(job.state.terminal for job in jobs), 30, "the failures")
    assert Inspector(stage.quaff).requeue_failed() == 300
    wait_until(lambda: all(job.state.terminal for job in jobs), 30, "the failures again")
    assert {len(job.info().attempts) for job in jobs} == {2}


def test_outcomes_times_and_failures_are_counted(stage: Stage) -> None:
    """Of a real worker: by task and queue, by the minute; its counters say what the exact ones say."""
    stage.worker("-p", "2")
    good = stage.many("nap", [(str(place), 0.02) for place in range(20)])
    late = stage.quaff.tasks["mark"].options(delay=4).delay("late")
    bad = stage.many("fail", [("SystemExit",)] * 5) + stage.many("hopeless", [("raise",)])
    wait_until(lambda: all(job.state.terminal for job in (*good, *bad, late)), 20, "the ends")
    inspector = Inspector(stage.quaff)

    def counted() -> bool:
        (row,) = inspector.queues()
        return row.recent.ended >= row.stats.succeeded + row.stats.failed

    wait_until(counted, 5, "the last tally")
    (row,) = inspector.queues()
    stats = row.stats
    numbers = (row.recent.succeeded, row.recent.failed, row.recent.retried)
    assert numbers == (stats.succeeded, stats.failed, stats.retried) == (21 + 1, 6, 1)
    assert row.workers == 1
    tasks = {task.name: task for task in inspector.tasks()}
    assert tasks["nap"].total.succeeded == tasks["nap"].total.run.count == 20
    middle = tasks["nap"].total.run.percentile(0.5)
    assert middle is not None
    assert 0.015 < middle < 0.2
    wait = tasks["mark"].total.wait
    assert wait.count == 1
    assert wait.sum < 3.9, "a delayed job has not waited until it was due"
    assert tasks["nap"].queues == ["default"]
    minutes = inspector.series(minutes=60)
    assert len(minutes) == 60
    assert sum(each.counts.ended for each in minutes) == 28
    assert sum(each.counts.succeeded for each in inspector.series(task="nap", hours=2)) == 20
    groups = {group.task: group for group in inspector.failures()}
    assert (groups["fail"].error, groups["fail"].attempts, groups["fail"].given_up) == ("SystemExit", 5, 5)
    assert groups["fail"].frame == "workapp.py in fail"
    assert set(groups["fail"].jobs) <= {job.id for job in bad}
    assert (groups["hopeless"].attempts, groups["hopeless"].given_up) == (2, 1)


def test_what_tasks_cost_in_memory_and_on_the_server_is_counted(stage: Stage) -> None:
    """By how much a process grew meanwhile; messages, results and lines; the most first of what is asked for."""
    stage.worker("-p", "1", "-c", "1")
    text = "x" * 10_000
    jobs = [*stage.many("nap", [("a", 0.05)] * 3), stage.send("grow", "b"), *stage.many("echo", [(text,)] * 4)]
    jobs += [stage.send("talk", "y" * 100, 50), *stage.many("nap", [("c", 0.05)] * 3)]
    wait_until(lambda: all(job.state.terminal for job in jobs), 30, "the ends")
    inspector = Inspector(stage.quaff)
    wait_until(lambda: sum(row.total.ended for row in inspector.tasks()) == len(jobs), 10, "the last tally")
    found = {row.name: row.total for row in inspector.tasks()}
    grown = found["grow"].memory
    assert grown.count == 1
    assert grown.sum == pytest.approx(200 * 2**20, rel=0.1)
    assert found["nap"].memory.count == 6
    assert found["nap"].memory.sum < grown.sum / 4, "what the one before it has kept is not its own"
    assert 20_000 < (found["echo"].stored_each or 0) < 20_500, "there as an argument, and back as a result"
    assert 5_000 < found["talk"].stored < 20_000
    assert [inspector.tasks(by)[0].name for by in ("memory", "size", "bytes")] == ["grow", "echo", "echo"]
    assert sum(each.counts.stored for each in inspector.series()) == sum(each.stored for each in found.values())
    with pytest.raises(ConfigurationError, match="Did you mean 'memory'"):
        inspector.tasks("memroy")


def test_who_wants_no_statistics_has_none(stage: Stage) -> None:
    """STATISTICS=false: nothing is counted but what is exact, and nothing is listed."""
    stage.worker("-p", "1", STATISTICS="false")
    jobs = stage.many("mark", [("x",)] * 3)
    wait_until(lambda: all(job.state.terminal for job in jobs), 10, "the ends")
    (row,) = Inspector(stage.quaff).queues()
    assert (row.stats.succeeded, row.recent.ended) == (3, 0)
    assert not stage.raw().exists(stage.key("series"), stage.key("tasks"), stage.key("recent"))


def test_a_worker_is_seen_with_what_it_runs_until_it_leaves(stage: Stage) -> None:
    """Processes, memory, the jobs with their start; after its end nothing."""
    worker = stage.worker("-p", "2", "-n", "one")
    gate = stage.folder / "gate"
    job = stage.send("gate", "waits", str(gate))
    inspector = Inspector(stage.quaff)

    def shown() -> bool:
        return any(row.running for row in inspector.workers())

    wait_until(shown, 15, "the worker that runs it")
    (row,) = inspector.workers()
    assert (row.name, row.pid, row.queues, row.stopping) == ("one", worker.pid, ["default"], False)
    assert len(row.processes) == 2
    assert row.memory
    assert row.memory > 10_000_000
    assert all(each.serving and each.memory for each in row.processes)
    assert [each.id for each in row.jobs] == [job.id]
    (listed,) = inspector.jobs("state:running").jobs
    assert (listed.id, listed.task, listed.attempt) == (job.id, "gate", 1)
    assert listed.started_at == row.jobs[0].started_at
    gate.touch()
    job.result(10)
    assert worker.stop() == 0
    assert inspector.workers() == []


def test_jobs_are_found_by_page_and_by_filter(stage: Stage) -> None:
    """Every state that has a list; each job once, also where pages are short and few of many match."""
    failed = fail(stage, "mark", "OSError", 30) + fail(stage, "amark", "ValueError", 12)
    waiting = stage.many("mark", [("a b",)] * 25)
    later = [stage.quaff.tasks["mark"].options(delay=3600).delay("x") for _ in range(3)]
    gone = stage.many("mark", [("y",)] * 2)
    for job in gone:
        job.cancel("not wanted")
    inspector = Inspector(stage.quaff)

    def pages(text: str, limit: int = 7) -> list[str]:
        found: list[str] = []
        page = inspector.jobs(text, limit=limit)
        while True:
            assert len(page.jobs) <= limit
            found += [row.id for row in page.jobs]
            if page.cursor is None:
                return found
            page = inspector.jobs(text, limit=limit, cursor=page.cursor)

    def same(text: str, jobs: list[Job[object]]) -> None:
        found = pages(text)
        assert len(found) == len(jobs)
        assert set(found) == {job.id for job in jobs}

    same("state:failed", failed)
    same("state:failed error:OSError", failed[:30])
    same("state:failed task:am*", failed[30:])
    same("error:ValueError", failed[30:])
    same("state:queued", waiting)
    same("state:scheduled", later)
    same("state:cancelled", gone)
    same("task:mark", failed[:30] + waiting + later)
    same("state:failed since:1h", failed)
    same("state:failed until:1h", [])
    same(f"id:{waiting[0].id}", waiting[:1])
    same("state:queued queue:other", [])
    assert [inspector.jobs(text).looked_at for text in ("state:queued", "state:running", "queue:other")] == [25, 0, 0]
    same("", [*failed, *waiting, *later, *gone])
    assert pages("state:queued") == [job.id for job in waiting], "in the order of the line"
    (row,) = inspector.jobs(f"id:{waiting[0].id}").jobs
    assert (row.state, row.task, row.arguments) == (JobState.QUEUED, "mark", "tag='a b'")
    assert inspector.job(waiting[0].id).arguments == "tag='a b'"
    with pytest.raises(ConfigurationError, match="cursor"):
        inspector.jobs("state:queued", cursor=inspector.jobs("state:failed", limit=1).cursor)
    with pytest.raises(ConfigurationError, match="cursor"):
        inspector.jobs(cursor="nonsense")
    with pytest.raises(JobNotFound):
        inspector.job("nonsense")


def test_an_action_touches_what_it_has_counted(stage: Stage) -> None:
    """Counted first; done in steps, and told how far; nothing for states in which it cannot be done."""
    failed = fail(stage, "mark", "OSError", 70) + fail(stage, "mark", "ValueError", 5)
    inspector = Inspector(stage.quaff)
    chosen = inspector.matching("retry", "error:OSError")
    assert (len(chosen.ids), chosen.more) == (70, False)
    steps = list(inspector.act("retry", chosen.ids))
    assert [(step.total, step.seen, step.done) for step in steps] == [(70, 30, 30), (70, 60, 60), (70, 70, 70)]
    assert {job.state for job in failed[:70]} == {JobState.QUEUED}
    cancelled = inspector.matching("cancel", "task:mark", most=50)
    assert (len(cancelled.ids), cancelled.more) == (50, True)
    assert [*inspector.act("cancel", cancelled.ids, reason="enough")][-1].done == 50
    with pytest.raises(ConfigurationError, match="succeeded"):
        inspector.matching("cancel", "state:succeeded")
    left = inspector.matching("discard", "")
    assert [*inspector.act("discard", left.ids)][-1].done == 5


def test_an_action_on_ids_touches_those_alone_that_the_rest_of_the_filter_means(stage: Stage) -> None:
    """As the list shows them; an id that is nowhere, also one of a partition that is not there, is no job."""
    inspector = Inspector(stage.quaff)
    one, other = stage.send("mark", "x"), stage.send("echo", "x")
    both = f"id:{one.id},{other.id},{one.id}"
    for words, meant in (("", [one, other]), ("task:ma*", [one]), ("queue:mail", []), ("state:running", [])):
        text = f"{both} {words}"
        assert inspector.matching("cancel", text).ids == [job.id for job in meant], text
        assert [row.id for row in inspector.jobs(text).jobs] == [job.id for job in meant], text
    nowhere = one.id.replace("default-0-", "default-7-")
    assert inspector.matching("cancel", f"id:{nowhere}").ids == []
    assert [step.done for step in inspector.act("cancel", [nowhere, one.id])] == [0, 1]


def test_what_went_wrong_first_is_what_is_told_of_an_action(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what was done by then cannot be written down any more."""
    jobs = stage.many("mark", [("x",)] * 70)
    inspector = Inspector(stage.quaff)
    steps = inspector.act("cancel", [job.id for job in jobs])
    assert next(steps).done == 30

    errors = iter(("the first error", "the second error"))

    def away(_: object) -> None:
        raise ServerUnavailable(next(errors))

    monkeypatch.setattr(stage.quaff.store, "run", away)
    with pytest.raises(ServerUnavailable, match="the first error"):
        next(steps)


def test_what_was_done_until_somebody_leaves_off_is_in_the_list_of_changes(stage: Stage) -> None:
    """One entry for all of it, of a purge as of all else."""
    stage.many("mark", [("x",)] * 70)
    inspector, queue = Inspector(stage.quaff), stage.quaff.queue("default")
    purging = queue.purging()
    assert [next(purging), next(purging)] == [(70, 10, 10), (70, 20, 20)]
    purging.close()  # type: ignore[attr-defined]
    steps = inspector.act("cancel", inspector.matching("cancel", "").ids)
    assert next(steps).done == 30
    steps.close()  # type: ignore[attr-defined]
    assert queue.purge() == 20
    assert [(change.what, change.about) for change in queue.changes()] == [
        ("purge", "20 jobs"),
        ("cancel", "30 of 50 jobs"),
        ("purge", "20 jobs"),
    ]
    assert queue.purge() == 0
    assert len(queue.changes()) == 3, "nothing was done"
