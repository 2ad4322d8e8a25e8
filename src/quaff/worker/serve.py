"""A worker from its plan, for whoever starts one."""

from __future__ import annotations

import os
from pathlib import Path

from quaff.worker import reloading
from quaff.worker.logs import set_up
from quaff.worker.plan import Plan
from quaff.worker.supervisor import Supervisor


def serve(plan: Plan, *, reload: bool = False) -> int:
    """Run a worker in this process until a signal; returns its exit code (see ``docs/worker.md``).

    Args:
        plan: what it does.
        reload: replace its processes when a Python file below the working directory changes.

    Raises:
        ConfigurationError: ``reload`` without watchfiles, or nobody can listen at ``plan.health``.
    """
    set_up(plan.level, plan.log_format)
    if reload:
        reloading.check_installed("send SIGHUP after a change")
        os.environ.update(reloading.NO_BYTECODE)
    supervisor = Supervisor(plan)
    if reload:
        reloading.watch(Path.cwd(), supervisor.reload)
    return supervisor.run()
