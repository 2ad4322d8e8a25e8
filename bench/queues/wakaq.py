"""WakaQ, which keeps no results."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlparse

from wakaq import WakaQ
from wakaq.worker import Worker

from bench.queues import URL
from bench.tasks import BODIES

TITLE = "WakaQ"
PACKAGES = ("wakaq",)
SETTINGS = "concurrency=N, async_concurrency=100; keeps no results"
GUARANTEE = "lost, if it was running"
REDELIVERS = False
SLOTS = {"async": 100}
IMPORT = "import wakaq"

PROCESSES = int(sys.argv[1]) if __name__ == "__main__" else 1
url = urlparse(URL)
app = WakaQ(queues=["bench"], host=url.hostname, port=url.port, concurrency=PROCESSES, async_concurrency=100)
TASKS = {name: app.task(body) for name, body in BODIES["async"].items()}


def worker(processes: int, kind: str) -> list[list[str]]:
    return [[sys.executable, "-m", "bench.queues.wakaq", str(processes)]]


def enqueue(kind: str, task: str, args: tuple[Any, ...]) -> None:
    TASKS[task].delay(*args)


if __name__ == "__main__":
    Worker(wakaq=app).start()
