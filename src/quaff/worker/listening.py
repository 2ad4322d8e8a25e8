"""A few pages over HTTP, for probes and scrapers: read-only, with a bound on what anybody can take of us."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from quaff.errors import ConfigurationError, QuaffError

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds that one who asks may take; how many may ask at a time.
_PATIENCE, _MOST = 5.0, 16


class Answer(NamedTuple):
    """What is said, and how."""

    body: str
    status: int = 200
    type: str = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """What a page is told: the query, each name once, and which types are accepted."""

    query: dict[str, str]
    accept: str = ""


Page = Callable[[Request], Answer]


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


def address(text: str) -> Address:
    """``9191``, ``127.0.0.1:9191``, ``[::]:9191``; without a host this machine alone. Raises ConfigurationError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigurationError(f"{text!r} is no address: give HOST:PORT, such as 127.0.0.1:9191, or a port alone.")
    return Address(host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port))


class Listening:
    """Answers from threads of its own until the process ends.

    Args:
        where: the address; port 0 takes a free one.
        pages: by path.

    Attributes:
        port: where it listens.

    Raises:
        ConfigurationError: nobody can listen there.
    """

    def __init__(self, where: Address, pages: Mapping[str, Page]) -> None:
        try:
            self._server = _server(where, pages)
        except OSError as error:
            raise ConfigurationError(f"nobody can listen at {where.host}:{where.port}: {error}") from None
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Answer in the background."""
        threading.Thread(target=self._server.serve_forever, name="quaff-health", daemon=True).start()

    def serve(self) -> None:
        """Answer here, until Ctrl+C."""
        self._server.serve_forever()


def _server(where: Address, pages: Mapping[str, Page]) -> ThreadingHTTPServer:
    # Most workers listen nowhere, and this would be in the memory of each.
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE
        server_version, sys_version = "quaff", ""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            page = pages.get(url.path)
            answer = Answer(f"there are {', '.join(pages)}\n", 404) if page is None else self._ask(page, url.query)
            body = answer.body.encode()
            self.send_response(answer.status)
            for header in (("Content-Type", answer.type), ("Content-Length", str(len(body)))):
                self.send_header(*header)
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  the name that http.server looks for

        def _ask(self, page: Page, query: str) -> Answer:
            try:
                return page(Request(dict(parse_qsl(query)), self.headers.get("Accept", "")))
            except QuaffError as error:
                return Answer(f"{error}\n", 503)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug("health: %s", format % args)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        daemon_threads = True
        _room = threading.BoundedSemaphore(_MOST)

        def process_request(self, request: Any, client_address: Any) -> None:
            if not self._room.acquire(blocking=False):
                # Who holds all of it keeps nobody waiting for longer than it is allowed to.
                self.shutdown_request(request)
                return
            try:
                super().process_request(request, client_address)
            except Exception:  # no thread can be started
                self._room.release()
                raise

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                self._room.release()

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who asked has hung up

    return Server((where.host, where.port), Handler)
