"""A producer in a process of its own: ``python -m tests.chaos.producer NAME SEED RATE``, until SIGTERM.

Each call is in the ledger before it is sent, and how it came out as soon as it is known. Every second job has a key: a
call of it that nobody can say anything about is made again until somebody can.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time

from quaff import EnqueueUnknown, Quaff, QueueFull, ServerUnavailable
from tests.chaos import ledger

#: Seconds: the longest job, and the pause after a refusal.
LONGEST, REFUSED = 0.05, 0.1


def send(quaff: Quaff, tag: str, queue: str, task: str, *arguments: object, keyed: bool = False) -> str:
    """One call, written down; how it came out."""
    ledger.write(event="send", tag=tag)
    outcome, job = "accepted", ""
    try:
        options = quaff.tasks[task].options(queue=queue, key=tag) if keyed else quaff.tasks[task].options(queue=queue)
        job = options.delay(tag, *arguments).id
    except EnqueueUnknown as error:
        outcome, job = "unknown", error.id
    except (QueueFull, ServerUnavailable) as error:
        outcome = "refused"
        ledger.write(event="refusal", kind=type(error).__name__)
    ledger.write(event="sent", tag=tag, outcome=outcome, job=job)
    return outcome


def main(name: str, seed: int, rate: float) -> None:
    """Send until SIGTERM."""
    from tests.chaos.app import QUEUES, quaff

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    choice = random.Random(f"{seed} {name}")
    number, due = 0, time.monotonic()
    while not over.is_set():
        number += 1
        queue = choice.choice(list(QUEUES))
        call = (f"{name}-{number}", queue, choice.choice(QUEUES[queue]), choice.uniform(0, LONGEST))
        keyed = number % 2 == 0
        while (outcome := send(quaff, *call, keyed=keyed)) == "unknown" and keyed and not over.is_set():
            pass
        due = max(due + 1 / rate, time.monotonic() - 1)  # what an outage held up is sent afterwards, within limits
        over.wait(REFUSED if outcome == "refused" else max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
