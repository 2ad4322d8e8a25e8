"""Send with the real Huey what the tests look for: ``python fill_huey.py URL``; prints the ids as JSON."""

from __future__ import annotations

import json
import sys
from fractions import Fraction

from huey import PriorityRedisHuey, RedisHuey
from huey.serializer import Serializer, SignedSerializer

shop, ranked = RedisHuey("shop", url=sys.argv[1]), PriorityRedisHuey("ranked", url=sys.argv[1])


@shop.task(name="add", retries=3)
def add(a: int, b: int = 0) -> int:
    """Ours is ``shop.add``."""
    return a + b


@ranked.task(name="rank")
def rank(a: int, b: int = 0) -> int:
    """With priorities."""
    return a + b


@shop.task(name="report")
def report() -> None:
    """Nobody has it any more."""


sent = {
    "plain": add(2, 3),
    "named": add(a=1, b=1),
    "soon": add.schedule((1, 1), delay=0.2),
    "later": add.schedule((7,), delay=3600, expires=7200),
    "low": rank(1, 9, priority=-5),
    "high": rank(0, 6, priority=500),
    "object": add(Fraction(1, 2)),
    "chain": shop.enqueue(add.s(1, 1).then(add, 1))._results[0],
    "revoked": add(5, 5),
    "unknown": report(),
    "misfit": add("one", 2),
}
sent["revoked"].revoke()
for label, serializer in (("squeezed", Serializer(compression=True)), ("signed", SignedSerializer("secret"))):
    shop.serializer = serializer
    sent[label] = add(4, 4)
print(json.dumps({label: each.id for label, each in sent.items()}))
