"""The libraries that are known."""

from __future__ import annotations

from collections.abc import Callable

from quaff.errors import ConfigurationError
from quaff.importing.celery import Celery
from quaff.importing.dramatiq import Dramatiq
from quaff.importing.found import Peer
from quaff.importing.huey import Huey
from quaff.importing.rq import RQ

PEERS: dict[str, Callable[[], Peer]] = {"celery": Celery, "rq": RQ, "dramatiq": Dramatiq, "huey": Huey}
#: Those whose keys may begin otherwise.
_PREFIXED: dict[str, Callable[[str], Peer]] = {"celery": Celery, "dramatiq": Dramatiq}


def peer(name: str, prefix: str = "") -> Peer:
    """One of them.

    Args:
        name: of the library.
        prefix: of its keys, if it was given one.

    Raises:
        ConfigurationError: its keys cannot have another prefix.
    """
    if not prefix:
        return PEERS[name]()
    if name not in _PREFIXED:
        raise ConfigurationError(f"--prefix {prefix!r}: the keys of {name} always begin in the same way.")
    return _PREFIXED[name](prefix)
