"""A queue in which everything that somebody can name or say is hostile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from quaff import Quaff, group
from quaff.model import blocking, ids, message, outcome, presence, schedule, steps
from quaff.model.blocking import Rule
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.presence import WorkerWord
from quaff.model.schedule import Schedule
from quaff.model.states import JobState
from quaff.store import tallies
from quaff.store.operations import block, record
from quaff.store.steps import step
from quaff.store.tallies import Failed
from quaff.store.timetable import declare
from quaff.store.transitions import note
from quaff.worker.loading import load
from tests.helpers import start_worker, wait_until
from tests.hostile.words import WORDS
from tests.matrix import WORKER, known_as, owners
from tests.store.engine import Desk, process_id

APP = """
import logging

from quaff import Quaff, current_job

quaff = Quaff()
log = logging.getLogger("shop")


@quaff.task(name="says")
def says(text, more=None):
    current_job.log(text)
    log.error("%s", text)
    current_job.progress(1, 2, text)
    return text


@quaff.task(name="fails")
def fails(text):
    raise type(text[:40].replace(chr(0), "") or "E", (Exception,), {})(text)


@quaff.task(name="lone")
def lone():
    # What Python takes for text, and UTF-8 does not.
    text = "\\ud800lone\\udcff"
    current_job.log(text)
    log.error("%s", text)
    current_job.progress(1, 2, text)
    raise ValueError(text)


@quaff.cron("0 7 * * *", name="daily")
@quaff.task(name="tick")
def tick(): ...
"""


class Den(NamedTuple):
    """The queue.

    Attributes:
        app: ``module:object``.
        quaff: the application.
        jobs: ids of jobs in every state.
        flow: the id of a flow.
        said: what the worker put into its log.
    """

    app: str
    quaff: Quaff
    environment: dict[str, str]
    jobs: list[str]
    flow: str
    said: str


@pytest.fixture(scope="session")
def den(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Den]:
    """Made once: by a worker that runs hostile calls, and by hand where no program of ours would write such a thing."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    (folder / "hostile_app.py").write_text(APP)
    environment = {"QUAFF_URL": owners(server_url), "QUAFF_NAMESPACE": f"hostile{id(folder)}"}
    # What is left in the environment would be everybody's.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(folder))
        quaff = load("hostile_app:quaff")
        assert quaff.settings.namespace == environment["QUAFF_NAMESPACE"]
        assert quaff.store.endpoint
    env = environment | {"QUAFF_URL": known_as(WORKER, server_url), "QUAFF_MAX_MESSAGE": "3000000"}
    worker = start_worker("hostile_app:quaff", "-p", "1", cwd=folder, env=env)
    try:
        jobs, flow = _run(quaff)
    finally:
        worker.stop()
        worker.end()
    jobs += _write(quaff, server_url, environment["QUAFF_NAMESPACE"])
    yield Den("hostile_app:quaff", quaff, environment, jobs, flow, worker.output)
    sys.modules.pop("hostile_app", None)


def _run(quaff: Quaff) -> tuple[list[str], str]:
    says, fails, lone = (quaff.tasks[name] for name in ("says", "fails", "lone"))
    sent = [lone.delay()]
    for kind, word in WORDS.items():
        short = word[:200_000]
        sent += [says.delay(short, more={word[:50]: [short[:100]]}), fails.delay(short)]
        sent += [says.options(key=word[:100]).delay(kind)]
    flow = group(says.s(WORDS["markup"]), says.s(WORDS["escapes"])).delay()
    wait_until(lambda: all(job.state.terminal for job in sent), 30, "the ends")
    flow.result(20)
    waits = [says.options(delay=3600).delay(word[:200_000]) for word in WORDS.values()]
    for job, word in zip(waits, WORDS.values(), strict=True):
        job.cancel(word)
    later = [says.options(delay=3600).delay(word[:200_000]) for word in WORDS.values()]
    return [job.id for job in (*sent, *waits, *later)], flow.id


def _write(quaff: Quaff, url: str, namespace: str) -> list[str]:
    """Names, which a program of ours would refuse."""
    desk = Desk(url, namespace, queue="default")
    run, me, made = desk.store.run, process_id(), []
    now = int(desk.redis.time()[0]) * 1000
    for number, word in enumerate(WORDS.values()):
        name = word[:20_000]
        failure = Failure(name, name, name, f'Traceback\n  File "{name}", line 1, in {name}\n    {name}\n{name}')
        for state in (JobState.FAILED, JobState.SUCCEEDED, JobState.RUNNING):
            (raw,) = desk.put(message.encode(name, [name], {name: name}))
            made.append(str(ids.JobId("default", 0, raw)))
            (lease,) = desk.take(me, 1)
            assert lease.id == raw
            if state is JobState.RUNNING:
                run(note(desk.home, [(raw, lease.token, msgspec.msgpack.encode((1, 2, name)))]))
                run(step(desk.home, [(raw, lease.token, steps.encode(name[:60], "s", 1, b"\xc0"))]))
                continue
            error = failure if state is JobState.FAILED else None
            ended = Outcome(name, 0, Attempt(1, 1, 2, name, 3, name, error), msgspec.Raw(msgspec.msgpack.encode(name)))
            desk.settle(me, lease, state=state, record=outcome.encode(ended))
        what = msgspec.json.encode((name, name, name, name, name)).decode()
        kind = Failed(f"kind{number}".encode(), 1, 1, what, made[-1])
        listed = tallies.ended(ids.new_raw(), 1_700_000_000_000, name, 0.1, 0.1)
        counted = {"tasks": {name: {"s": 1, "d3": 1, "q3": 1}}, "failures": [kind], "recent": [listed]}
        run(tallies.tally(desk.home, process=me, number=number + 1, **counted))  # type: ignore[arg-type]
        said = WorkerWord(name, name, 1, name, ["default", name], 1, False, name, 1, 0, [], [])
        run(tallies.present(desk.home, b"worker%02d" % number, presence.encode(said), lasts_ms=3_600_000))
        run(record(desk.home, who=name, what=name, about=name))
        words = str(Rule(name, {name: name}))
        run(block(desk.home, blocking.encode(name, {name: name}), on=True, who=name, words=words))
        made_of = {"message": message.encode(name, [name], {}), "queue": "default"}
        timed = [
            (name, schedule.encode(Schedule(**made_of, cron="0 7 * * *"))),  # type: ignore[arg-type]
            (f"bad {name}", schedule.encode(Schedule(**made_of, cron=name, tz=name))),  # type: ignore[arg-type]
            (f"none {name}", name.encode()),
        ]
        run(declare(desk.home, since_ms=now, who=name, schedules=timed))
    for word in WORDS.values():
        name = word[:20_000]
        made += (str(ids.JobId("default", 0, raw)) for raw in desk.put(message.encode(name, [name], {name: name})))
    desk.close()
    return made
