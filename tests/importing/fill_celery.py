"""Send with the real Celery what the tests look for: ``python fill_celery.py URL``; prints the ids as JSON."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
from celery import Celery, chain
from kombu.serialization import register

# As kombu does it where the package msgpack is installed.
register("msgpack", msgspec.msgpack.encode, msgspec.msgpack.decode, "application/x-msgpack", "binary")
app = Celery("shop", broker=sys.argv[1])


@app.task(name="shop.add")
def add(a: int, b: int = 0) -> int:
    """Ours has the same name."""
    return a + b


@app.task(name="shop.price")
def price(of: Decimal, at: datetime) -> str:
    """Takes what JSON has no word for."""
    return f"{of} {at}"


@app.task(name="old.report")
def report() -> None:
    """Nobody has it any more."""


sent = {
    "plain": add.delay(2, 3),
    "named": add.apply_async(kwargs={"a": 1, "b": 1}, countdown=0.2),
    "later": add.apply_async((7,), eta=datetime.now(UTC) + timedelta(hours=1), expires=7200),
    "queue": add.apply_async((1, 9), queue="money"),
    "last": add.apply_async((0, 6), priority=6),
    "typed": price.delay(Decimal("1.20"), datetime(2026, 1, 31, 12, tzinfo=UTC)),
    "pickled": add.apply_async((4, 4), serializer="pickle"),
    "packed": add.apply_async((5, 5), serializer="msgpack"),
    "object": add.apply_async((Fraction(1, 2),), serializer="pickle"),
    "squeezed": add.apply_async((1, 2), compression="zlib"),
    "chain": chain(add.s(1, 1), add.s(1)).delay().parent,
    "unknown": report.delay(),
    "misfit": add.apply_async(("one", 2)),
}
print(json.dumps({label: each.id for label, each in sent.items()}))
