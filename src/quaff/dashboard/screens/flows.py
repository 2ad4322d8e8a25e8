"""A flow: its graph, and its jobs."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from quaff.dashboard.desk import Desk
from quaff.flow import FlowNode

#: Nodes that a picture has room for, and the size of one.
_DRAWN = 60
_WIDE, _HIGH, _GAP, _STEP = 170, 30, 14, 60


def add(blueprint: Blueprint, desk: Desk) -> None:
    """Its routes."""

    @blueprint.get("/flows/<id>")
    def flow(id: str) -> Response:
        found = desk.quaff.flow(id)
        nodes = found.graph()
        return desk.page("flow.html", "Flow", id=found.id, state=found.state, nodes=nodes, picture=picture(nodes, desk))

    @blueprint.post("/flows/<id>/cancel")
    def flow_cancel(id: str) -> AnyResponse:
        desk.require_admin()
        done = desk.quaff.flow(id).cancel()
        if done:
            desk.write_down("flow cancel", id)
        return desk.done("cancelled" if done else "nothing", "flow", id=id, n=1)

    @blueprint.post("/flows/<id>/requeue")
    def flow_requeue(id: str) -> AnyResponse:
        desk.require_admin()
        done = desk.quaff.flow(id).requeue()
        if done:
            desk.write_down("flow requeue", id)
        return desk.done("requeued" if done else "nothing", "flow", id=id, n=1)


def picture(nodes: Sequence[FlowNode], desk: Desk) -> Markup:
    """Columns of nodes, each to the right of all that it waits for; only words where they are too many to draw."""
    if len(nodes) > _DRAWN:
        return Markup('<p class="muted">{} jobs are too many for a picture.</p>').format(len(nodes))
    columns = layers(nodes)
    place = {name: (column, row) for column, names in enumerate(columns) for row, name in enumerate(names)}
    wide = max(1, len(columns)) * (_WIDE + _STEP) - _STEP + 2
    high = max((len(names) for names in columns), default=1) * (_HIGH + _GAP) - _GAP + 2

    def corner(name: str) -> tuple[int, int]:
        column, row = place[name]
        return 1 + column * (_WIDE + _STEP), 1 + row * (_HIGH + _GAP)

    parts = []
    for node in nodes:
        x, y = corner(node.name)
        for other in node.after:
            from_x, from_y = corner(other)
            start, middle, end = from_x + _WIDE, (from_x + _WIDE + x) // 2, y + _HIGH // 2
            parts.append(
                Markup('<path class="edge" d="M{} {} C{} {} {} {} {} {}"/>').format(
                    start, from_y + _HIGH // 2, middle, from_y + _HIGH // 2, middle, end, x, end
                )
            )
    for node in nodes:
        x, y = corner(node.name)
        shown = node.name if len(node.name) < 24 else f"{node.name[:22]}…"
        parts.append(
            Markup(
                '<a href="{}"><g class="node {}"><title>{}: {}</title>'
                '<rect x="{}" y="{}" width="{}" height="{}" rx="6"/>'
                '<text x="{}" y="{}">{}</text></g></a>'
            ).format(
                desk.url("job", id=node.job),
                node.state,
                node.name,
                node.state,
                x,
                y,
                _WIDE,
                _HIGH,
                x + 10,
                y + 20,
                shown,
            )
        )
    return Markup('<svg width="{}" height="{}" role="group" aria-label="Graph of the flow">{}</svg>').format(
        wide, high, Markup("").join(parts)
    )


def layers(nodes: Sequence[FlowNode]) -> list[list[str]]:
    """Names by column: each in the first one behind all that it waits for."""
    column: dict[str, int] = {}
    left = list(nodes)
    while left:
        ready = [node for node in left if all(other in column for other in node.after)]
        for node in ready or left:  # a circle cannot be; drawn all the same
            column[node.name] = max((column.get(other, 0) + 1 for other in node.after), default=0)
        left = [node for node in left if node.name not in column]
    names: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for name, place in column.items():
        names[place].append(name)
    return names
