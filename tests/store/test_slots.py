"""The map of a cluster, fed with what its nodes say."""

from __future__ import annotations

from quaff.store.connect import Endpoint
from quaff.store.slots import Slots

SEED, OLD, NEW = ("seed", 1), ("old", 1), ("new", 1)


def reply(*nodes: tuple[str, int]) -> list[list[object]]:
    """CLUSTER SLOTS where these are one primary and its replicas."""
    return [[0, 16383, *([host.encode(), port, b"id"] for host, port in nodes)]]


def test_nodes_that_have_left_are_forgotten() -> None:
    """Those of the URL are not: they may be all that is left when the others go at once."""
    slots = Slots([SEED])
    slots.learn(reply(OLD, SEED), SEED)
    assert (set(slots.nodes()), slots.primaries()) == ({SEED, OLD}, [OLD])
    slots.learn(reply(NEW), SEED)
    assert (set(slots.nodes()), slots.primaries()) == ({SEED, NEW}, [NEW])


def test_what_is_open_to_a_node_that_has_left_is_closed() -> None:
    """An application that lives for months meets many nodes."""
    endpoint = Endpoint("redis+cluster://seed:1", "a test", 1)
    assert endpoint.slots is not None
    pool = endpoint.pool(OLD)
    endpoint.slots.learn(reply(OLD), SEED)
    endpoint._forget_all_but(endpoint.slots.nodes())
    assert endpoint.pool(OLD) is pool
    endpoint.slots.learn(reply(NEW), SEED)
    endpoint._forget_all_but(endpoint.slots.nodes())
    assert endpoint.pool(OLD) is not pool
