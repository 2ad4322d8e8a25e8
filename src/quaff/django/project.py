"""The Quaff of a Django project: settings from settings.py, jobs after the commit, connections closed in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import django
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.apps import apps
from django.conf import settings
from django.db import close_old_connections, connections, reset_queries, transaction

from quaff import app as plain
from quaff import config
from quaff.backend import Backend
from quaff.detour import Detour
from quaff.errors import ConfigurationError

#: In settings.py, and nothing that the server need know.
_ON_COMMIT = "QUAFF_ON_COMMIT"


class Quaff(plain.Quaff):
    """A task queue for the Django project of this process; ``quaff.django.quaff`` is one, and one is enough.

    What is sent in a transaction (``transaction.atomic``, ATOMIC_REQUESTS) waits for its commit, and is dropped with a
    rollback; ``QUAFF_ON_COMMIT`` names the database that is meant, ``default`` by default, and False sends at once.

    Args:
        settings: as for ``quaff.Quaff``; ``QUAFF = {"URL": ...}`` and ``QUAFF_URL`` of settings.py go before them.
    """

    @property
    def backend(self) -> Backend:
        """The settings and store in force here. Raises ConfigurationError, also for a setting that is there twice."""
        if self._backend is None:
            found = {name: value for name, value in _project().items() if name != _ON_COMMIT}
            self._backend = Backend(config.resolve(self._flags, self._code, app_config=found))
        return self._backend

    def detour(self) -> Detour | None:
        """What is sent in a transaction waits for its commit."""
        there = super().detour()
        if there is not None:
            return there
        using = _project().get(_ON_COMMIT, "default")
        if using is False or not transaction.get_connection(using).in_atomic_block:
            return None
        return Detour(partial(transaction.on_commit, using=using))

    def attempt_scope(self) -> AbstractContextManager[Any]:
        """Around an attempt, as around a request: connections that are broken or too old are closed."""
        return _tidied()

    def async_attempt_scope(self) -> AbstractAsyncContextManager[Any]:
        """The same for a coroutine, whose synchronous calls get a thread of its own, as those of a view do."""
        return _apart()


def _project() -> Mapping[str, Any]:
    """The ``QUAFF_*`` of settings.py, and what a Quaff signs with."""
    found = {name: getattr(settings, name) for name in dir(settings) if name.startswith("QUAFF_")}
    for name, value in getattr(settings, "QUAFF", {}).items():
        if found.setdefault(f"QUAFF_{name}", value) is not value:
            raise ConfigurationError(f"settings.py has both QUAFF_{name} and QUAFF[{name!r}]: say it once.")
    keys = ("SECRET_KEY", "SECRET_KEY_FALLBACKS")
    return found | {name: getattr(settings, name) for name in keys if getattr(settings, name, None)}


@contextmanager
def _tidied() -> Generator[None]:
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


@asynccontextmanager
async def _apart() -> AsyncGenerator[None]:
    async with ThreadSensitiveContext():
        try:
            yield
        finally:
            # The thread ends here, and nobody could use what it leaves open.
            await sync_to_async(connections.close_all)()


#: The project's.
quaff: Quaff = Quaff()


def application() -> Quaff:
    """The project's Quaff with all its tasks, for a worker: ``quaff worker -A quaff.django:application``.

    Raises:
        ConfigurationError: settings.py does not have this app.
    """
    django.setup()
    if not apps.is_installed("quaff.django"):
        raise ConfigurationError('settings.py: put "quaff.django" in INSTALLED_APPS.')
    return quaff
