"""The demo's web application: hand in Python files, and see on its pages what is in them.

``flask --app app quaff dev`` runs it: web page, worker and server, with one Ctrl+C. ``python run.py`` (make demo) hands
in a few thousand files and kills a process of the worker half-way.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections import deque
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path
from typing import Any

from analysis import Report, examine
from flask import Flask, Response, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.serving import WSGIRequestHandler, make_server

from quaff import JobError, JobNotFound, ResultTimeout, current_job
from quaff.flask import Quaff
from quaff.job import Job

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 * 1024 * 1024
app.config["MAX_FORM_PARTS"] = 5000
quaff = Quaff(app)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SPOOL = Path(os.environ.get("DEMO_SPOOL") or Path(app.instance_path, "spool"))


@quaff.task
def analyse(name: str, digest: str) -> Report:
    """One file. Its bytes are on disk and not in the message, which may be 256 KiB at most (MAX_MESSAGE)."""
    # The file stays where it is: after a crash this function runs again, and then wants it again.
    report = examine(name, (SPOOL / digest).read_bytes())
    return replace(report, pid=os.getpid(), attempt=current_job.attempt)


@dataclass(frozen=True)
class Summary:
    """What is in the files of one upload; ``largest`` has the ten with the most lines."""

    files: int
    lines: int
    functions: int
    problems: int
    largest: list[Report]


@quaff.task
def analyse_all(manifest: str) -> Summary:
    """All files of one upload, with a word on how far it is; ``manifest`` is a list of their names and digests."""
    files = json.loads((SPOOL / manifest).read_bytes())
    reports: list[Report] = []
    for name, digest in files:
        current_job.progress(len(reports), len(files), name)
        reports.append(examine(name, (SPOOL / digest).read_bytes()))
    current_job.progress(len(reports), len(files))
    return Summary(
        files=len(reports),
        lines=sum(each.lines for each in reports),
        functions=sum(each.functions for each in reports),
        problems=sum(each.problem is not None for each in reports),
        largest=nlargest(10, reports, key=lambda each: each.lines),
    )


class Board:
    """What the page shows. It asks for results when somebody looks, and keeps no thread of its own for that."""

    #: Jobs end about in the order they were sent, so after this many that have not, a look is over.
    enough = 32

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: deque[Job[Report]] = deque()
        self._succeeded = self._failed = 0
        self._largest: list[Report] = []

    def add(self, job: Job[Report]) -> None:
        """A file was handed in."""
        with self._lock:
            self._open.append(job)

    def look(self) -> dict[str, Any]:
        """The totals and the ten largest files."""
        with self._lock:
            unfinished: list[Job[Report]] = []
            while self._open and len(unfinished) < self.enough:
                job = self._open.popleft()
                if not self._ended(job):
                    unfinished.append(job)
            self._open.extendleft(reversed(unfinished))
            ended = self._succeeded + self._failed
            return {
                "files": ended + len(self._open),
                "succeeded": self._succeeded,
                "failed": self._failed,
                "largest": self._largest,
            }

    def _ended(self, job: Job[Report]) -> bool:
        try:
            report = job.result(timeout=0)
        except ResultTimeout:
            return False
        except JobError:
            self._failed += 1
            return True
        self._succeeded += 1
        self._largest = nlargest(10, [*self._largest, report], key=lambda each: each.lines)
        return True


board = Board()


@app.get("/")
def page() -> str:
    """The first page."""
    return render_template("index.html", told=board.look())


@app.post("/uploads")
def upload() -> Response:
    """Take the files of the form, all for one job, and lead to the page that shows how it goes on."""
    files = [(each.filename, store(each.read())) for each in request.files.getlist("files") if each.filename]
    if not files:
        abort(400, "choose at least one file")
    job = analyse_all.delay(store(json.dumps(files).encode()))
    token = str(quaff.ticket(job)["url"]).rpartition("/")[2]
    return redirect(url_for("show", token=token), 303)


@app.get("/uploads/<token>")
def show(token: str) -> str:
    """How an upload is now. Without JavaScript a reload shows more; with it the page listens (static/upload.js)."""
    summary: Summary | None = None
    problem: JobError | None = None
    try:
        job: Job[Summary] = quaff.job_of(token)
        info = job.info()
        summary = job.result(timeout=0)
    except JobNotFound:
        abort(404)
    except ResultTimeout:
        pass  # it goes on
    except JobError as error:
        problem = error
    url = quaff.ticket(job)["url"]
    return render_template(
        "upload.html", job=info, summary=summary, problem=problem, status_url=url, script_url=quaff.script_url
    )


@app.post("/files")
def hand_in() -> tuple[Response, int]:
    """Take a file (its bytes are the body) and answer at once with the ticket of its job."""
    name = request.args.get("name", "")
    if not 0 < len(name) <= 1000:
        abort(400, "say the file's name: POST /files?name=...")
    job = analyse.delay(name, store(request.get_data()))
    board.add(job)
    return jsonify(quaff.ticket(job)), 202


@app.get("/progress")
def progress() -> Response:
    """How far it is."""
    return jsonify(board.look())


@app.after_request
def secure(response: Response) -> Response:
    """Nothing but what comes from here, and nothing inline."""
    response.headers["Content-Security-Policy"] = POLICY
    return response


def store(data: bytes) -> str:
    """Put bytes into the spool, whole or not at all; returns the name they have there, which is their digest."""
    digest = hashlib.sha256(data).hexdigest()
    place = SPOOL / digest
    if not place.exists():
        SPOOL.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=SPOOL, delete=False) as draft:
            draft.write(data)
        os.replace(draft.name, place)
    return digest


class KeepAlive(WSGIRequestHandler):
    """Many small requests over one connection, as a browser sends them; quietly."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement of its headers

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Thousands of them tell nobody anything."""


def main() -> None:
    """Serve on a free port of this machine and say which."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=KeepAlive)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
