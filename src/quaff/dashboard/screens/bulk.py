"""What is done to several jobs at once: those that were selected, or all that match a filter, counted first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast

from flask import Blueprint, Response, abort, render_template, request, stream_with_context
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard.desk import Desk
from quaff.dashboard.words import plural
from quaff.errors import QuaffError
from quaff.inspector import Action, Step
from quaff.model.states import JobState

_PAST = {"retry": "requeued", "discard": "discarded", "cancel": "cancelled"}
_WHAT = {
    "retry": "Put {} back in line?",
    "discard": "Delete what is kept of {}?",
    "cancel": "Cancel {}? What runs is asked to stop.",
}
_REASON = "from the dashboard"
#: A line for each so many jobs.
_LINE = 300


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
            steps = list(desk.inspector.act(action, request.form.getlist("id"), reason=_REASON))
            done = steps[-1].done if steps else 0
            return desk.done(_PAST[action] if done else "nothing", "jobs", q=text or None, state=state, n=done)
        found = desk.inspector.matching(action, f"{text} state:{state}")
        if "sure" not in request.form:
            return _ask(desk, action, text, state, len(found.ids), more=found.more)
        return _streamed(desk, action, found.ids, desk.url("jobs", q=text or None, state=state))


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


def _streamed(desk: Desk, action: Action, ids: Sequence[str], back: str) -> Response:
    """The page is sent as it goes on, a line now and then; what is done is done, however it ends."""
    whole = render_template(
        "quaff/progress.html", layout="quaff/layout.html", title=f"{action.capitalize()} {plural(len(ids), 'job')}",
        desk=desk, said="", here="bulk", back=back,
    )  # fmt: skip
    head, _, tail = whole.partition("<!--here-->")
    steps = desk.inspector.act(action, ids, reason=_REASON)
    lines = _lines(steps, Step(len(ids), 0, 0), _PAST[action])
    return Response(stream_with_context(chain((head,), lines, (tail,))), mimetype="text/html")


def _lines(steps: Iterator[Step], step: Step, past: str) -> Iterator[str]:
    told, why = 0, ""
    try:
        for step in steps:
            if step.seen - told >= _LINE:
                told = step.seen
                yield Markup("<p>{:,} of {:,} looked at, {:,} {}</p>\n").format(step.seen, step.total, step.done, past)
    except QuaffError as error:  # half of the page is there already
        why = f"Then it broke off: {error}"
    if step.done < step.total:
        why = why or "The others had changed meanwhile."
        yield Markup("<p><b>{:,} of {:,} {}.</b> {}</p>").format(step.done, step.total, past, why)
    else:
        yield Markup("<p><b>{:,} {}.</b> {}</p>").format(step.done, past, why)
