"""Tasks: how often they run, how long that takes, how often they fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, request

from quaff.dashboard import charts, series, words
from quaff.dashboard.desk import Desk, part_of
from quaff.inspector.counted import ORDERS
from quaff.model.counts import Counts
from quaff.model.histogram import Histogram

#: Minutes and hours of each.
_SPANS: dict[str, tuple[int | None, int | None]] = {"hour": (60, None), "day": (None, 24), "week": (None, 168)}


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/tasks")
    def tasks() -> Response:
        known = {task.name for task in desk.quaff.tasks.values()}
        by = request.args.get("by", "")
        by = by if by in ORDERS else "name"
        seen = desk.inspector.tasks(by)
        unseen = sorted(known - {each.name for each in seen})
        return desk.page("tasks.html", "Tasks", part=part_of(seen), unseen=unseen, by=by)

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
            run=bars(total.run, "ran", words.lasting),
            wait=bars(total.wait, "waited", words.lasting),
            memory=bars(total.memory, "took", words.size),
            groups=desk.inspector.failures(task=name)[:20],
        )


def bars(histogram: Histogram, word: str, shown: Callable[[float | None], str]) -> Sequence[tuple[str, int, object]]:
    """Rows of a histogram: up to how much, how many, and a bar; from the first that has some to the last."""
    if not histogram.counts:
        return ()
    most = max(histogram.counts.values())
    whole = range(min(histogram.counts), max(histogram.counts) + 1)
    return [
        (upto, count, charts.bar(count, most, f"{count:,} {word} up to {upto}"))
        for bucket in whole
        for count, upto in [(histogram.counts.get(bucket, 0), shown(histogram.end(bucket)))]
    ]
