"""Whose queues a command is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from quaff.app import Quaff
    from quaff.store.keys import Partition

F = TypeVar("F", bound=Callable[..., Any])


def application(command: F) -> F:
    """The options ``app`` and ``queues`` of a command that can do without an application."""
    queues = click.option("-Q", "--queues", metavar="A,B", help="Only these queues. [all that are on the server]")
    app = click.option(
        "-A", "--app", metavar="MODULE:OBJECT", help="The application. [QUAFF_URL, pyproject.toml, as without one]"
    )
    return app(queues(command))


def homes_of(app: str | None, queues: str | None) -> tuple[Quaff, dict[Partition, set[bytes]]]:
    """The application, and the partitions that are meant, each with the keys that are there.

    Those named, or those of the tasks and of the namespace on the server.

    Raises:
        ConfigurationError: no such application, or a name that no queue can have.
        ServerUnavailable: no server answers.
    """
    from quaff.app import Quaff
    from quaff.model.ids import check_name
    from quaff.store.keys import partition
    from quaff.store.pages import partitions
    from quaff.store.probe import Line

    if app is None:
        quaff = Quaff()
    else:
        from quaff.worker.loading import load

        quaff = load(app)
    namespace = quaff.settings.namespace
    there = partitions(Line(quaff.store.endpoint), namespace)
    if queues is None:
        names = quaff.queue_names()
    else:
        names = [check_name("queue", each.strip()) for each in queues.split(",")]
        there = {home: keys for home, keys in there.items() if home.queue in names}
    for name in names:
        if name not in {home.queue for home in there}:
            there[partition(namespace, name)] = set()
    return quaff, {home: there[home] for home in sorted(there, key=lambda home: (home.queue, home.number))}
