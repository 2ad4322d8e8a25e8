"""The words of four other libraries: what their options become, what is refused, and that both agree with the docs."""

from __future__ import annotations

import inspect
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import rq
from rq.decorators import job as job_of_rq
from rq.queue import EnqueueArgs

from quaff import ConfigurationError, JobState, Quaff, UnknownTask
from quaff.dialects import RQQueue, celery, celery_task, dramatiq, dramatiq_actor, huey, huey_task, rq_job
from quaff.dialects import rq as of_rq
from quaff.dialects.spelling import Spelling
from quaff.model.retry import Policy
from quaff.testing import Kit, kit

PAGES = Path(__file__).parents[2] / "docs" / "coming-from"
SPELLINGS: dict[str, Mapping[str, Spelling]] = {
    "celery": {"task": celery.TASK, "call": celery.CALL, "retries": celery._RETRIES},
    "rq": {"job": of_rq.JOB, "call": of_rq.CALL},
    "dramatiq": {"actor": dramatiq.ACTOR, "call": dramatiq.CALL},
    "huey": {"task": huey.TASK, "call": huey.CALL},
}

quaff = Quaff()


def plain(a: int, b: int = 0) -> int:
    """What all of them declare."""
    return a + b


def pauses(policy: Policy, failures: int) -> tuple[float, float]:
    """The shortest and the longest pause after so many failures."""
    found = []
    for end in (0.0, 1.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(random, "uniform", lambda low, high, end=end: low + (high - low) * end)
            again = policy.again(failures, OSError())
        assert again is not None
        found.append(again.seconds)
    return found[0], found[1]


# What options become

TAKEN: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "celery": (
        celery_task,
        {"name": "c.all", "queue": "money", "time_limit": 60, "expires": 3600, "priority": 3, "ignore_result": True},
        {"queue": "money", "timeout": 60, "expires": 3600, "priority": -3, "result_ttl": 0},
    ),
    "celery, with nothing said": (celery_task, {"name": "c.bare"}, {"timeout": 0, "result_ttl": 86_400}),
    "celery, what is so anyway": (
        celery_task,
        {
            "name": "c.idle",
            "bind": False,
            "acks_late": True,
            "track_started": True,
            "serializer": "json",
            "queue": None,
        },
        {"timeout": 0, "result_ttl": 86_400},
    ),
    "rq": (
        rq_job,
        {"queue": "pictures", "timeout": "1h", "result_ttl": 3600, "ttl": 600, "at_front": True},
        {"queue": "pictures", "timeout": 3600, "result_ttl": 3600, "expires": 600, "priority": 1},
    ),
    "rq, with nothing said": (rq_job, {}, {"timeout": 180, "result_ttl": 500}),
    "rq, without a limit": (rq_job, {"timeout": -1}, {"timeout": 0, "result_ttl": 500}),
    "dramatiq": (
        dramatiq_actor,
        {"queue_name": "mail", "max_age": 3_600_000, "time_limit": 30_000, "store_results": True, "priority": 10},
        {"queue": "mail", "expires": 3600, "timeout": 30, "result_ttl": 600, "priority": -10},
    ),
    "dramatiq, with nothing said": (dramatiq_actor, {}, {"timeout": 600, "result_ttl": 0}),
    "dramatiq, without a limit": (
        dramatiq_actor,
        {"time_limit": float("inf"), "store_results": True, "result_ttl": 1500},
        {"timeout": 0, "result_ttl": 1.5},
    ),
    "huey": (
        huey_task,
        {"priority": 5, "expires": 3600, "timeout": 60},
        {"priority": 5, "expires": 3600, "timeout": 60},
    ),
    "huey, with nothing said": (huey_task, {}, {"timeout": 0}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_each_option_becomes_the_one_that_does_the_same(case: str) -> None:
    """And what is not said is as it was there."""
    decorator, theirs, ours = TAKEN[case]
    settings = decorator(Quaff(), **theirs)(plain).task.settings
    usual = Quaff().task(plain).settings
    changed = {
        name: value
        for name, value in msgspec.structs.asdict(settings).items()
        if name != "retry" and value != getattr(usual, name)
    }
    assert changed == ours


def test_celery_tries_again_what_autoretry_names_and_nothing_else() -> None:
    """Three times by default, after three minutes; what was ended at its limit is not tried again."""
    app = Quaff()
    usual = celery_task(app, autoretry_for=(OSError,))(plain).task.settings.retry
    assert [usual.again(failures, OSError()) is not None for failures in (1, 3, 4)] == [True, True, False]
    assert pauses(usual, 1) == pauses(usual, 3) == (180, 180)
    assert usual.again(1, KeyError()) is None
    assert usual.again_if_killed(1) is None
    backed = celery_task(app, autoretry_for=(OSError,), retry_backoff=True, max_retries=20)(plain).task.settings.retry
    assert [pauses(backed, failures) for failures in (1, 2, 20)] == [(0, 1), (0, 2), (0, 600)]
    never = celery_task(app)(plain).task.settings.retry
    assert never.again(1, OSError()) is None


def test_dramatiq_tries_twenty_times_more_with_its_pauses() -> None:
    """From once to twice the least, doubled each time, within half of the most and all of it."""
    usual = dramatiq_actor(Quaff())(plain).task.settings.retry
    assert [usual.again(failures, OSError()) is not None for failures in (20, 21)] == [True, False]
    assert pauses(usual, 1) == (15, 30)
    told = dramatiq_actor(Quaff(), min_backoff=1000, max_backoff=3000, throws=KeyError, max_retries=5)(plain)
    policy = told.task.settings.retry
    assert [pauses(policy, failures) for failures in (1, 2, 3)] == [(1, 2), (2, 3), (1.5, 3)]
    assert policy.again(1, KeyError()) is None
    at_once = dramatiq_actor(Quaff(), min_backoff=0, max_backoff=10**12)(plain).task.settings.retry
    assert pauses(at_once, 20) == (0, 0)
    seldom = dramatiq_actor(Quaff(), min_backoff=10**9, max_backoff=10**12)(plain).task.settings.retry
    assert pauses(seldom, 20)[1] == 7 * 86_400


def test_rq_and_huey_wait_as_long_as_they_say() -> None:
    """A list as RQ reads it; one that is multiplied has no end."""
    for most, interval in (4, [10, 30]), (2, [10, 30, 60]), (3, [10, 30, 60]), (3, 10), (1, [10, 30]):
        retry = rq.Retry(max=most, interval=interval)
        listed = rq_job(Quaff(), retry=retry)(plain).task.settings.retry
        theirs = [
            rq.job.Job.get_retry_interval(SimpleNamespace(retry_intervals=retry.intervals, retries_left=left))
            for left in range(most, 0, -1)
        ]
        assert [pauses(listed, failures) for failures in range(1, most + 1)] == [(each, each) for each in theirs]
        assert listed.again(most + 1, OSError()) is None
    none = rq_job(Quaff(), retry=rq.Retry(max=2, interval=[]))(plain).task.settings.retry
    assert pauses(none, 1) == (0, 0)
    at_once = rq_job(Quaff(), retry=2)(plain).task.settings.retry
    assert (at_once.retries, pauses(at_once, 1)) == (2, (0, 0))
    grown = huey_task(Quaff(), retries=9, retry_delay=600, retry_backoff=3)(plain).task.settings.retry
    assert [pauses(grown, failures) for failures in (1, 3)] == [(600, 600), (5400, 5400)]


# What is refused

REFUSED: dict[str, tuple[Callable[[Quaff], Any], str]] = {
    "celery: bind": (lambda q: celery_task(q, bind=True), "bind=True asks for. Instead: current_job"),
    "celery: rate_limit": (lambda q: celery_task(q, rate_limit="10/s"), "Instead: there it is for each worker; rate="),
    "celery: acks_late=False": (lambda q: celery_task(q, acks_late=False), "one whose worker died runs again"),
    "celery: soft_time_limit": (lambda q: celery_task(q, soft_time_limit=5), "soft_timeout= .* quaff.SoftTimeout"),
    "celery: max_retries alone": (lambda q: celery_task(q, max_retries=5), "is for self.retry"),
    "celery: no end": (lambda q: celery_task(q, autoretry_for=(OSError,), max_retries=None), "has no end"),
    "celery: one class": (lambda q: celery_task(q, autoretry_for=OSError), "autoretry_for=.* cannot be read"),
    "celery: no number": (
        lambda q: celery_task(q, autoretry_for=(OSError,), retry_backoff="x"),
        "retry_backoff='x' cannot be read",
    ),
    "celery: no choice": (lambda q: celery_task(q, track_started=1), "Instead: leave it out"),
    "celery: misspelt": (
        lambda q: celery_task(q, time_limt=5),
        "unknown option 'time_limt'. Did you mean 'time_limit'",
    ),
    "celery: what cannot be": (lambda q: celery_task(q, priority="high"), "priority='high' cannot be read"),
    "celery: what ours refuses": (lambda q: celery_task(q, queue="a b")(plain), "queue"),
    "celery: link": (lambda q: celery_task(q)(plain).apply_async((1,), link=1), r"Instead: chain\(\)"),
    "celery: task_id": (lambda q: celery_task(q)(plain).apply_async((1,), task_id="x"), "key="),
    "celery: naive": (lambda q: celery_task(q)(plain).apply_async((1,), eta=datetime(2030, 1, 1)), "time zone"),  # noqa: DTZ001
    "rq: on_success": (lambda q: rq_job(q, on_success=print), "on_exhausted="),
    "rq: for ever": (lambda q: rq_job(q, result_ttl=-1), "for ever"),
    "rq: at the front again": (lambda q: rq_job(q, retry=rq.Retry(max=1, enqueue_at_front=True)), "Retry.priority=1"),
    "rq: for one call": (lambda q: RQQueue(q).enqueue(rq_job(q)(plain), 1, retry=3), "where the function is declared"),
    "dramatiq: retry_when": (lambda q: dramatiq_actor(q, retry_when=print), "None gives up"),
    "dramatiq: no end": (lambda q: dramatiq_actor(q, max_retries=None), "it has no end"),
    "dramatiq: ttl of nothing": (lambda q: dramatiq_actor(q, result_ttl=5000), "add store_results=True"),
    "dramatiq: for one call": (lambda q: dramatiq_actor(q)(plain).send_with_options(max_retries=None), "is declared"),
    "dramatiq: no pause": (lambda q: dramatiq_actor(q, min_backoff="1s"), "min_backoff='1s': give milliseconds"),
    "dramatiq: no function": (lambda q: dramatiq_actor(q)(5), "a task is a function"),
    "rq: no pause": (lambda q: rq_job(q, retry=SimpleNamespace(max=1, intervals=["x"])), "'x' is no time to wait"),
    "huey: context": (lambda q: huey_task(q, context=True), "current_job"),
    "huey: shrinking": (lambda q: huey_task(q, retry_delay=5, retry_backoff=0.5), "base=0.5"),
    "huey: id": (lambda q: huey_task(q)(plain).schedule((1,), delay=1, id="x"), "key="),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nothing_here_does_is_refused_with_what_to_do(case: str) -> None:
    """Before anything is sent."""
    make, words = REFUSED[case]
    with pytest.raises(ConfigurationError, match=words):
        make(Quaff("redis://127.0.0.1:1"))


def test_an_attribute_of_theirs_names_what_it_is_here() -> None:
    """So do those of ours that are one step away."""
    charge: Any = celery_task(quaff, name="attributes")(plain)
    for name, words in {"retry": "raise quaff.Retry", "request": "current_job", "options": r"\.task\.options"}.items():
        with pytest.raises(AttributeError, match=words):
            getattr(charge, name)
    assert not hasattr(charge, "nothing")


def test_what_a_function_has_does_not_hide_its_task() -> None:
    """A decorator below may have left anything there."""

    def marked(a: int) -> int:
        return a

    marked.task = "of another library"  # type: ignore[attr-defined]
    assert celery_task(Quaff(), name="marked")(marked).task.name == "marked"


def test_it_is_a_task_already_and_schedules_take_that() -> None:
    """``quaff.cron`` above the decorator would give what has none of their methods."""
    app = Quaff("redis://127.0.0.1:1")
    nightly = celery_task(app, name="nightly")(plain)
    for make in (app.task, app.every(30), huey_task(app)):
        with pytest.raises(ConfigurationError, match=r"<CeleryTask nightly> is a task already: its \.task is"):
            make(nightly)
    assert app.every(30, args=(1,))(nightly.task) is nightly.task
    with pytest.raises(ConfigurationError, match="<Task nightly> is a task already: give its function"):
        app.task(nightly.task)


# Calls


@pytest.fixture
def jobs() -> Iterator[Kit]:
    """Tasks of all four, which run when a test says so."""
    with kit(quaff) as jobs:
        yield jobs


charge = celery_task(quaff, name="charge", queue="money")(plain)
resize = rq_job(quaff, "pictures")(plain)
send = dramatiq_actor(quaff, store_results=True)(plain)
add = huey_task(quaff, name="add")(plain)


def test_calls_in_their_words_are_jobs(jobs: Kit) -> None:
    """Each is sent to its queue, runs, and has its result."""
    queue = RQQueue(quaff, "pictures")
    sent = [
        charge.delay(1, b=2),
        charge.apply_async((1,), {"b": 2}, queue="gold", priority=0),
        resize.delay(1, 2),
        resize.enqueue(1, 2),
        queue.enqueue(resize, 1, b=2, job_timeout=5),
        queue.enqueue("tests.dialects.test_dialects.plain", args=(1,), kwargs={"b": 2}, at_front=True),
        send.send(1, 2),
        send.send_with_options(args=(1,), kwargs={"b": 2}, time_limit=5000),
        add(1, b=2),
        add.delay(1, b=2),
        send.delay(1, 2),
    ]
    queues = ["money", "gold", *["pictures"] * 4, *["default"] * 5]
    assert [job.id.split("-")[0] for job in sent] == queues
    jobs.run_all()
    assert [job.result(timeout=0) for job in sent] == [3] * len(sent)
    assert charge(1, 2) == resize(1, 2) == send(1, 2) == add.call_local(1, 2) == 3


def test_calls_for_later_are_due_when_they_say(jobs: Kit) -> None:
    """In their units."""
    at = datetime.now(UTC) + timedelta(hours=1)
    queue = RQQueue(quaff)
    sent = [
        charge.apply_async((1,), countdown=3600),
        charge.apply_async((1,), eta=at),
        queue.enqueue_in(timedelta(hours=1), resize, 1),
        queue.enqueue_at(at, resize, 1),
        send.send_with_options(args=(1,), delay=3_600_000),
        send.send_with_options(args=(1,), delay=timedelta(hours=1)),
        add.schedule((1,), delay=3600),
        add.schedule(None, {"a": 1}, eta=at),
    ]
    for job in sent:
        due = job.info().scheduled_for
        assert due is not None
        assert abs(due - at) < timedelta(seconds=30)
    jobs.run_for("30m")
    assert {job.state for job in sent} == {JobState.SCHEDULED}
    jobs.run_for("31m")
    assert {job.state for job in sent} == {JobState.SUCCEEDED}


def test_what_nobody_has_declared_is_not_enqueued() -> None:
    """RQ's workers run any function by its name, ours none."""
    with pytest.raises(UnknownTask, match=r"a worker runs nothing else\. Declare it"):
        RQQueue(quaff).enqueue(sorted, [1])
    with pytest.raises(UnknownTask, match=r"no task .builtins\.sorted."):
        RQQueue(quaff).enqueue("builtins.sorted", [1])


# What agrees with what


def theirs(library: str) -> dict[str, set[str]]:
    """The options that the real library has, of a declaration and of a call."""
    if library == "celery":
        from celery import Celery, Task

        names = {
            name
            for name, value in vars(Task).items()
            if name[0].islower() and not callable(value) and not isinstance(value, (property, classmethod))
        }
        # What is no option, or of brokers that are none of ours.
        names -= {"abstract", "app", "from_config", "request_stack", "resultrepr_maxsize", "backend"}
        names |= {"autoretry_for", "retry_backoff", "bind", "base", "pydantic"}
        assert {"bind", "base", "pydantic"} <= set(inspect.signature(Celery._task_from_fun).parameters)
        called = set(inspect.signature(Task.apply_async).parameters) - {"self", "args", "kwargs", "options"}
        return {"task": names, "call": called | {"countdown", "eta", "expires", "queue", "priority"}}
    if library == "rq":
        return {
            "job": set(inspect.signature(job_of_rq.__init__).parameters) - {"self", "queue"},
            "call": {*EnqueueArgs._fields, "job_timeout"} - {"func", "timeout", "args", "kwargs"},
        }
    if library == "dramatiq":
        import dramatiq as real
        from dramatiq.brokers.stub import StubBroker
        from dramatiq.results import Results
        from dramatiq.results.backends import StubBackend

        broker = StubBroker()
        broker.add_middleware(Results(backend=StubBackend()))
        declared = set(inspect.signature(real.actor).parameters) - {"fn", "options"}
        return {"actor": declared | broker.actor_options, "call": {"delay"} | broker.actor_options - {"retry_when"}}
    from huey.api import Huey, TaskWrapper

    return {
        "task": set(inspect.signature(Huey.task).parameters) - {"self", "kwargs"},
        "call": set(inspect.signature(TaskWrapper.schedule).parameters) - {"self", "args", "kwargs"},
    }


@pytest.mark.parametrize("library", SPELLINGS)
def test_each_option_that_the_real_library_has_is_taken_or_refused_by_name(library: str) -> None:
    """With what to do, and not as one that is unknown."""
    tables = SPELLINGS[library]
    for where, names in theirs(library).items():
        known = set(tables[where]) | set(tables.get("retries", ()))
        assert names - known == set(), where


def rows(library: str) -> dict[str, str]:
    """What the tables of a page have in their first cell, each with the cells behind it."""
    found: dict[str, str] = {}
    for line in (PAGES / f"{library}.md").read_text().splitlines():
        if line.startswith("| "):
            first, rest = line.removeprefix("| ").split(" | ", 1)
            for code in re.findall(r"`([^`]+)`", first):
                found |= {word: found.get(word, "") + rest for word in re.findall(r"\w+", code)}
    return found


@pytest.mark.parametrize("library", SPELLINGS)
def test_the_page_of_a_library_has_each_of_its_options_with_the_same_equivalent(library: str) -> None:
    """What a decorator does is what the page says: one is not changed without the other."""
    told = rows(library)
    for spelling in SPELLINGS[library].values():
        for name, said in spelling.items():
            assert name in told, f"{library}.md has no row for {name}"
            words = set(re.findall(r"\w+", told[name]))
            assert not said.ours or said.ours in words, f"{library}.md: {name} is {said.ours} here, not {told[name]!r}"


def test_nothing_of_theirs_is_imported() -> None:
    """A program that has moved needs them no more."""
    code = "import sys, quaff.dialects; print(*{'celery', 'rq', 'dramatiq', 'huey'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "\n"
