"""The overview: how much, how fast, how well, just now."""

from __future__ import annotations

from flask import Blueprint, Response

from quaff.dashboard import series
from quaff.dashboard.desk import Desk
from quaff.model.counts import Counts

_RECENT = 5


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/")
    def overview() -> Response:
        found = desk.inspector.overview()
        hour = sum((each.counts for each in found.throughput), start=Counts())
        last = sum((each.counts for each in found.throughput[-_RECENT - 1 : -1]), start=Counts())
        return desk.page(
            "overview.html",
            "Overview",
            queues=found.queues,
            workers=found.workers,
            hour=hour,
            rate=last.ended / (_RECENT * 60),
            chart=series.chart(found.throughput, "Attempts that ended in each minute of the last hour"),
            failures=found.failures,
        )
