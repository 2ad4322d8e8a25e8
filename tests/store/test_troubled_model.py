"""The scripts against their model while the server dies, forgets, and has a wrong clock.

After a failover that has lost what came last, the model is what it was at the copy, and the workers are what they have
become: what they settle, renew and give back then is answered as if the server had never known better.
"""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from quaff.store.keys import NAMES
from tests.engines import Server
from tests.store.engine_model import Process
from tests.store.exploring import TIMEOUT, explore
from tests.store.test_engine_model import Engine

_MODEL = ("jobs", "ready", "solo", "count", "answered_ok", "ended")


class Copy(NamedTuple):
    """What a replica has: the server's keys, the model, and of each process the last claim that was heard of."""

    keys: dict[bytes, bytes]
    model: dict[str, Any]
    processes: list[tuple[Process, tuple[int, bytes, int] | None]]
    gone: list[Process]


class Troubled(Engine):
    """As ``Engine``, on a server that is not always well."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.copy: Copy | None = None
        self.restarts = 0

    @rule()
    def replicate(self) -> None:
        """The replica has all that there is now."""
        keys = {self.desk.key(name): self.desk.redis.dump(self.desk.key(name)) for name in NAMES}
        self.copy = Copy(
            {key: data for key, data in keys.items() if data is not None},
            {name: deepcopy(getattr(self, name)) for name in _MODEL},
            [(process, process.last) for process in self.processes],
            copy(self.gone),
        )

    @precondition(lambda self: self.copy is not None)
    @rule()
    def fail_over(self) -> None:
        """The replica takes over, and what it had not got is lost. A token is never handed out twice all the same."""
        assert self.copy is not None
        self.desk.redis.delete(*(self.desk.key(name) for name in NAMES))
        for key, data in self.copy.keys.items():
            self.desk.redis.restore(key, 0, data)
        for name, value in deepcopy(self.copy.model).items():
            setattr(self, name, value)
        self.processes = [process for process, _ in self.copy.processes]
        self.gone = copy(self.copy.gone)
        for process, last in self.copy.processes:
            process.last = last

    @precondition(lambda self: self.restarts < 2)
    @rule()
    def restart(self) -> None:
        """The server is killed and comes back with all that it had acknowledged; it knows no script."""
        self.restarts += 1
        self.server.kill()
        self.server.start()
        self.desk.redis.connection_pool.disconnect()

    @rule(ahead_ms=st.sampled_from([5_000, 50_000, 7_200_000]))
    def clock_was_ahead(self, ahead_ms: int) -> None:
        """Somebody has put the server's clock back: by a little, which is waited out, or by much, which is believed."""
        now = int(self.desk.redis.time()[0]) * 1000
        self.desk.redis.hset(self.desk.key("meta"), "clock", now + ahead_ms)


@pytest.mark.timeout(TIMEOUT)
def test_no_failover_restart_or_clock_breaks_an_invariant() -> None:
    """F15, F20, F38, F49, I1, I4, I7: after each step the whole dump is what the model says."""
    with Server("--appendonly", "yes", "--appendfsync", "always") as server:
        Troubled.url, Troubled.server = server.url, server
        explore(Troubled, stories=40, steps=40)
