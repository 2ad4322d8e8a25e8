"""Queues: all of them, and one with its brakes."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard import series
from quaff.dashboard.desk import Desk
from quaff.dashboard.streams import streamed
from quaff.dashboard.words import plural


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/queues")
    def queues() -> Response:
        rows = desk.inspector.queues()
        return desk.page("queues.html", "Queues", queues=rows)

    @blueprint.get("/queues/<name>")
    def queue(name: str) -> Response:
        found = desk.quaff.queue(name)
        return desk.page(
            "queue.html",
            f"Queue {name}",
            name=name,
            stats=found.stats(),
            chart=series.chart(desk.inspector.series(queue=name), f"Attempts of queue {name} that ended"),
            blocked=found.blocked(),
            changes=found.changes(20),
        )

    @blueprint.post("/queues/<name>/pause")
    def queue_pause(name: str) -> AnyResponse:
        desk.require_admin()
        lasts = request.form.get("for", "")
        done = desk.quaff.queue(name).pause(int(lasts) if lasts.isdigit() else None)
        return desk.done("paused" if done else "nothing", "queue", name=name)

    @blueprint.post("/queues/<name>/resume")
    def queue_resume(name: str) -> AnyResponse:
        desk.require_admin()
        return desk.done("resumed" if desk.quaff.queue(name).resume() else "nothing", "queue", name=name)

    @blueprint.get("/queues/<name>/purge")
    def queue_purge(name: str) -> Response:
        desk.require_admin()
        count = _waiting(desk, name)
        return desk.page(
            "sure.html",
            f"Purge {name}",
            question=f"Cancel all that waits in line there, or is parked, {plural(count, 'job')} just now? "
            "What runs goes on.",
            action=desk.url("queue_purge", name=name),
            fields={},
            kind="danger",
            words_for_yes=f"Cancel {plural(count, 'job')}",
            back=desk.url("queue", name=name),
        )

    @blueprint.post("/queues/<name>/purge")
    def queue_purge_now(name: str) -> AnyResponse:
        desk.require_admin()
        steps, back = desk.quaff.queue(name).purging(), desk.url("queue", name=name)
        return streamed(desk, steps, _waiting(desk, name), f"Purge {name}", "cancelled", back)


def _waiting(desk: Desk, name: str) -> int:
    stats = desk.quaff.queue(name).stats()
    return stats.queued + stats.parked
