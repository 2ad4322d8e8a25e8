"""What Quaff is in a web framework, Flask or Quart: settings by application, and tickets.

One object serves any number of applications, and keeps no hold of them: a task belongs to the Quaff, the settings and
the server to the application whose context is there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from quaff import app as plain
from quaff import config
from quaff.backend import Backend
from quaff.detour import Detour
from quaff.errors import ConfigurationError
from quaff.http.tickets import Signer, Ticket, check_job, check_user, shared_key
from quaff.http.views import SCRIPT_VERSION, JobViews
from quaff.job import Job
from quaff.store import embedded

#: The class of the framework's applications; a Protocol for what is used of it is more than mypy can see in time.
A = TypeVar("A", bound=Any)


class Extension(plain.Quaff, Generic[A]):
    """A task queue for the applications of one framework.

    Args:
        app: the application; None if ``init_app`` follows.
        url_prefix: where ``GET <url_prefix>/<token>`` answers; None mounts nothing.
        user: gives who is asking, in a request: a text or number, or None; for tickets with ``user=``.
        max_waiters: how many requests of one process may be kept open (``?wait=`` and events) at a time.
        settings: as for ``quaff.Quaff``, ``results=`` too; the ``QUAFF_*`` keys of ``app.config`` go before them.
    """

    #: Where an application knows its Quaff.
    extension = "quaff"

    def __init__(
        self,
        app: A | None,
        *,
        url_prefix: str | None,
        user: Callable[[], object] | None,
        max_waiters: int,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._url_prefix = url_prefix
        self._user = user
        self._views = JobViews(max_waiters)
        self._known: WeakKeyDictionary[A, _Known] = WeakKeyDictionary()
        self._served: A | None = None
        # Quaff(create_app()) may be all that holds the application. Those of init_app belong to their factories.
        self._first = app
        if app is not None:
            self.init_app(app)

    def init_app(self, app: A) -> None:
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

    def serve(self, app: A | None) -> None:
        """Run attempts in the context of ``app``; for a worker that has just loaded it. None: of no certain one."""
        # The one strong reference: what a factory made for the worker has no other holder.
        self._served = app

    @property
    def backend(self) -> Backend:
        """The settings and store of the application whose context is there, else of the worker's, else of the only one.

        Raises:
            ConfigurationError: nobody can say which application is meant, or its settings are wrong.
        """
        return self.backend_of(self._app())

    def backend_of(self, app: A) -> Backend:
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

    def detour(self) -> Detour | None:
        """As of any Quaff; all that sends comes by here first.

        Raises:
            ConfigurationError: a request of an application without SECRET_KEY is being answered. What its view sends
                would be there, and its ticket would fail, and whoever tries again would send another one.
        """
        app = self._current()
        if app is not None and app in self._known and self._asked(app) and (lacking := self.lacking()):
            raise ConfigurationError(f"{lacking} Nothing was sent.")
        return super().detour()

    def lacking(self) -> str:
        """What the application lacks, and the URLs of its jobs need; nothing if all is there."""
        app = self._app()
        if self._url_prefix is None or app.config.get("SECRET_KEY") or self._keeps_key(app):
            return ""
        return _no_key(app)

    def ticket(self, job: Job[Any], *, user: object = None) -> Ticket:
        """What to hand to a browser: the job's id, its state, and the signed URL that tells how it goes on.

        For a job straight from ``delay`` this asks nothing of the server.

        Args:
            job: of this application.
            user: who alone may use the URL, as ``Quaff(user=...)`` names them; None: whoever has it.

        Raises:
            ConfigurationError: the application has no SECRET_KEY to sign with, or this Quaff was given no ``user=``.
            TypeError: it is no job; JobNotFound, ServerUnavailable
        """
        check_job(job)
        check_user(user, self._user)
        url = None
        if self._url_prefix is not None:
            url = self._url_of("quaff.status", token=self._signer(self._app()).sign(job.id, user))
        return {"id": job.id, "state": job.state_at_hand().value, "url": url}

    @property
    def script_url(self) -> str:
        """Where ``quaff.js`` is, with its version: a browser keeps it until there is another one."""
        return self._url_of("quaff.script", v=SCRIPT_VERSION)

    def job_of(self, token: str) -> Job[Any]:
        """The job of a ticket's token.

        Raises:
            JobNotFound: this application did not sign it, or it did for another user.
        """
        user = self._user() if self._user is not None else None
        return self.job(self._signer(self._app()).read(token, user))

    # What a framework does its own way

    @abstractmethod
    def _mount(self, app: A) -> None:
        """Add what an application answers: the URLs of jobs, and the errors that mean "later"."""

    @abstractmethod
    def _current(self) -> A | None:
        """The application whose context is there."""

    @abstractmethod
    def _asked(self, app: A) -> bool:
        """Whether a request of that application is being answered here."""

    @abstractmethod
    def _url_here(self, app: A, endpoint: str, values: dict[str, Any]) -> str | None:
        """An URL as the request that is there sees it; None outside of one of that application."""

    def _app(self) -> A:
        current = self._current()
        if current is not None and current in self._known:
            return current
        if self._served is not None:
            return self._served
        apps = list(self._known)
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise ConfigurationError(
                "this Quaff belongs to no application: call init_app(app) first, and give a worker the "
                "application or its factory (-A module:create_app)."
            )
        names = ", ".join(sorted(repr(app.name) for app in apps))
        raise ConfigurationError(
            f"this Quaff belongs to {len(apps)} applications ({names}): say which with `with app.app_context():`, "
            "or, to a worker, with -A module:application."
        )

    def _url_of(self, endpoint: str, **values: str) -> str:
        app = self._app()
        url = self._url_here(app, endpoint, values)
        if url is None:
            # Outside of a request nobody knows the host, and a path needs none.
            adapter = app.url_map.bind("localhost", script_name=app.config["APPLICATION_ROOT"])
            url = adapter.build(endpoint, values)
        assert isinstance(url, str)
        return url

    def _signer(self, app: A) -> Signer:
        key = app.config.get("SECRET_KEY")
        return Signer([*(app.config.get("SECRET_KEY_FALLBACKS") or ()), key] if key else [self._kept_key(app)])

    def _keeps_key(self, app: A) -> bool:
        """Whether a key is kept beside its server."""
        return self.backend_of(app).settings.url.startswith("embedded:")

    def _kept_key(self, app: A) -> bytes:
        backend, known = self.backend_of(app), self._known[app]
        if not self._keeps_key(app):
            raise ConfigurationError(_no_key(app))
        if known.kept_key is None:
            # The directory is there after that, and is nobody else's.
            backend.endpoint.revive(backend.settings.deadline)
            known.kept_key = shared_key(embedded.directory(backend.settings.url) / "secret.key")
        return known.kept_key


def _no_key(app: Any) -> str:
    # Many have one in the environment, and take that to be enough.
    return (
        f"{app.name!r} has no SECRET_KEY to sign the tickets of its jobs with. It has to read one: "
        "app.config['SECRET_KEY'] = os.environ['SECRET_KEY'] (python -c 'import secrets; print(secrets.token_hex())' "
        "makes one). Without tickets it is Quaff(url_prefix=None)."
    )


class _Known:
    """What this process knows of one application; it holds no reference to it."""

    def __init__(self) -> None:
        self.backend: Backend | None = None
        self.kept_key: bytes | None = None
