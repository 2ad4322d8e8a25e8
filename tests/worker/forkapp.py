"""An application that tells where it runs, for test_forks.py."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from typing import Any

from quaff import Quaff, current_job

quaff = Quaff()


@quaff.task(name="say")
def say(text: str) -> None:
    """Print it."""
    print(text, flush=True)


@quaff.task(name="status")
def status(*command: str) -> int:
    """Run a program; its exit code."""
    return subprocess.run(command, check=False).returncode


@quaff.task(name="inherited")
def inherited() -> list[str]:
    """What a program has open that is started without care."""
    # What it has open for its own pattern is gone when that is read.
    command = ["sh", "-c", "for each in /proc/$$/fd/*; do readlink $each; done; true"]
    return subprocess.run(command, check=True, close_fds=False, stdout=subprocess.PIPE, text=True).stdout.split()


@quaff.task(name="pools")
def pools() -> list[int]:
    """Use processes that import the main module of this one."""
    found = []
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as workers:
            found += workers.map(abs, [-1])
    return found


@quaff.task(name="fork_and_die")
def fork_and_die(leave: bool) -> int:
    """The first time, leave a copy of this process behind, in its group or in one of its own, and be killed."""
    if current_job.attempt == 1:
        copy = os.fork()
        if copy == 0:
            if leave:
                os.setsid()
            os.closerange(1, 3)  # whoever reads what the worker says waits for their end
            time.sleep(600)
            os._exit(0)
        while leave and os.getpgid(copy) != copy:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)  # another thread may be the one that gets the signal
    return current_job.attempt


@quaff.task(name="seen")
def seen() -> dict[str, Any]:
    """What a process sees of itself."""
    return {
        "pid": os.getpid(),
        "argv": sys.argv,
        "main": sys.modules["__main__"].__name__,
        "path": sys.path,
        "input": os.readlink("/proc/self/fd/0"),
        "environment": dict(os.environ),
        "cwd": os.getcwd(),
        "random": [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), os.urandom(4).hex()],
        "sockets": [name for name in map(_target, os.listdir("/proc/self/fd")) if name.startswith("socket")],
    }


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""
