"""A client of a whole cluster with the methods of redis-py's client of one server, for tests that look at keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import ExecAbortError, MovedError

#: What is said to each primary; the first one's answer is given.
_TO_ALL = frozenset(
    "script_flush config_set config_resetstat execute_command acl_deluser save client_kill_filter close".split()
)
#: What is asked of one of them, or of all and put together.
_TO_ANY, _TOGETHER = frozenset("time ping pubsub".split()), frozenset(("scan_iter", "acl_log"))
_LONG = 10.0

Said = tuple[str, tuple[Any, ...], dict[str, Any]]


class PlainCluster:
    """Commands go to the node that has their first key, wherever that has moved to."""

    def __init__(self, seeds: Sequence[tuple[str, int]]) -> None:
        self._seed = redis.Redis(*seeds[0], protocol=2)
        self._nodes: dict[tuple[str, int], Any] = {}
        self._owners: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def say(*arguments: Any, **options: Any) -> Any:
            if name in _TO_ALL | _TO_ANY | _TOGETHER:
                nodes = self.primaries()[: 1 if name in _TO_ANY else None]
                found = [getattr(node, name)(*arguments, **options) for node in nodes]
                return list(chain(*found)) if name in _TOGETHER else found[0]
            return self.run([(name, arguments, options)], transaction=False)[0]

        return say

    def info(self, section: str) -> dict[str, Any]:
        """Of ``commandstats`` how often each was called on all of them, and for how long; anything else of one."""
        told = [node.info(section) for node in self.primaries()]
        if section != "commandstats":
            return dict(told[0])
        names = {name for each in told for name in each}
        return {
            name: {what: sum(each[name][what] for each in told if name in each) for what in ("calls", "usec")}
            for name in names
        }

    def pubsub_numsub(self, *names: bytes) -> list[tuple[bytes, int]]:
        """Subscribers, whichever node they have chosen, which may be a replica."""
        told = [dict(node.pubsub_numsub(*names)) for node in self.nodes()]
        return [(name, sum(each[name] for each in told)) for name in names]

    def primaries(self) -> list[Any]:
        """A client of each."""
        return self._listed(1)

    def nodes(self) -> list[Any]:
        """A client of each, and of each replica."""
        return self._listed(None)

    def _listed(self, most: int | None) -> list[Any]:
        rows = self._seed.execute_command("CLUSTER", "SLOTS")
        places = {(node[0].decode(), node[1]) for row in rows for node in row[2:][:most]}
        return [self._node(*place) for place in sorted(places)]

    def pipeline(self, transaction: bool = True) -> _Commands:
        """Commands whose keys are all in the slot of the first one's."""
        return _Commands(self, transaction)

    def run(self, said: Sequence[Said], *, transaction: bool) -> list[Any]:
        """The replies to commands."""
        key = said[0][1][0]
        slot = key_slot(key if isinstance(key, bytes) else key.encode())
        until = time.monotonic() + _LONG
        while True:
            pipe = self._owners.get(slot, self._seed).pipeline(transaction)
            for name, arguments, options in said:
                getattr(pipe, name)(*arguments, **options)
            try:
                return list(pipe.execute())
            except (MovedError, ExecAbortError) as error:
                moved = error if isinstance(error, MovedError) else error.__cause__ or error.__context__
                self._owners[slot] = self._node(*moved.node_addr) if isinstance(moved, MovedError) else self._seed
                if time.monotonic() > until:
                    raise

    def _node(self, host: str, port: int) -> Any:
        return self._nodes.setdefault((host, port), redis.Redis(host, port, protocol=2))


class _Commands:
    def __init__(self, cluster: PlainCluster, transaction: bool) -> None:
        self._cluster = cluster
        self._transaction = transaction
        self._said: list[Said] = []

    def __enter__(self) -> _Commands:
        return self

    def __exit__(self, *_: object) -> None:
        self._said.clear()

    def __getattr__(self, name: str) -> Callable[..., _Commands]:
        def add(*arguments: Any, **options: Any) -> _Commands:
            self._said.append((name, arguments, options))
            return self

        return add

    def execute(self) -> list[Any]:
        """Their replies."""
        return self._cluster.run(self._said, transaction=self._transaction)
