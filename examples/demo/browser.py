"""What many browsers at once would do: hand in files, keep the tickets, ask until each has its answer. HTTP only."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote, urlsplit

ENDED = {"succeeded", "failed", "cancelled", "expired"}
UPLOADERS, ASKERS = 2, 3  # threads, each with a connection of its own
PAUSE = 0.05  # seconds before one job is asked about again


@dataclass(frozen=True)
class File:
    """One file to hand in."""

    name: str
    path: Path


@dataclass(frozen=True)
class Ticket:
    """What the web application gave for a file of so many bytes."""

    id: str
    url: str
    name: str
    size: int


@dataclass
class Tally:
    """What came back, counted by job id.

    Attributes:
        total: files to hand in.
        answers: job id -> the last answer of its status URL.
        pids: process -> when it last finished something that we know of.
        trouble: what a person should hear about.
        began, last: when the first file was sent, and when the last answer came.
    """

    total: int
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    pids: dict[int, float] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    refused: int = 0
    began: float = 0.0
    last: float = 0.0

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What the jobs that succeeded said."""
        return [answer["value"] for answer in list(self.answers.values()) if answer["state"] == "succeeded"]

    @property
    def succeeded(self) -> int:
        """Files whose job did."""
        return len(self.reports)

    @property
    def failed(self) -> int:
        """Files whose job ended otherwise."""
        return len(self.answers) - self.succeeded

    @property
    def lost(self) -> int:
        """Files without any end: not accepted, or accepted and not ended."""
        return self.total - len(self.answers)

    def note(self, ticket: Ticket, answer: dict[str, Any]) -> None:
        """A job has ended. An answer that is about another file is a failure, whatever it calls itself."""
        value = answer.get("value") or {}
        if answer["state"] == "succeeded" and (value.get("name"), value.get("bytes")) != (ticket.name, ticket.size):
            answer = {"state": "failed", "error": {"message": f"the answer is about {value.get('name')!r}"}}
        if answer["state"] == "succeeded":
            self.pids[value["pid"]] = time.monotonic()
        else:
            self.trouble.append(f"{ticket.name}: {answer['state']}: {answer.get('error', {}).get('message')}")
        self.answers[ticket.id] = answer
        self.last = time.monotonic()


class Browser:
    """Hands in files and asks for their results, in threads that end when nothing is left to do.

    Args:
        url: of the application's page.
        files: what to hand in.
    """

    def __init__(self, url: str, files: Sequence[File]) -> None:
        self._host = urlsplit(url).netloc
        self._files: SimpleQueue[File] = SimpleQueue()
        for file in files:
            self._files.put(file)
        self._tickets: SimpleQueue[Ticket] = SimpleQueue()
        self._page = HTTPConnection(self._host, timeout=30)
        self._lock = threading.Lock()
        self.tally = Tally(len(files))

    def start(self) -> None:
        """Begin."""
        self.tally.began = self.tally.last = time.monotonic()
        for target in [self._upload] * UPLOADERS + [self._ask] * ASKERS:
            threading.Thread(target=target, daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether every file has its end, or never got a ticket."""
        return len(self.tally.answers) + self.tally.refused >= self.tally.total

    def progress(self) -> dict[str, Any]:
        """What the page shows now."""
        return request(self._page, "GET", "/progress", expected=200)

    def _upload(self) -> None:
        connection = HTTPConnection(self._host, timeout=30)
        while True:
            try:
                file = self._files.get_nowait()
            except Empty:
                return
            try:
                data = file.path.read_bytes()
                told = request(connection, "POST", f"/files?name={quote(file.name)}", data, expected=202)
            except (OSError, HTTPException, ValueError) as error:
                connection.close()
                with self._lock:
                    self.tally.refused += 1
                    self.tally.trouble.append(f"{file.name}: not accepted: {error}")
            else:
                self._tickets.put(Ticket(told["id"], told["url"], file.name, len(data)))

    def _ask(self) -> None:
        connection = HTTPConnection(self._host, timeout=30)
        while not self.done:
            try:
                ticket = self._tickets.get(timeout=0.2)
            except Empty:
                continue
            # Jobs end about in the order of their tickets: waiting for the oldest asks the least.
            while (answer := _status(connection, ticket))["state"] not in ENDED:
                time.sleep(PAUSE)
            with self._lock:
                self.tally.note(ticket, answer)


def _status(connection: HTTPConnection, ticket: Ticket) -> dict[str, Any]:
    try:
        return request(connection, "GET", ticket.url, expected=200)
    except (OSError, HTTPException, ValueError):
        connection.close()  # the next request opens it again
        return {"state": "unknown"}


def request(connection: HTTPConnection, method: str, path: str, body: bytes = b"", *, expected: int) -> dict[str, Any]:
    """One request over a connection that stays open.

    Raises:
        OSError, HTTPException: no answer.
        ValueError: an answer with another status than ``expected``, or without JSON.
    """
    connection.request(method, path, body)
    response = connection.getresponse()
    text = response.read()
    if response.status != expected:
        raise ValueError(f"{method} {path.partition('?')[0]} answered {response.status}: {text[:200]!r}")
    answer: dict[str, Any] = json.loads(text)
    return answer
