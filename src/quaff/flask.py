"""Quaff for Flask: ``Quaff(app)`` or ``init_app``, an application context for each attempt, and jobs over HTTP.

One object serves any number of applications, and keeps no hold of them: a task belongs to the Quaff, the settings and
the server to the application whose context is there. ``GET /jobs/<token>`` tells a browser how its job is.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict
from weakref import WeakKeyDictionary

import msgspec
from flask import Blueprint, Flask, Response, current_app, has_app_context, has_request_context, request, url_for
from flask.globals import app_ctx
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response as AnyResponse

from quaff import app as plain
from quaff import config
from quaff.app import Backend
from quaff.errors import (
    ConfigurationError,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    LimitReached,
    QueueFull,
    ResultExpired,
    ResultTimeout,
    ServerUnavailable,
)
from quaff.job import Job
from quaff.model.states import JobState
from quaff.store import embedded

#: Seconds: the longest ``?wait=``, when to ask again about a job that goes on, and about one whose server is away.
_LONGEST_WAIT, _ASK_AGAIN, _ASK_LATER = 30.0, 1, 5

_SALT = "quaff.ticket"

#: What JSON lacks becomes text or a list: bytes as base64, dates as ISO 8601, UUID, Decimal and complex as text.
_json = msgspec.json.Encoder(enc_hook=str)


class Ticket(TypedDict):
    """What a web page needs to follow a job; ``url`` is None where the status URL is switched off."""

    id: str
    state: str
    url: str | None


class Quaff(plain.Quaff):
    """A task queue for Flask applications.

    A view that lets LimitReached pass answers 429, one that lets QueueFull pass 503, both with ``Retry-After``.

    Args:
        app: the application; None if ``init_app`` follows.
        url_prefix: where ``GET <url_prefix>/<token>`` answers; None mounts nothing.
        max_waiters: how many requests of one process may wait with ``?wait=`` at a time; others are answered at once.
        settings: as for ``quaff.Quaff``; the ``QUAFF_*`` keys of ``app.config`` go before them.
    """

    #: Where an application knows its Quaff.
    extension = "quaff"

    def __init__(
        self, app: Flask | None = None, *, url_prefix: str | None = "/jobs", max_waiters: int = 8, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._url_prefix = url_prefix
        self._view = StatusView(self, max_waiters)
        self._known: WeakKeyDictionary[Flask, _Known] = WeakKeyDictionary()
        self._served: Flask | None = None
        # Quaff(create_app()) may be all that holds the application. Those of init_app belong to their factories.
        self._first = app
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make ``app`` one of this Quaff's applications. Its configuration is read later, at the first use.

        Raises:
            RuntimeError: the application has a Quaff already.
        """
        if self.extension in app.extensions:
            raise RuntimeError(
                f"{app.name!r} has a Quaff already: call Quaff(app) or init_app(app) once, "
                "and register every task of the application on that one object"
            )
        self._mount(app)
        app.extensions[self.extension] = self
        self._known[app] = _Known()

    def _mount(self, app: Flask) -> None:
        """Add what an application answers: the status URL, and the errors that mean "later"."""
        if self._url_prefix is not None:
            blueprint = Blueprint("quaff", __name__, url_prefix=self._url_prefix)
            blueprint.add_url_rule("/<token>", "status", self._view.answer)
            app.register_blueprint(blueprint)
        app.register_error_handler(LimitReached, _try_later)
        app.register_error_handler(QueueFull, _try_later)

    def serve(self, app: Flask) -> None:
        """Run attempts in the context of ``app``; for a worker that has just loaded it."""
        # The one strong reference: what a factory made for the worker has no other holder.
        self._served = app

    def attempt_scope(self) -> AbstractContextManager[Any]:
        """A fresh application context for one attempt; its teardown runs whatever the attempt came to.

        Raises:
            ConfigurationError: as ``backend``.
        """
        return (self._served or self._app()).app_context()

    @property
    def backend(self) -> Backend:
        """The settings and store of the application whose context is there, else of the worker's, else of the only one.

        Raises:
            ConfigurationError: nobody can say which application is meant, or its settings are wrong.
        """
        return self.backend_of(self._app())

    def backend_of(self, app: Flask) -> Backend:
        """The settings and store of an application that ``init_app`` has seen."""
        known = self._known[app]
        if known.backend is None:
            known.backend = Backend(config.resolve(self._flags, self._code, app_config=app.config))
        return known.backend

    def override(self, **flags: Any) -> None:
        """Lay settings from a command line over all others; before the first use."""
        super().override(**flags)
        for known in list(self._known.values()):
            known.backend = None

    def ticket(self, job: Job[Any]) -> Ticket:
        """What to hand to a browser: the job's id, its state, and the signed URL that tells how it goes on.

        For a job straight from ``delay`` this asks nothing of the server.

        Raises:
            ConfigurationError: the application has no SECRET_KEY to sign with.
            JobNotFound, ServerUnavailable
        """
        url = None if self._url_prefix is None else self._url_of(self._app(), job)
        return {"id": job.id, "state": job.state_at_hand().value, "url": url}

    def job_of(self, token: str) -> Job[Any]:
        """The job of a ticket's token.

        Raises:
            JobNotFound: this application did not sign it.
        """
        try:
            return self.job(self._signer(self._app()).loads(token))
        except BadSignature:
            raise JobNotFound("this is no token of this application.", token) from None

    def _app(self) -> Flask:
        if has_app_context() and app_ctx.app in self._known:
            return app_ctx.app
        if self._served is not None:
            return self._served
        apps = list(self._known)
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise ConfigurationError(
                "this Quaff belongs to no Flask application: call init_app(app) first, and give a worker the "
                "application or its factory (-A module:create_app)."
            )
        names = ", ".join(sorted(repr(app.name) for app in apps))
        raise ConfigurationError(
            f"this Quaff belongs to {len(apps)} applications ({names}): say which with `with app.app_context():`, "
            "or, to a worker, with -A module:application."
        )

    def _url_of(self, app: Flask, job: Job[Any]) -> str:
        token = self._signer(app).dumps(job.id)
        assert isinstance(token, str)
        if has_request_context() and app_ctx.app is app:
            return url_for("quaff.status", token=token)
        # Outside of a request nobody knows the host, and a path needs none.
        adapter = app.url_map.bind("localhost", script_name=app.config["APPLICATION_ROOT"])
        return adapter.build("quaff.status", {"token": token})

    def _signer(self, app: Flask) -> URLSafeSerializer:
        if app.secret_key:
            # The newest key, last, signs; tickets signed with the older ones stay good.
            keys = [*(app.config.get("SECRET_KEY_FALLBACKS") or ()), app.secret_key]
        else:
            keys = [self._kept_key(app)]
        return URLSafeSerializer(keys, salt=_SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": sha256})

    def _kept_key(self, app: Flask) -> bytes:
        backend, known = self.backend_of(app), self._known[app]
        url = backend.settings.url
        if not url.startswith("embedded:"):
            raise ConfigurationError(
                f"{app.name!r} has no SECRET_KEY to sign the tickets of its jobs with: set app.config['SECRET_KEY'] "
                "(python -c 'import secrets; print(secrets.token_hex())'), or mount no status URL: "
                "Quaff(url_prefix=None)."
            )
        if known.kept_key is None:
            backend.endpoint.revive(
                backend.settings.deadline
            )  # the directory is there after that, and is nobody else's
            known.kept_key = _shared_key(embedded.directory(url) / "secret.key")
        return known.kept_key


class _Known:
    """What this process knows of one application; it holds no reference to it."""

    def __init__(self) -> None:
        self.backend: Backend | None = None
        self.kept_key: bytes | None = None


def _shared_key(path: Path) -> bytes:
    """The key in a file that only its owner can read; made once, whichever of several processes comes first."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(os.urandom(32).hex().encode())
            file.flush()
            os.fsync(descriptor)
        # A link, unlike a rename, fails where another process was first, and shows the file only when it is whole.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    return path.read_bytes()


class StatusView:
    """``GET <url_prefix>/<token>``: ``{state, progress, value}`` or ``{state, progress, error}`` as JSON.

    ``error`` is ``{reason, type, message}``, never a traceback. 200 for every job that is known, also when its value is
    kept no longer (reason ``expired``); 404 for a forged token and for a job that is not known, with no difference
    between them; 503 while the server is away. ``Retry-After`` says when to ask again, and is absent once the job has
    ended; the ETag changes with the answer. ``?wait=SECONDS`` (at most 30) answers as soon as the job has ended.

    Args:
        quaff: whose jobs.
        max_waiters: how many requests may wait at a time in this process.
    """

    def __init__(self, quaff: Quaff, max_waiters: int) -> None:
        self._quaff = quaff
        self._turns = threading.BoundedSemaphore(max_waiters)

    def answer(self, token: str) -> Response:
        """The view."""
        try:
            job = self._quaff.job_of(token)
            self._wait(job, _seconds(request.args.get("wait", "")))
            told = report(job)
        except JobNotFound:
            return _refusal(404, "not_found", "JobNotFound", "no such job, or it is forgotten by now")
        except ServerUnavailable:
            return _refusal(503, "unavailable", "ServerUnavailable", "the job server is away; ask again", _ASK_LATER)
        response = Response(_json.encode(told), mimetype="application/json")
        # A browser may keep it, so that it can ask with the ETag, but has to ask; nobody on the way may.
        response.headers["Cache-Control"] = "private, no-cache"
        if not JobState(told["state"]).terminal:
            response.headers["Retry-After"] = str(_ASK_AGAIN)
        response.add_etag()
        response.make_conditional(request.environ)
        del response.headers["Date"]  # which it adds, and the web server too
        return response

    def _wait(self, job: Job[Any], seconds: float) -> None:
        # In a server with one thread a process, a request that waits would keep everybody else waiting too.
        if not seconds or not request.environ.get("wsgi.multithread") or not self._turns.acquire(blocking=False):
            return
        try:
            job.result(seconds)
        except (ResultTimeout, JobFailed, JobCancelled, JobExpired, ResultExpired):
            pass  # whatever it came to, the report says it
        finally:
            self._turns.release()


def report(job: Job[Any]) -> dict[str, Any]:
    """How a job is, as the status URL tells it. Raises JobNotFound or ServerUnavailable."""
    info = job.info()
    state, said = info.state, info.progress
    progress = said and {"done": said.done, "total": said.total, "note": said.note}
    told: dict[str, Any] = {"state": state.value, "progress": progress}
    try:
        if state.terminal:
            told["value"] = job.result(0)
    except JobCancelled as error:
        told["error"] = _error("cancelled", "JobCancelled", error.reason or "the job was cancelled")
    except JobExpired:
        told["error"] = _error("expired", "JobExpired", "the job had not begun in time, and did not run")
    except JobFailed as error:
        told["error"] = _error(error.reason, error.type, error.message)
    except ResultExpired:
        told["error"] = _error("expired", "ResultExpired", "the job has ended, and its result is kept no longer")
    except ResultTimeout:
        told["state"] = JobState.QUEUED.value  # an operator sent it back between the two looks
    return told


def _try_later(error: LimitReached | QueueFull) -> ResponseReturnValue | AnyResponse:
    """What a view answers that let the error pass: 429 or 503 with ``Retry-After``, as the application shows those."""
    kind = TooManyRequests if isinstance(error, LimitReached) else ServiceUnavailable
    return current_app.handle_http_exception(kind(retry_after=math.ceil(error.retry_after)))


def _error(reason: str, type: str, message: str) -> Mapping[str, str]:
    return {"reason": reason, "type": type, "message": message}


def _refusal(status: int, reason: str, type: str, message: str, retry_after: int | None = None) -> Response:
    body = {"state": None, "progress": None, "error": _error(reason, type, message)}
    response = Response(_json.encode(body), status, {"Cache-Control": "no-store"}, mimetype="application/json")
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _seconds(text: str) -> float:
    """``?wait=`` within its bounds; 0 for what is no number."""
    try:
        wanted = float(text)
    except ValueError:
        return 0.0
    return min(wanted, _LONGEST_WAIT) if wanted > 0 else 0.0
