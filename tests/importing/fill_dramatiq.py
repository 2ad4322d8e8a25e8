"""Send with the real Dramatiq what the tests look for: ``python fill_dramatiq.py URL``; prints the ids as JSON."""

from __future__ import annotations

import json
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.encoder import JSONEncoder, PickleEncoder

dramatiq.set_broker(RedisBroker(url=sys.argv[1]))


@dramatiq.actor(actor_name="add", max_age=7_200_000)
def add(a: int, b: int = 0) -> None:
    """Ours is ``shop.add``."""


@dramatiq.actor(actor_name="pay", queue_name="money")
def pay(a: int, b: int = 0) -> None:
    """In another queue."""


@dramatiq.actor(actor_name="report")
def report() -> None:
    """Nobody has it any more."""


sent = {
    "plain": add.send(2, 3),
    "named": add.send(a=1, b=1),
    "soon": add.send_with_options(args=(1, 1), delay=200),
    "later": add.send_with_options(args=(7,), delay=3_600_000),
    "queue": pay.send(1, 9),
    "aged": add.send_with_options(args=(0, 6), max_age=3_600_000),
    "chain": (add.message(1, 1) | add.message(1)).run().messages[0],
    "callback": add.send_with_options(args=(5, 7), on_success=report),
    "unknown": report.send(),
    "misfit": add.send("one", 2),
}
dramatiq.set_encoder(PickleEncoder())
sent["pickled"] = add.send(4, 4)
dramatiq.set_encoder(JSONEncoder())
print(json.dumps({label: each.options.get("redis_message_id", each.message_id) for label, each in sent.items()}))
