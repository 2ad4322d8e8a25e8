"""The names of "Basic Message Queue with Redis", a Flask snippet of 2011, on this engine.

    from quaff.snippet import DelayedResult, queue_daemon, queuefunc

A program of that time runs with its import lines changed and nothing else. What was dangerous in it is gone: no
pickle, a job is data and names a function that the daemon knows. What was lossy is gone too: a job that was taken off
the queue comes back when its worker dies.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast

import msgspec
from flask import Flask, has_app_context
from flask.globals import app_ctx

from quaff import config, flask
from quaff.backend import Backend
from quaff.errors import ConfigurationError, JobError, JobFailed, ServerUnavailable, StoreError
from quaff.job import Job
from quaff.model import ids
from quaff.model.ids import JobId
from quaff.registry import importable
from quaff.store.keys import partition
from quaff.store.transitions import forget

__all__ = ["DelayedResult", "queue_daemon", "queuefunc"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_QUEUE_KEY = "REDIS_QUEUE_KEY"

#: A value that was read goes this much later: time enough for whoever asks twice.
_AFTER_READ_MS = 10_000


class QueueFunc(Protocol[P, R_co]):
    """A function that ``queuefunc`` has given a ``delay``; it is still the function it was."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> DelayedResult:
        """Send one call to the queue ``app.config['REDIS_QUEUE_KEY']`` of the current application.

        Raises:
            RuntimeError: outside of an application context. What ``Task.delay`` raises besides.
        """
        ...


class _Place(NamedTuple):
    """Where a job is."""

    backend: Backend
    id: JobId


class DelayedResult:
    """The result of a call, once there is one.

    Args:
        key: ``<queue key>:result:<uuid>``, of another DelayedResult; also of another process, and with no context.

    Attributes:
        key: the same.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._place: _Place | None = None
        self._rv: Any = None

    @property
    def return_value(self) -> Any:
        """What the function returned; the exception if it raised; None until then, and if it returned None.

        A value that has been seen stays in this handle; the server drops it 10 s later.

        Raises:
            ServerUnavailable
        """
        if self._rv is None:
            self._rv = self._read()
        return self._rv

    def _read(self) -> Any:
        self._place = self._place or _find(self.key)
        if self._place is None:
            return None
        try:
            value = _quaff.handle(*self._place).result(timeout=0)
        except JobFailed as error:
            value = _exception(error)
        except JobError:
            return None  # not there yet, or no more
        if value is not None:
            _drop(self._place)
        return value

    def __repr__(self) -> str:
        return f"<DelayedResult {self.key}>"


def queuefunc(f: Callable[P, R]) -> QueueFunc[P, R]:
    """Give a function a ``delay``; a plain call runs it here and now, as before.

    Raises:
        ConfigurationError: another function of the same module has its name.
    """
    task = _quaff.task(keep_none=False)(f)

    def delay(*args: P.args, **kwargs: P.kwargs) -> DelayedResult:
        app = _quaff.meet(app_ctx.app)
        queue_key = _queue_key(app)
        job = task.options(queue=ids.queue_name(queue_key)).delay(*args, **kwargs)
        id = ids.parse(job.id)
        assert id is not None
        rv = DelayedResult(ids.result_key(queue_key, id.raw))
        rv._place = _Place(_quaff.backend_of(app), id)
        return rv

    f.delay = delay  # type: ignore[attr-defined]
    return cast("QueueFunc[P, R]", f)


def queue_daemon(app: Flask, rv_ttl: float = 500, processes: int = 1, concurrency: int = 1) -> None:
    """Run the functions in an application's queue until SIGTERM or SIGINT, then finish what runs and return.

    Each call has a fresh context of ``app``. The worker processes import ``app.import_name``, never the main script.

    Args:
        rv_ttl: seconds a result is kept after the end.
        processes, concurrency: processes, and threads in each; with one of each, jobs run one after the other in order.

    Raises:
        ConfigurationError: no REDIS_QUEUE_KEY; called while a worker process imports the application.
        SystemExit: the worker could not start (2), or a second signal came (130 or 143).
    """
    if _loading.is_set():
        raise ConfigurationError(
            "queue_daemon() was called while its worker process imported the application: call it in a script of its "
            'own, or below `if __name__ == "__main__":`.'
        )
    from quaff.worker.plan import Plan
    from quaff.worker.serve import serve

    flags = {
        "concurrency": concurrency,
        "async_concurrency": concurrency,
        "result_ttl": rv_ttl,
        "failed_ttl": rv_ttl,
    }
    os.environ[_ORDERS] = msgspec.json.encode(_orders(app)).decode()
    try:
        code = serve(
            Plan(f"{__name__}:daemon_quaff", [ids.queue_name(_queue_key(app))], processes=processes, flags=flags)
        )
    finally:
        del os.environ[_ORDERS]
    if code:
        sys.exit(code)


# One Quaff for all applications: a function belongs to no application until it is called.


class _Quaff(flask.Quaff):
    """Beside an application's own Quaff, if it has one."""

    extension = "quaff.snippet"

    def __init__(self) -> None:
        super().__init__(url_prefix=None)
        self._lock = threading.Lock()

    def _mount(self, app: Flask) -> None:
        """Nothing: by its first use an application has been set up."""

    def meet(self, app: Flask) -> Flask:
        """Initialise an application at its first use: the snippet knew no ``init_app``."""
        with self._lock:
            if self.extension not in app.extensions:
                self.init_app(app)
        return app

    def handle(self, backend: Backend, id: JobId) -> Job[Any]:
        """A job of any application."""
        return Job(backend.store, backend.settings, id, answers=self._answers)


_quaff = _Quaff()


def _queue_key(app: Flask) -> str:
    key = app.config.get(_QUEUE_KEY)
    if not key:
        raise ConfigurationError(f"{app.name!r} names no queue: set app.config['{_QUEUE_KEY}'] = 'my_queue'.")
    return str(key)


# Finding a job by its key alone


def _find(key: str) -> _Place | None:
    """The job in the server of the current application, else of a loaded one with that queue, else of QUAFF_URL."""
    parsed = ids.parse_result_key(key)
    if parsed is None:
        return None
    queue_key, id = parsed
    apps = (app for _, _, app in _loaded_apps() if app.config.get(_QUEUE_KEY) == queue_key)
    app = app_ctx.app if has_app_context() else next(apps, None)
    backend = _lone_backend() if app is None else _quaff.backend_of(_quaff.meet(app))
    return _Place(backend, backend.settings.partitions.home(id.queue, id.raw))


def _loaded_apps() -> Iterator[tuple[str, str, Flask]]:
    """The applications in the modules of this process: module, name in it, application."""
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if issubclass(type(value), Flask):  # not isinstance: that would ask proxies, which ask for a context
                yield name, attribute, value


@cache
def _lone_backend() -> Backend:
    return Backend(config.resolve())


def _drop(place: _Place) -> None:
    part = partition(place.backend.settings.namespace, place.id.queue, place.id.partition)
    try:
        place.backend.store.run(forget(part, after_ms=_AFTER_READ_MS, ids=[place.id.raw]))
    except (ServerUnavailable, StoreError):
        pass  # it goes in its own time then


# Exceptions as values

#: What one text can make. A message cannot add to it.
_EXCEPTIONS: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__ == name
    if not issubclass(kind, (UnicodeError, BaseExceptionGroup)) or kind is UnicodeError
}


def _exception(error: JobFailed) -> Exception:
    """The exception that a function raised, if it was a builtin one; else ``error``, which has its name and text."""
    kind = _EXCEPTIONS.get(error.type)
    if error.reason != "error" or kind is None or not _is_builtin(error.type, error.traceback):
        return error.with_traceback(None)
    return kind(_literal(error.message) if kind is KeyError else error.message)


def _is_builtin(name: str, trace: str) -> bool:
    """Whether the traceback ends with the plain name: another module's exception of that name has its module before."""
    names: list[str] = re.findall(rf"^((?:[\w.<>]+\.)?{name})(?::|$)", trace, re.MULTILINE)
    return names[-1:] == [name]


def _literal(text: str) -> Any:
    """What a KeyError was made with: its text is the ``repr`` of that."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


# What the daemon's processes load

_ORDERS = "QUAFF_SNIPPET"
_loading = threading.Event()


class _Orders(msgspec.Struct):
    """How a process of the daemon finds what its parent was given.

    Attributes:
        module, attribute: where the application is; without attribute it is looked for as ``flask run`` does.
        others: modules with further functions.
        path: the parent's ``sys.path``.
    """

    module: str
    attribute: str | None
    others: list[str]
    path: list[str]


def _orders(app: Flask) -> _Orders:
    homes = [(module, attribute) for module, attribute, each in _loaded_apps() if each is app]
    homes = [home for home in homes if home[0] in (app.import_name, importable(app.import_name))] + homes
    homes = [home for home in homes if home[0] != "__main__" or app.import_name == "__main__"]
    module, attribute = homes[0] if homes else (app.import_name, None)
    others = {task.fn.__module__ for task in _quaff.tasks.values()} - {module, "__main__"}
    return _Orders(importable(module), attribute, sorted(others), [os.path.abspath(entry) for entry in sys.path])


def daemon_quaff() -> flask.Quaff:
    """What the daemon's processes serve; their loader calls it."""
    orders = msgspec.json.decode(os.environ[_ORDERS], type=_Orders)
    sys.path[:] = orders.path
    _loading.set()
    try:
        app = _app_in(import_module(orders.module), orders.attribute)
        for name in orders.others:
            import_module(name)
    finally:
        _loading.clear()
    _quaff.serve(_quaff.meet(app))
    return _quaff


def _app_in(module: ModuleType, attribute: str | None) -> Flask:
    if attribute is not None:
        return cast("Flask", getattr(module, attribute))
    for name in ("create_app", "make_app"):
        factory = getattr(module, name, None)
        if callable(factory) and isinstance(app := factory(), Flask):
            return app
    raise ConfigurationError(
        f"{module.__name__} has no application that a worker process could find: give it a module-level `app`, or a "
        "function create_app() without parameters."
    )
