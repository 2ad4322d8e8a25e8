"""The same jobs behind Flask, Quart and plain ASGI, for servers that the tests start; QUAFF_URL says where jobs are."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quaff import app as plain
from quaff import current_job
from quaff.asgi import JobsApp, Receive, Scope, Send

WAITERS = 2


def give(quaff: plain.Quaff) -> None:
    """Register the tasks. They go on when a file appears, so that a test says when."""

    @quaff.task(name="steps")
    def steps(folder: str, count: int) -> str:
        for number in range(1, count + 1):
            _await(Path(folder, str(number)))
            current_job.progress(number, count, f"step {number}")
        _await(Path(folder, "end"))
        return "done"

    @quaff.task(name="words")
    def words(folder: str, count: int) -> Iterator[str]:
        for number in range(count):
            _await(Path(folder, str(number)))
            current_job.log(f"line {number}")
            logging.getLogger("library").error("of no concern to a page")
            yield f"word {number}"

    @quaff.task(name="again", retries=1, backoff=0)
    def again(folder: str) -> Iterator[str]:
        yield f"attempt {current_job.attempt}"
        _await(Path(folder, str(current_job.attempt)))
        if current_job.attempt == 1:
            raise ValueError("once more")

    @quaff.task(name="fail")
    def fail() -> None:
        raise ValueError("as it should")


def _await(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


def flask_app() -> Any:
    """For werkzeug and gunicorn."""
    from flask import Flask, jsonify, request

    from quaff.flask import Quaff

    app = Flask("site")
    app.config["SECRET_KEY"] = "one"
    quaff = Quaff(app, user=lambda: request.headers.get("X-User"), max_waiters=WAITERS)
    give(quaff)

    @app.post("/start/<name>")
    def start(name: str) -> Any:
        job = quaff.find_task(name).delay(*request.get_json())
        return jsonify(quaff.ticket(job, user=request.args.get("for")))

    return app


def quart_app() -> Any:
    """For uvicorn."""
    from quart import Quart, jsonify, request

    from quaff.quart import Quaff

    app = Quart("site")
    app.config["SECRET_KEY"] = "one"
    quaff = Quaff(app, user=lambda: request.headers.get("X-User"), max_waiters=WAITERS)
    give(quaff)

    @app.post("/start/<name>")
    async def start(name: str) -> Any:
        job = await quaff.find_task(name).adelay(*await request.get_json())
        return jsonify(quaff.ticket(job, user=request.args.get("for")))

    return app


class AsgiSite:
    """For uvicorn: no framework at all."""

    def __init__(self) -> None:
        self._quaff = plain.Quaff()
        give(self._quaff)
        self._jobs = JobsApp(self._quaff, "one", user=_user, max_waiters=WAITERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /start/<name>, and everything else of the jobs."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._jobs(scope, receive, send)
        arguments = json.loads((await receive())["body"])
        job = await self._quaff.find_task(scope["path"].rpartition("/")[2]).adelay(*arguments)
        whose = scope["query_string"].decode().removeprefix("for=") or None
        body = json.dumps(self._jobs.ticket(job, user=whose)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})
        return None


def _user(scope: Scope) -> str | None:
    return next((value.decode() for name, value in scope["headers"] if name == b"x-user"), None)


#: Names of servers, and how they are started on a port that is free.
SERVERS = {
    "werkzeug": [sys.executable, __file__],
    "threads": ["gunicorn", "--threads", "8", "-w", "1", "-b", "127.0.0.1:{port}", "tests.http.site:flask_app()"],
    "sync": ["gunicorn", "-w", "1", "-b", "127.0.0.1:{port}", "tests.http.site:flask_app()"],
    "quart": ["uvicorn", "--port", "{port}", "--factory", "tests.http.site:quart_app"],
    "asgi": ["uvicorn", "--port", "{port}", "--factory", "tests.http.site:AsgiSite"],
}

if os.environ.get("SITE_WORKER"):
    worker_quaff = plain.Quaff()
    give(worker_quaff)

if __name__ == "__main__":
    flask_app().run("127.0.0.1", int(sys.argv[1]), threaded=True)
