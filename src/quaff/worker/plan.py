"""What a worker is to do, as whoever starts it says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from quaff.worker.listening import Address
from quaff.worker.rotation import Wear


class Plan(NamedTuple):
    """What a worker is to do.

    Attributes:
        app: ``module:object``.
        queues: None serves every queue that the tasks name, and ``default``.
        weights: by queue: how many turns it has while others have one; empty: those of ``queues`` come in their order.
        processes: None takes the setting.
        grace: seconds; None takes the setting.
        flags: settings of the command line.
        name: kept with each attempt; host name and pid by default.
        level, log_format: of the log.
        wear: when a process is replaced.
        health: where to tell how it is; None: nowhere.
        burst: it ends when its queues are empty.
    """

    app: str
    queues: list[str] | None = None
    weights: Mapping[str, int] = MappingProxyType({})
    processes: int | None = None
    grace: float | None = None
    flags: Mapping[str, str | int | float] = MappingProxyType({})
    name: str = ""
    level: str = "info"
    log_format: str = "text"
    wear: Wear = Wear()
    health: Address | None = None
    burst: bool = False
