"""What all screens have in common: whose application it is, how a page is sent, what an action answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from flask import Response, abort, g, redirect, render_template, request, url_for

from quaff.dashboard import charts
from quaff.dashboard.words import seen
from quaff.inspector import Inspector
from quaff.model import ids
from quaff.queues import somebody
from quaff.store.keys import partition
from quaff.store.operations import record

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from quaff.app import Quaff
    from quaff.queues import Change

#: What an action has done, by the word that its redirect carries; ``n`` is how many.
DONE = {
    "paused": "The queue is paused: what runs goes on, nothing new is started.",
    "resumed": "The queue goes on.",
    "cancelled": "{n} jobs were cancelled, or asked to stop.",
    "requeued": "{n} jobs are in line again.",
    "discarded": "{n} dead letters were deleted.",
    "drained": "The worker claims nothing more, and ends when its jobs have.",
    "asked": "Its worker is asked where it is, and answers in a moment, on this page.",
    "enqueued": "A job was enqueued.",
    "schedule-paused": "The schedule fires no more until it is resumed.",
    "schedule-resumed": "The schedule goes on.",
    "nothing": "Nothing had to be done.",
}
#: Rows of a list in one page.
_ROWS = 50
T = TypeVar("T")


class Part(NamedTuple, Generic[T]):
    """Some rows of a list: how many come before them, and how many there are in all."""

    rows: Sequence[T]
    before: int
    total: int

    @property
    def next(self) -> int | None:
        """How many come before those that follow; None at the end."""
        after = self.before + len(self.rows)
        return after if after < self.total else None


def part_of(rows: Sequence[T]) -> Part[T]:
    """The rows that this request asks for by ``skip=``."""
    skip = request.args.get("skip", "")
    before = int(skip) if skip.isdecimal() and len(skip) < 9 else 0
    return Part(rows[before : before + _ROWS], before, len(rows))


class Desk:
    """One dashboard's.

    Args:
        quaff: the application.
        name: of its blueprint.
        queues: that are shown; None: those that the application's tasks name.
    """

    def __init__(self, quaff: Quaff, name: str, queues: Sequence[str] | None = None) -> None:
        self.quaff = quaff
        self.inspector: Inspector = Inspector(quaff, queues)
        self._name = name

    @property
    def may_act(self) -> bool:
        """Whether who asks may change something, and see arguments."""
        return bool(g.get("quaff_role") == "admin")

    def require_admin(self) -> None:
        """Refuse a viewer."""
        if not self.may_act:
            abort(403, "You may look, and change nothing: auth= has given you the role of a viewer.")

    def rule(self, text: str) -> str:
        """What is blocked by hand, such as ``mails.send(user_id=7)``: whose jobs these are is for an admin to see."""
        return text if self.may_act or "(" not in text else f"{text.partition('(')[0]}(…)"

    def about(self, change: Change) -> str:
        """Of what it was; names of limits are digests and say nothing."""
        return self.rule(change.about) if change.what in ("block", "unblock") else change.about

    def write_down(self, what: str, id: str) -> None:
        """In the list of changes: what was done to a flow, which says nothing there by itself, and by whom."""
        place = ids.parse(id)
        assert place is not None, "it has been found by then"
        first = partition(self.quaff.settings.namespace, place.queue)
        self.quaff.store.run(record(first, who=somebody(), what=what, about=id))

    def url(self, endpoint: str, **values: Any) -> str:
        """Of another page, as this request sees it."""
        return url_for(f"{self._name}.{endpoint}", **values)

    def page(self, template: str, title: str, **context: Any) -> Response:
        """A page; only its changing part, and only if that has changed, where a script asks for it."""
        fragment = request.headers.get("X-Fragment") == "main"
        said = DONE.get(request.args.get("done", ""), "") if not fragment else ""
        count = request.args.get("n", "")
        html = render_template(
            f"quaff/{template}",
            layout="quaff/fragment.html" if fragment else "quaff/layout.html",
            title=title,
            said=said.format(n=count if count.isdigit() else "?"),
            desk=self,
            charts=charts,
            here=request.endpoint.rpartition(".")[2] if request.endpoint else "",
            **context,
        )
        answer = Response(seen(html), mimetype="text/html")
        answer.headers["Cache-Control"] = "private, no-cache"
        answer.headers["Vary"] = "X-Fragment, Cookie, Authorization"
        if fragment:
            answer.add_etag(weak=True)
            answer.make_conditional(request)
        return answer

    def done(self, word: str, endpoint: str, *, n: int | None = None, **values: Any) -> AnyResponse:
        """After an action: back to a page, which says what was done."""
        return redirect(self.url(endpoint, **values, done=word, n=n), 303)
