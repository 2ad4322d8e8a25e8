"""The server of a test process: started when first asked for, gone with the process."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from quaff.store import embedded

#: Where this process has its server; a forked child has none, and must not remove that of its parent.
_homes: dict[int, Path] = {}


def url() -> str:
    """The URL of this process's server, which runs. A worker of pytest-xdist is a process, and so has one of its own.

    Raises:
        ConfigurationError: there is no server program to be found; ServerUnavailable
    """
    return _url(os.getpid())


@cache
def _url(pid: int) -> str:
    # Short: the path of a socket has little room, and the temporary directory of some systems is long.
    home = Path(tempfile.mkdtemp(prefix="quaff-", dir="/tmp" if os.access("/tmp", os.W_OK) else None))  # noqa: S108
    _homes[pid] = home
    atexit.register(clear)
    embedded.ensure(home)
    return f"embedded://{home}"


def clear() -> None:
    """Remove the directory of this process's server, if it has one: no test comes any more.

    Its keeper ends the server itself when this process, its last user, is gone.
    """
    home = _homes.pop(os.getpid(), None)
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)
