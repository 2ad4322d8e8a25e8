"""What is done to many jobs, as a page that is sent while it goes on; what is done is done, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from flask import Response, render_template, stream_with_context
from markupsafe import Markup

from quaff.dashboard.desk import Desk
from quaff.dashboard.words import seen
from quaff.errors import QuaffError
from quaff.inspector import Step

#: A line for each so many jobs.
_LINE = 300


def streamed(desk: Desk, steps: Iterator[Step], total: int, title: str, past: str, back: str) -> Response:
    """A page with a line now and then.

    Args:
        steps: do it.
        total: how many jobs it may be.
        past: what has become of them: ``cancelled``.
        back: where one goes from here.
    """
    whole = render_template(
        "quaff/progress.html", layout="quaff/layout.html", title=title, desk=desk, said="", here="bulk", back=back
    )
    head, _, tail = whole.partition("<!--here-->")
    lines = _lines(steps, Step(total, 0, 0), past)
    return Response(stream_with_context(map(seen, chain((head,), lines, (tail,)))), mimetype="text/html")


def _lines(steps: Iterator[Step], step: Step, past: str) -> Iterator[str]:
    told, why = 0, ""
    try:
        for step in steps:
            if step.seen - told >= _LINE:
                told = step.seen
                yield Markup("<p>{:,} of {:,} looked at, {:,} {}</p>\n").format(step.seen, step.total, step.done, past)
    except QuaffError as error:  # half of the page is there already
        why = f"Then it broke off: {error}"
    if step.done < step.total:
        why = why or "The others had changed meanwhile."
        yield Markup("<p><b>{:,} of {:,} {}.</b> {}</p>").format(step.done, step.total, past, why)
    else:
        yield Markup("<p><b>{:,} {}.</b> {}</p>").format(step.done, past, why)
