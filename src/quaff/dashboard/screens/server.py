"""The server: what the doctor says of it, and what was changed by hand."""

from __future__ import annotations

from flask import Blueprint, Response, request

from quaff.dashboard.desk import Desk
from quaff.doctor.examine import examine

_CHANGES = 100


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/server")
    def server() -> Response:
        rights = request.args.get("rights") == "tried"
        findings = examine(desk.quaff, desk.inspector.homes, rights=rights)
        changes = desk.inspector.changes(_CHANGES)
        return desk.page("server.html", "Server", findings=findings, rights=rights, changes=changes)
