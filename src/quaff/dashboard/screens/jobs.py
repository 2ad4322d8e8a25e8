"""Jobs by state, filtered; and what is done to several of them at once."""

from __future__ import annotations

import json

from flask import Blueprint, Response, request

from quaff.dashboard.desk import Desk
from quaff.errors import ConfigurationError
from quaff.model import filters
from quaff.model.states import JobState

#: What can be done to the jobs of a state, several at once: by the word of its button.
ACTIONS: dict[JobState, tuple[str, ...]] = {
    JobState.FAILED: ("retry", "discard"),
    **dict.fromkeys((JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING, JobState.RUNNING), ("cancel",)),
}
#: Those that are listed; of blocked ones only the number is known, and of those that have ended the last thousand.
STATES = tuple(state for state in JobState if state is not JobState.BLOCKED)


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/jobs")
    def jobs() -> Response:
        text, state = request.args.get("q", "").strip(), request.args.get("state", "")
        wanted = JobState(state) if state in STATES else JobState.FAILED
        trouble, page = "", None
        try:
            chosen = filters.parse(f"{text} state:{wanted}")
            page = desk.inspector.jobs(chosen, cursor=request.args.get("cursor") or None)
        except ConfigurationError as error:
            trouble = str(error)
        return desk.page(
            "jobs.html",
            "Jobs",
            q=text,
            state=wanted,
            states=STATES,
            totals=totals(desk),
            page=page,
            trouble=trouble,
            actions=ACTIONS.get(wanted, ()) if desk.may_act else (),
            vocabulary=json.dumps(vocabulary(desk)),
        )


def totals(desk: Desk) -> dict[str, int]:
    """How many jobs are in each state, as far as that is counted."""
    rows = desk.inspector.stats().values()
    return {
        "queued": sum(each.queued for each in rows),
        "scheduled": sum(each.scheduled for each in rows),
        "blocked": sum(each.blocked for each in rows),
        "running": sum(each.running for each in rows),
        "failed": sum(each.dead_letters for each in rows),
    }


def vocabulary(desk: Desk) -> list[str]:
    """The words of a filter that can be said here."""
    tasks = sorted({task.name for task in desk.quaff.tasks.values()})
    return [
        *(f"{name}:" for name in filters.FIELDS),
        *(f"queue:{name}" for name in desk.inspector.queue_names),
        *(f"task:{name}" for name in tasks),
        *("since:1h", "since:1d", "since:7d", "error:timeout", "error:poison"),
    ]
