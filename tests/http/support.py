"""Clients: one that asks, and one that listens to an event stream."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.helpers import wait_until


class Reply(NamedTuple):
    """What came back, its header names in lower case, and the seconds it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Site:
    """A web server of the tests."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc

    def start(self, task: str, *arguments: Any, user: str | None = None) -> dict[str, Any]:
        """Start a job; its ticket."""
        query = f"?for={user}" if user else ""
        reply = self.ask(f"/start/{task}{query}", method="POST", body=json.dumps(arguments))
        assert reply.status == 200, reply
        ticket: dict[str, Any] = reply.json
        return ticket

    def ask(self, path: str, *, method: str = "GET", body: str | None = None, **headers: str) -> Reply:
        """A request over a connection of its own; ``if_none_match='...'`` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named["Content-Type"] = "application/json"
        connection = HTTPConnection(self.host, timeout=40)
        began = time.monotonic()
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, told, text, time.monotonic() - began)

    def listen(self, path: str, **headers: str) -> Listening:
        """Open an event stream, as soon as there is a place for it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        def admitted() -> Listening | None:
            stream = Listening(self.host, path, named)
            if stream.response.status == 200:
                return stream
            stream.close()
            return None

        return wait_until(admitted, 30, "a place to listen")


class Event(NamedTuple):
    """One of a stream."""

    kind: str
    data: Any
    id: str


class Listening:
    """An event stream that is open; iterate over its events. It ends when the server ends it.

    Attributes:
        response: status and headers.
    """

    def __init__(self, host: str, path: str, headers: dict[str, str]) -> None:
        self._connection = HTTPConnection(host, timeout=40)
        self._connection.request("GET", path, headers=headers)
        assert self._connection.sock is not None
        self._socket: socket.socket = self._connection.sock
        self.response: HTTPResponse = self._connection.getresponse()
        self.retry = ""

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next one, waited for."""
        fields: dict[str, str] = {}
        while True:
            line = self.response.readline().decode()
            if not line:
                self.close()
                raise StopIteration
            name, _, value = line.rstrip("\n").partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            elif line.startswith(":"):
                pass  # a comment
            elif "data" in fields:
                return Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            self.retry = fields.get("retry", self.retry)

    def close(self) -> None:
        """Go away, as a browser does whose page is closed."""
        self._socket.close()
        self.response.close()
        self._connection.close()
