"""The server: what the doctor says of it, and what was changed by hand."""

from __future__ import annotations

from flask import Blueprint, Response

from quaff.dashboard.desk import Desk
from quaff.doctor.examine import examine
from quaff.queues import homes_of

_CHANGES = 100


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/server")
    def server() -> Response:
        quaff = desk.quaff
        homes = [home for name in desk.queue_names for home in homes_of(quaff.store, quaff.settings, name)]
        changes = desk.inspector.changes(_CHANGES)
        return desk.page("server.html", "Server", findings=examine(quaff, homes), changes=changes)
