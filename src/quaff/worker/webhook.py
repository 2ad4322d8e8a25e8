"""One call of a webhook: within a deadline, to where its URL says and nowhere else.

Redirects are not followed, no proxy is asked, and addresses that only this machine's surroundings have (link-local,
where clouds hand out credentials) are refused, whatever a name resolves to.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from urllib.parse import urlsplit

from quaff.model.webhook import signature

#: Seconds for all of it, and for each step.
DEADLINE = 10.0
_STEP = 5.0


class Undelivered(Exception):
    """Nobody has said that he got it; the text says why, and nothing of the URL but its host."""


class Webhook:
    """Where events are sent.

    Args:
        url, key: as ``model.webhook.check`` has let them pass.
    """

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._key = key
        self.where: str = f"{self._host}:{self._port}"

    def send(self, body: bytes) -> None:
        """Post it. Raises Undelivered."""
        try:
            status = self._post(body)
        except ssl.SSLCertVerificationError as error:
            raise Undelivered(
                f"{self.where}: {error.verify_message}. An authority of your own is named by SSL_CERT_FILE in the "
                "worker's environment"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise Undelivered(f"{self.where}: {str(error) or type(error).__name__}") from None
        if not 200 <= status < 300:
            hint = ", and redirects are not followed" if 300 <= status < 400 else ""
            raise Undelivered(f"{self.where} has answered {status}{hint}")

    def _post(self, body: bytes) -> int:
        lines = [self._connect()]
        # However slowly the other side goes on: each step may take its time, all of them together may not.
        over = threading.Event()
        timer = threading.Timer(DEADLINE, _cut, (lines, over))
        timer.daemon = True
        timer.start()
        status = 0
        try:
            if self._tls:
                context = ssl.create_default_context()
                secure = context.wrap_socket(lines[0], server_hostname=self._host, do_handshake_on_connect=False)
                lines.append(secure)
                secure.do_handshake()
            connection = HTTPConnection(self._host, self._port)
            connection.sock = lines[-1]
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "quaff",
                "Quaff-Signature": signature(self._key, int(time.time()), body),
                "Connection": "close",
            }
            connection.request("POST", self._path, body, headers)
            status = connection.getresponse().status
        except OSError:
            if not over.is_set():
                raise
        finally:
            timer.cancel()
            lines[-1].close()
        if over.is_set():  # what was cut off looks like an answer that is complete, or like a connection that is reset
            raise TimeoutError(f"no whole answer in {DEADLINE:g} s")
        return status

    def _connect(self) -> socket.socket:
        error: OSError = OSError("the name has no address")
        for _, _, _, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            where = ip_address(str(address[0]).partition("%")[0])
            where = getattr(where, "ipv4_mapped", None) or where
            if where.is_link_local or where.is_multicast or where.is_unspecified:
                error = OSError(f"{where} is no address for a webhook")
                continue
            try:
                return socket.create_connection((str(address[0]), self._port), timeout=_STEP)
            except OSError as refused:
                error = refused
        raise error


def _cut(lines: list[socket.socket], over: threading.Event) -> None:
    over.set()
    try:
        lines[-1].shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is over
