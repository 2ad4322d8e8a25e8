"""Send with the real RQ what the tests look for: ``python fill_rq.py URL``; prints the ids as JSON."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from fractions import Fraction

from redis import Redis
from rq import Callback, Queue, Repeat, Retry
from rq.serializers import JSONSerializer

connection = Redis.from_url(sys.argv[1])
default, money = Queue(connection=connection), Queue("money", connection=connection)
in_json = Queue("json", connection=connection, serializer=JSONSerializer)

first = default.enqueue("shop.add", 2, 3)
sent = {
    "plain": first,
    "named": default.enqueue("shop.add", a=1, b=1, retry=Retry(max=3), job_timeout=60),
    "soon": default.enqueue_in(timedelta(seconds=0.2), "shop.add", 1, 1),
    "later": default.enqueue_in(timedelta(hours=1), "shop.add", 7, ttl=7200),
    "queue": money.enqueue("shop.add", 1, 9),
    "json": in_json.enqueue("shop.add", 4, 4),
    "nested": default.enqueue("shop.total", {"a": [1, 2.5, None], "b": (True, b"x", "ä")}),
    "object": default.enqueue("shop.add", Fraction(1, 2)),
    "followed": (parent := default.enqueue("shop.add", 5, 5)),
    "dependent": default.enqueue("shop.add", 5, 6, depends_on=parent),
    "callback": default.enqueue("shop.add", 5, 7, on_success=Callback("shop.tell")),
    "repeats": default.enqueue("shop.add", 5, 8, repeat=Repeat(times=3, interval=60)),
    "unknown": default.enqueue("old.report"),
    "misfit": default.enqueue("shop.add", "one", 2),
}
print(json.dumps({label: each.id for label, each in sent.items()}))
