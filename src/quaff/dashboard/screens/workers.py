"""Workers: their processes, what runs where, and how one of them is sent home."""

from __future__ import annotations

from flask import Blueprint, Response, abort
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard.desk import Desk
from quaff.dashboard.words import plural
from quaff.inspector.shapes import WorkerRow


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    def known(id: str) -> WorkerRow:
        row = next((each for each in desk.inspector.workers() if each.id == id), None)
        if row is None:
            abort(404, "No worker of that id has been heard of in the last seconds.")
        return row

    @blueprint.get("/workers")
    def workers() -> Response:
        return desk.page("workers.html", "Workers", workers=desk.inspector.workers())

    @blueprint.get("/workers/<id>/drain")
    def worker_drain(id: str) -> Response:
        desk.require_admin()
        row = known(id)
        return desk.page(
            "sure.html",
            f"Drain {row.name}",
            question=f"It claims nothing more, and ends when what it runs has ended, {plural(row.running, 'job')} just "
            "now. Whoever watches over it may start it again.",
            action=desk.url("worker_drain_now", id=id),
            fields={},
            kind="danger",
            words_for_yes="Drain it",
            back=desk.url("workers"),
        )

    @blueprint.post("/workers/<id>/drain")
    def worker_drain_now(id: str) -> AnyResponse:
        desk.require_admin()
        return desk.done("drained" if desk.inspector.drain(known(id)) else "nothing", "workers")
