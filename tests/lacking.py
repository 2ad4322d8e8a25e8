"""What a machine lacks that a test needs: the test is left out there, and fails where everything has to be shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

#: ``.ci/run`` sets it: a row that is green there was shown, and not left out.
ALL = bool(os.environ.get("CI"))
#: The number of CAP_SYS_ADMIN, with which one mounts, in a process's set of rights.
_ADMIN = 21


def lacks(what: str) -> NoReturn:
    """Leave a test out for want of something; fail it where CI is set.

    Args:
        what: what is not there, and how it is had.
    """
    if ALL:
        pytest.fail(f"{what}; with CI set nothing is left out")
    pytest.skip(what)


def not_allowed(what: str) -> NoReturn:
    """As ``lacks``, of what a container may forbid: that is nobody's fault, unless this process has the right to it."""
    if may_mount():
        lacks(what)
    pytest.skip(what)


def may_mount() -> bool:
    """Whether this process has the right to mount, and so to namespaces of its own."""
    try:
        told = Path("/proc/self/status").read_text()
    except OSError:  # elsewhere than on Linux
        return False
    rights = told.partition("CapEff:")[2].split()[:1]
    return bool(rights) and bool(int(rights[0], 16) >> _ADMIN & 1)
