"""Quaff for FastAPI, Starlette, Litestar and every other ASGI application.

``FastAPI(lifespan=lifespan(quaff))``, ``app.mount("/jobs", JobsApp(quaff, secret_key=...))``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from quaff.app import Quaff
from quaff.errors import ConfigurationError, LimitReached, QueueFull, ServerUnavailable
from quaff.http.answers import NOT_FOUND, Answer
from quaff.http.events import EventStream
from quaff.http.tickets import Signer, Ticket, check_job, check_user
from quaff.http.views import SCRIPT_VERSION, JobViews, script
from quaff.job import Job

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NOT_ALLOWED = Answer(405, {"Allow": "GET, HEAD", "Content-Type": "text/plain"}, b"GET only\n")


class JobsApp:
    """An ASGI application that answers ``/<token>``, ``/<token>/events`` and ``/quaff.js`` for the jobs of a Quaff.

    Args:
        quaff: whose jobs.
        secret_key: a long random text that signs tickets; of several the last one does, and all are read.
        url_prefix: where it is mounted; what the URLs of tickets begin with.
        user: gives who is asking, from the request's ASGI scope: a text or number, or None; for tickets with ``user=``.
        max_waiters: how many requests of one process may be kept open at a time; others are answered at once.

    Raises:
        ConfigurationError: an empty key.
    """

    def __init__(
        self,
        quaff: Quaff,
        secret_key: str | Sequence[str],
        *,
        url_prefix: str = "/jobs",
        user: Callable[[Scope], object] | None = None,
        max_waiters: int = 1000,
    ) -> None:
        keys = [secret_key] if isinstance(secret_key, str) else list(secret_key)
        if not keys or not all(keys):
            raise ConfigurationError(
                "JobsApp(secret_key=...) is empty: give it a long random text "
                "(python -c 'import secrets; print(secrets.token_hex())')."
            )
        self._quaff = quaff
        self._signer = Signer(keys)
        self._prefix = url_prefix.rstrip("/")
        self._user = user
        self._views = JobViews(max_waiters)

    def ticket(self, job: Job[Any], *, user: object = None) -> Ticket:
        """What to hand to a browser: the job's id, its state, and the signed URL that tells how it goes on.

        For a job straight from ``delay`` this asks nothing of the server.

        Args:
            job: of that Quaff.
            user: who alone may use the URL, as ``JobsApp(user=...)`` names them; None: whoever has it.

        Raises:
            ConfigurationError: JobsApp was given no ``user=``.
            TypeError: it is no job; JobNotFound, ServerUnavailable
        """
        check_job(job)
        check_user(user, self._user)
        url = f"{self._prefix}/{self._signer.sign(job.id, user)}"
        return {"id": job.id, "state": job.state_at_hand().value, "url": url}

    @property
    def script_url(self) -> str:
        """Where ``quaff.js`` is, with its version: a browser keeps it until there is another one."""
        return f"{self._prefix}/quaff.js?v={SCRIPT_VERSION}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3. A client that has gone is no longer waited for."""
        if scope["type"] != "http":
            return
        answering = asyncio.ensure_future(self._answer(scope, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
            leaving.cancel()
            await asyncio.wait((answering, leaving))
        if not answering.cancelled():
            answering.result()

    async def _answer(self, scope: Scope, send: Send) -> None:
        answer = await self._view(scope)
        try:
            if isinstance(answer, Answer):
                await _send_whole(answer, send, body=scope["method"] == "GET")
            else:
                await _send_stream(answer, send, body=scope["method"] == "GET")
        except OSError:
            pass  # how some servers say that the client has gone

    async def _view(self, scope: Scope) -> Answer | EventStream:
        if scope["method"] not in ("GET", "HEAD"):
            return _NOT_ALLOWED
        # Mounted, or at the root of a server of its own.
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix(self._prefix)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query, known = parse_qs(scope["query_string"].decode("latin-1")), headers.get("if-none-match", "")
        match path.strip("/").split("/"):
            case ["quaff.js"]:
                return script(query.get("v", [""])[0], known)
            case [token]:
                return await self._views.astatus(self._find(token, scope), query.get("wait", [""])[0], known)
            case [token, "events"]:
                return await self._views.aevents(self._find(token, scope), headers.get("last-event-id", ""))
        return NOT_FOUND

    def _find(self, token: str, scope: Scope) -> Callable[[], Job[Any]]:
        def find() -> Job[Any]:
            return self._quaff.job(self._signer.read(token, self._user(scope) if self._user is not None else None))

        return find


def lifespan(quaff: Quaff) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """What an application does with a Quaff at its start and end: ``FastAPI(lifespan=lifespan(quaff))``.

    At the start an embedded server is started, so that no request waits for it; one that is away does not keep the
    application from starting. At the end the connections of the event loop are closed.

    Args:
        quaff: which; in a lifespan of one's own, ``async with lifespan(quaff)(app):``.
    """

    @asynccontextmanager
    async def whole(app: object) -> AsyncGenerator[None]:
        with suppress(ServerUnavailable):
            await quaff.store.endpoint.async_pool(quaff.settings.deadline)
        try:
            yield
        finally:
            await quaff.store.endpoint.aclose()

    return whole


async def try_later(request: object, error: Exception) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """A handler for errors that mean "later": 429 for LimitReached, 503 for QueueFull, both with ``Retry-After``.

    ``FastAPI(exception_handlers={LimitReached: try_later, QueueFull: try_later})``; of Starlette and FastAPI.
    """
    if not isinstance(error, (LimitReached, QueueFull)):
        raise error
    status = 429 if isinstance(error, LimitReached) else 503
    headers = {"Retry-After": str(math.ceil(error.retry_after)), "Content-Type": "application/json"}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await _send_whole(Answer(status, headers, b'{"detail":"try again later"}'), send, body=True)

    return answer


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_whole(answer: Answer, send: Send, *, body: bool) -> None:
    headers = dict(answer.headers)
    if answer.status not in (204, 304):
        headers["Content-Length"] = str(len(answer.body))
    await _send_start(answer.status, headers, send)
    await send({"type": "http.response.body", "body": answer.body if body else b""})


async def _send_stream(stream: EventStream, send: Send, *, body: bool) -> None:
    try:
        if not body:
            await stream.aclose()
        await _send_start(stream.status, stream.headers, send)
        if body:
            async for some in stream:
                await send({"type": "http.response.body", "body": some, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await stream.aclose()


async def _send_start(status: int, headers: Mapping[str, str], send: Send) -> None:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
