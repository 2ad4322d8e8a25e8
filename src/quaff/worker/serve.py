"""A worker from its plan, for whoever starts one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from quaff.worker import reloading
from quaff.worker.logs import set_up
from quaff.worker.plan import Plan
from quaff.worker.supervisor import Supervisor


def serve(plan: Plan, *, reload: bool = False, clean: bool = False) -> int:
    """Run a worker in this process until a signal; returns its exit code (see ``docs/worker.md``).

    Args:
        plan: what it does.
        reload: replace its processes when a Python file below the working directory changes.
        clean: this process has loaded nothing but Quaff, so its processes may be forks of it.

    Raises:
        ConfigurationError: ``reload`` without watchfiles, or nobody can listen at ``plan.health``.
    """
    if reload:
        reloading.check_installed("send SIGHUP after a change")
        os.environ.update(reloading.NO_BYTECODE)
        sys.dont_write_bytecode = True  # which a fork has from here, and a fresh interpreter from there
    supervisor = Supervisor(plan, clean=clean)
    set_up(plan.level, plan.log_format)  # no earlier: each process has a log of its own
    if reload:
        reloading.watch(Path.cwd(), supervisor.reload)
    return supervisor.run()
