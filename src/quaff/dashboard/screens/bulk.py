"""What is done to several jobs at once: those that were selected, or all that match a filter, counted first."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, abort, request
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard.desk import Desk
from quaff.dashboard.streams import streamed
from quaff.dashboard.words import plural
from quaff.inspector import Action
from quaff.model.states import JobState

_PAST = {"retry": "requeued", "discard": "discarded", "cancel": "cancelled"}
_WHAT = {
    "retry": "Put {} back in line?",
    "discard": "Delete what is kept of {}?",
    "cancel": "Cancel {}? What runs is asked to stop.",
}
_REASON = "from the dashboard"


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.post("/jobs/bulk")
    def bulk() -> AnyResponse:
        desk.require_admin()
        text, state = request.form.get("q", ""), request.form.get("state", "")
        word, _, all = request.form.get("do", "").partition("-")
        if word not in _PAST or state not in tuple(JobState):
            abort(400, "This form was not made by this page.")
        action = cast(Action, word)
        if not all:
            steps = desk.inspector.act(action, request.form.getlist("id"), reason=_REASON)
            done = max((step.done for step in steps), default=0)
            return desk.done(_PAST[action] if done else "nothing", "jobs", q=text or None, state=state, n=done)
        found = desk.inspector.matching(action, f"{text} state:{state}")
        if "sure" not in request.form:
            return _ask(desk, action, text, state, len(found.ids), more=found.more)
        title = f"{action.capitalize()} {plural(len(found.ids), 'job')}"
        steps = desk.inspector.act(action, found.ids, reason=_REASON)
        return streamed(
            desk, steps, len(found.ids), title, _PAST[action], desk.url("jobs", q=text or None, state=state)
        )


def _ask(desk: Desk, action: Action, text: str, state: str, count: int, *, more: bool) -> Response:
    jobs = f"{plural(count, 'job')}{', and then there are more' if more else ''}"
    return desk.page(
        "sure.html",
        f"{action.capitalize()} all that match",
        question=f"{_WHAT[action].format(jobs)} They are {state}{f' and match {text}' if text else ''}.",
        action=desk.url("bulk"),
        fields={"q": text, "state": state, "do": f"{action}-all", "sure": "1"},
        kind="main" if action == "retry" else "danger",
        words_for_yes=f"{action.capitalize()} {plural(count, 'job')}",
        back=desk.url("jobs", q=text or None, state=state),
    )
