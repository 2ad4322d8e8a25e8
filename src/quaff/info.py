"""JobInfo: all that is known of one job, as data."""

from __future__ import annotations

from datetime import datetime

import msgspec

from quaff.config import Settings
from quaff.model import codec, ids, message, outcome, progress, steps
from quaff.model.events import LogLine, read_line
from quaff.model.ids import JobId
from quaff.model.message import Where
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.progress import Progress
from quaff.model.sealing import Seals
from quaff.model.states import JobState
from quaff.model.times import instant
from quaff.store.queries import Found


class AttemptInfo(msgspec.Struct, frozen=True):
    """One run of a job; times are aware UTC datetimes. ``outcome``: ``running succeeded failed crashed lapsed
    cancelled snoozed``, ``unsettled`` (it had ended, and its process died before it could say how), ``released`` (given
    back at no cost), ``corrupt`` (what is kept of it cannot be read). Of a ``running`` one the server knows the number
    alone: until it has ended, both times are None, ``worker`` is empty and ``pid`` is 0."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    worker: str
    pid: int
    outcome: str
    error: Failure | None


class StepInfo(msgspec.Struct, frozen=True):
    """What a job remembers under one name.

    Attributes:
        name: the step's.
        kind: ``step``, ``sleep``, ``wait`` or ``iteration``.
        state: ``done``, ``waiting`` (a sleep that is not over, a wait), ``timed out``, ``begun`` (an iteration), or
            ``corrupt`` (nobody can read it).
        at: when it was written; of a sleep, and of what waits, until when. An aware UTC datetime.
        attempt: the number of the attempt that wrote it.
    """

    name: str
    kind: str
    state: str
    at: datetime | None
    attempt: int


class JobInfo(msgspec.Struct, frozen=True):
    """Everything the server knows of one job; times are aware UTC datetimes.

    ``scheduled_for`` is when it is due, for a job that is scheduled or retrying;
    ``progress`` is what the running attempt, or the last one of a job that has ended, said of itself last;
    ``logs`` are the newest lines of all attempts;
    ``parked`` is True for a job that waits because no worker that saw it knows its task;
    ``steps`` is what it remembers, in the order in which it came, as long as it has not ended otherwise than failed;
    ``waiting_for`` is the name of the signal that it waits for now;
    ``flow`` is the id of the flow that it is of, ``parents`` and ``children`` are the ids of the jobs there that it
    waited for, and that wait for it, a hundred of each.
    """

    id: str
    key: str | None
    task: str | None
    queue: str
    state: JobState
    parked: bool
    progress: Progress | None
    logs: list[LogLine]
    created_at: datetime | None
    scheduled_for: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    attempts: list[AttemptInfo]
    error: Failure | None
    steps: list[StepInfo]
    waiting_for: str | None
    flow: str | None
    parents: list[str]
    children: list[str]


def info_of(id: JobId, key: str | None, state: JobState, found: Found, settings: Settings) -> JobInfo:
    """What a look with ``all`` has found, for people; what cannot be read is left out, or said to be ``corrupt``."""
    record = outcome.read(found.record) if found.record else None
    attempts = [_attempt_info(attempt) for attempt in outcome.decode_history(found.history)]
    if found.attempt:
        attempts.append(AttemptInfo(found.attempt, None, None, "", 0, "running", None))
    last = record.attempt if record else None
    remembered: list[steps.Step] = codec.readable(steps.decode, found.steps, steps.CORRUPT if found.steps else [])
    if last and last.number:
        attempts.append(_attempt_info(last))
    task, created = _origin(found, record, Where(settings.namespace, id), settings.seals)
    flow, parents, children = found.kin or (None, [], [])
    return JobInfo(
        id=str(id),
        key=key,
        task=task,
        queue=id.queue,
        state=state,
        parked=found.parked,
        progress=codec.readable(progress.decode, found.progress, last.progress if last else None),
        logs=[read_line(position, data) for position, data in found.lines.items],
        created_at=_instant(ids.created_ms(id.raw) or created),
        scheduled_for=_instant(found.due_ms),
        started_at=attempts[0].started_at if attempts else None,
        ended_at=_instant(last.ended_ms) if last else None,
        attempts=attempts,
        error=last.error if last else None,
        steps=[_step_info(step, found.due_ms) for step in remembered],
        waiting_for=next((s.signal for s in remembered if s.kind == steps.WAIT and s.ms == found.due_ms), None),
        flow=None if flow is None else str(id._replace(raw=flow)),
        parents=[str(id._replace(raw=each)) for each in parents],
        children=[str(id._replace(raw=each)) for each in children],
    )


def task_of(found: Found, where: Where, seals: Seals) -> str | None:
    """The name of the task, from what a look with ``all`` has found; None if that is kept no longer."""
    return _origin(found, outcome.read(found.record) if found.record else None, where, seals)[0]


_KINDS = {
    steps.DONE: ("step", "done"),
    steps.ITERATION: ("iteration", "begun"),
    steps.SLEEP: ("sleep", "done"),
    steps.WAIT: ("wait", "waiting"),
    steps.RECEIVED: ("wait", "done"),
    steps.TIMED_OUT: ("wait", "timed out"),
}


def _step_info(step: steps.Step, due_ms: int) -> StepInfo:
    kind, state = _KINDS.get(step.kind, ("unknown", "corrupt"))
    if step.kind == steps.SLEEP and step.ms == due_ms:
        state = "waiting"
    elif step.kind == steps.ITERATION and codec.readable(_has_ended, step.value, False):
        state = "done"
    return StepInfo(step.name, kind, state, _instant(step.ms), step.attempt)


def _has_ended(iteration: bytes) -> bool:
    return bool(codec.unpack(iteration)[1])


def _instant(ms: int) -> datetime | None:
    return instant(ms) if ms else None


def _attempt_info(attempt: Attempt) -> AttemptInfo:
    return AttemptInfo(
        attempt.number,
        _instant(attempt.started_ms),
        _instant(attempt.ended_ms),
        attempt.worker,
        attempt.pid,
        attempt.outcome,
        attempt.error,
    )


def _origin(found: Found, record: Outcome | None, where: Where, seals: Seals) -> tuple[str | None, int]:
    """The task's name and, for a job with ``key=``, the time it was created, from whatever is still kept."""
    if record and record.task:
        return record.task, record.created_ms
    try:
        sent = message.decode(found.message, seals=seals, where=where) if found.message else None
    except (message.CorruptMessage, message.NewerMessage):
        sent = None
    return (sent.task, sent.created_ms) if sent else (None, 0)
