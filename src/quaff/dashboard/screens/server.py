"""The server: what the doctor says of it, and what was changed by hand."""

from __future__ import annotations

from flask import Blueprint, Response

from quaff.dashboard.desk import Desk
from quaff.doctor.examine import examine

_CHANGES = 100


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/server")
    def server() -> Response:
        findings = examine(desk.quaff, desk.inspector.homes)
        return desk.page("server.html", "Server", findings=findings, changes=desk.inspector.changes(_CHANGES))
