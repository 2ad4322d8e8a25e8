"""One job: all that is known of it, and what can be done with it."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Response
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard import charts
from quaff.dashboard.desk import Desk
from quaff.dashboard.traces import folded
from quaff.dashboard.words import lasting
from quaff.info import AttemptInfo, JobInfo
from quaff.inspector import Action
from quaff.model.masking import MASKED
from quaff.model.states import JobState

_LONGEST = 2000


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/jobs/<id>")
    def job(id: str) -> Response:
        detail = desk.inspector.job(id)
        info = detail.info
        return desk.page(
            "job.html",
            f"Job {info.id[-12:]}",
            info=info,
            arguments=detail.arguments,
            result=_result(desk, id) if desk.may_act and info.state is JobState.SUCCEEDED else None,
            stack=desk.inspector.stack(id) if desk.may_act and info.state is JobState.RUNNING else None,
            timeline=_timeline(info),
            frames=folded(info.error.traceback) if info.error and info.error.traceback else [],
            call=_call(info, detail.arguments),
        )

    def act(action: Action, id: str) -> bool:
        desk.require_admin()
        desk.inspector.job(id)  # one that there is not is a page of its own
        return any(step.done for step in desk.inspector.act(action, [id], reason="from the dashboard"))

    @blueprint.post("/jobs/<id>/cancel")
    def job_cancel(id: str) -> AnyResponse:
        return desk.done("cancelled" if act("cancel", id) else "nothing", "job", id=id, n=1)

    @blueprint.post("/jobs/<id>/requeue")
    def job_requeue(id: str) -> AnyResponse:
        return desk.done("requeued" if act("retry", id) else "nothing", "job", id=id, n=1)

    @blueprint.post("/jobs/<id>/discard")
    def job_discard(id: str) -> AnyResponse:
        return desk.done("discarded" if act("discard", id) else "nothing", "jobs", n=1)

    @blueprint.post("/jobs/<id>/stack")
    def job_stack(id: str) -> AnyResponse:
        desk.require_admin()
        desk.inspector.job(id)
        return desk.done("asked" if desk.inspector.ask_stack(id) else "nothing", "job", id=id)


_COLOURS = {"succeeded", "failed", "crashed", "lapsed", "running"}


def _timeline(info: JobInfo) -> Markup | None:
    """When each attempt ran; None where that is not known of any."""
    now = datetime.now(UTC)
    spans = [_span(each, each.started_at, each.ended_at or now) for each in info.attempts if each.started_at]
    if not spans:
        return None
    sent = info.created_at.timestamp() if info.created_at else spans[0][0]
    last = max(end for _, end, _, _ in spans)
    return charts.timeline(spans, min(sent, spans[0][0]), last, "When each attempt ran, since the job was sent")


def _span(attempt: AttemptInfo, began: datetime, ended: datetime) -> tuple[float, float, str, str]:
    colour = attempt.outcome if attempt.outcome in _COLOURS else "other"
    words = f"attempt {attempt.number}: {attempt.outcome}, {lasting((ended - began).total_seconds())}"
    return began.timestamp(), ended.timestamp(), colour, words


def _call(info: JobInfo, arguments: str | None) -> str:
    """As Python has it; nothing where that is not known, was cut, or has what is not shown in it."""
    whole = arguments is not None and MASKED not in arguments and "…" not in arguments
    return f"{info.task}({arguments})" if info.task and whole else ""


def _result(desk: Desk, id: str) -> str | None:
    """What it gave, in a few lines; None where that is kept no longer, or cannot be read here."""
    try:
        text = repr(desk.quaff.job(id).result(timeout=0))
    except Exception:  # noqa: BLE001  whatever stands in the way, the page has the rest
        return None
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
