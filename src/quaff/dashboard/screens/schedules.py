"""Schedules, in words, with their next instants."""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard.desk import Desk


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/schedules")
    def schedules() -> Response:
        return desk.page("schedules.html", "Schedules", schedules=desk.quaff.schedules.list())

    @blueprint.post("/schedules/<path:name>/run")
    def schedule_run(name: str) -> AnyResponse:
        desk.require_admin()
        return desk.done("enqueued", "job", id=desk.quaff.schedules.run(name).id)

    @blueprint.post("/schedules/<path:name>/pause")
    def schedule_pause(name: str) -> AnyResponse:
        desk.require_admin()
        return desk.done("schedule-paused" if desk.quaff.schedules.pause(name) else "nothing", "schedules")

    @blueprint.post("/schedules/<path:name>/resume")
    def schedule_resume(name: str) -> AnyResponse:
        desk.require_admin()
        return desk.done("schedule-resumed" if desk.quaff.schedules.resume(name) else "nothing", "schedules")
