"""Failures, grouped by task, error and the line that raised it."""

from __future__ import annotations

from flask import Blueprint, Response, request

from quaff.dashboard.desk import Desk, part_of


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/failures")
    def failures() -> Response:
        task = request.args.get("task") or None
        part = part_of(desk.inspector.failures(task=task))
        return desk.page("failures.html", f"Failures of {task}" if task else "Failures", part=part, task=task)
