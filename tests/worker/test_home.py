"""Whether a process is still what the supervisor started, and what becomes of its copies."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.helpers import Program, python

#: A hook that was registered before ours runs before it, as a parent that is in a hurry may do.
HURRIED = """
import os, signal
from quaff.worker.home import Home

signal.signal(signal.SIGTERM, lambda *_: None)
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
home = Home(os.getppid())
copy = os.fork()
if copy == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_a_copy_that_is_terminated_before_it_has_begun_ends(running: Callable[[Program], Program]) -> None:
    """F11: a pool that is closed at once terminates who has not run yet, and waits for its end without limit."""
    program = running(python("-c", HURRIED))
    assert program.wait() == 0, program.output
    assert program.stdout == [f"{-signal.SIGTERM} set()"]
