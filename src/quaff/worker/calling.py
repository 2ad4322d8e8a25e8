"""What to call a task's function with."""

from __future__ import annotations

from typing import Any

from quaff.worker.run import Run


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
