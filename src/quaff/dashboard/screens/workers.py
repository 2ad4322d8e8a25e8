"""Workers: their processes, and what runs where."""

from __future__ import annotations

from flask import Blueprint, Response

from quaff.dashboard.desk import Desk


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/workers")
    def workers() -> Response:
        return desk.page("workers.html", "Workers", workers=desk.inspector.workers())
