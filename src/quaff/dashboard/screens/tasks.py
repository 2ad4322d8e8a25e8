"""Tasks: how often they run, how long that takes, how often they fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, request

from quaff.dashboard import charts, series, words
from quaff.dashboard.desk import Desk
from quaff.inspector.shapes import TaskRow
from quaff.model.counts import Counts
from quaff.model.histogram import Histogram, bound

#: Minutes and hours of each.
_SPANS: dict[str, tuple[int | None, int | None]] = {"hour": (60, None), "day": (None, 24), "week": (None, 168)}

#: What the list may be sorted by, the most first, besides the name.
_ORDERS: dict[str, Callable[[TaskRow], float]] = {
    "failures": lambda row: row.total.failure_rate or 0.0,
    "slowest": lambda row: row.total.run.percentile(0.95) or 0.0,
    "waits": lambda row: row.total.wait.percentile(0.95) or 0.0,
    "time": lambda row: row.total.run.seconds,
}


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/tasks")
    def tasks() -> Response:
        known = {task.name for task in desk.quaff.tasks.values()}
        seen = desk.inspector.tasks()
        unseen = sorted(known - {each.name for each in seen})
        by = request.args.get("by", "")
        if by in _ORDERS:
            seen.sort(key=_ORDERS[by], reverse=True)
        return desk.page("tasks.html", "Tasks", tasks=seen, unseen=unseen, by=by if by in _ORDERS else "name")

    @blueprint.get("/tasks/<path:name>")
    def task(name: str) -> Response:
        span = request.args.get("span", "hour")
        span = span if span in _SPANS else "hour"
        minutes, hours = _SPANS[span]
        buckets = desk.inspector.series(task=name, minutes=minutes, hours=hours)
        total = sum((each.counts for each in buckets), start=Counts())
        return desk.page(
            "task.html",
            name,
            name=name,
            span=span,
            spans=list(_SPANS),
            total=total,
            chart=series.chart(buckets, f"Attempts of {name} that ended, in the last {span}"),
            run=bars(total.run, "ran"),
            wait=bars(total.wait, "waited"),
            groups=desk.inspector.failures(task=name)[:20],
        )


def bars(histogram: Histogram, word: str) -> Sequence[tuple[str, int, object]]:
    """Rows of a histogram: up to how long, how many, and a bar; from the first that has some to the last."""
    if not histogram.counts:
        return ()
    most = max(histogram.counts.values())
    whole = range(min(histogram.counts), max(histogram.counts) + 1)
    return [
        (
            words.lasting(bound(bucket)),
            count,
            charts.bar(count, most, f"{count:,} {word} up to {words.lasting(bound(bucket))}"),
        )
        for bucket in whole
        for count in [histogram.counts.get(bucket, 0)]
    ]
