"""Between an attempt and the user's code: what to call it with, which value is whose, when it is tried again."""

from __future__ import annotations

import logging
from typing import Any

from quaff.model.codec import with_article
from quaff.model.masking import Mask
from quaff.model.outcome import failure_of
from quaff.model.retry import Again
from quaff.worker.logs import first_line
from quaff.worker.ready import Ready
from quaff.worker.run import Run

log: logging.Logger = logging.getLogger("quaff.worker")


def arguments(run: Run) -> tuple[list[Any], dict[str, Any]]:
    """What to call the function with. Raises whatever is wrong with a message's arguments, or the user's classes do."""
    ready = run.job
    if ready.task.settings.batch is None:
        return ready.task.signature.unbind(ready.message.args, ready.message.kwargs)
    calls: list[Any] = []
    for job in ready.all:
        try:
            calls.append(job.task.signature.made(job.message.args, job.message.kwargs))
        except BaseException as error:  # noqa: BLE001  one that does not fit must not keep the others from running
            run.unfit[job.claim.lease.token] = error
    if not calls:
        raise next(iter(run.unfit.values()))
    return [calls], {}


def answers_of(run: Run, value: Any) -> dict[bytes, Any]:
    """By the tokens of a batch's jobs one value for each of its calls, or an exception in the place of one that failed.

    Raises:
        TypeError: it has not given as many as it was called with.
    """
    fit = [job for job in run.job.all if job.claim.lease.token not in run.unfit]
    values = [None] * len(fit) if value is None else value
    if not isinstance(values, (list, tuple)) or len(values) != len(fit):
        given = f"{len(values)} values" if isinstance(values, (list, tuple)) else with_article(type(value).__name__)
        text = f"{run.job.task.name} was called with {len(fit)} calls and returned {given}: give a list of as many."
        raise TypeError(text)
    return dict(zip((job.claim.lease.token for job in fit), values, strict=True))


def again_after(ready: Ready, error: BaseException, mask: Mask) -> Again | None:
    """The next attempt; None if this was the last one. ``mask`` is for what goes into the log."""
    try:
        return ready.task.settings.retry.again(ready.claim.lease.failures + 1, error)
    except BaseException as second:  # noqa: BLE001  the backoff is the user's code, too, and so is the text of its error
        failure = failure_of(second, mask=mask)
        log.error("%s: its backoff raised %s: %s", ready.task.name, failure.type, first_line(failure.message))
        return None
