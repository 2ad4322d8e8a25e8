"""Whose queues a command is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from quaff.app import Quaff
    from quaff.inspector import Inspector
    from quaff.queues import Queue
    from quaff.store.keys import Partition

_LONGEST_USER = 200
F = TypeVar("F", bound=Callable[..., Any])


def application(command: F) -> F:
    """The options ``app`` and ``queues`` of a command that can do without an application."""
    queues = click.option("-Q", "--queues", metavar="A,B", help="Only these queues. [all that are on the server]")
    app = click.option(
        "-A", "--app", metavar="MODULE:OBJECT", help="The application. [QUAFF_URL, pyproject.toml, as without one]"
    )
    return app(queues(command))


def homes_of(app: str | None, queues: str | None) -> tuple[Quaff, dict[Partition, set[bytes]], str]:
    """The application; the partitions that are meant, each with the keys that are there; and why these are not told.

    Raises:
        ConfigurationError: no such application; else as ``homes_in``.
    """
    quaff = load_app(app)
    return quaff, *homes_in(quaff, queues, told=app is not None)


def homes_in(quaff: Quaff, queues: str | None, *, told: bool) -> tuple[dict[Partition, set[bytes]], str]:
    """The partitions that are meant: those named, or those of the tasks and of the namespace on the server.

    Args:
        queues: as ``-Q`` has them.
        told: the application was named, so that its own queues will do where the server does not tell its.

    Raises:
        ConfigurationError: a name that no queue has.
        ServerUnavailable: no server answers.
        StoreError: nobody has named a queue, and the server does not tell which there are.
    """
    from quaff.errors import StoreError
    from quaff.model.ids import check_name
    from quaff.store.keys import partition
    from quaff.store.pages import partitions
    from quaff.store.probe import lines

    namespace = quaff.settings.namespace
    there: dict[Partition, set[bytes]] = {}
    untold = ""
    try:
        there = partitions(lines(quaff.store.endpoint).values(), namespace)
    except StoreError as error:
        if not told and queues is None:
            raise StoreError(f"{error.args[0]}. Name them with -Q, or ask as an administrator.") from None
        untold = str(error.args[0])
    if queues is None:
        names = quaff.queue_names()
    else:
        names = [check_name("queue", each.strip()) for each in queues.split(",")]
        _check_there(names, {*quaff.queue_names(), *(home.queue for home in there)}, untold, namespace)
        there = {home: keys for home, keys in there.items() if home.queue in names}
    for name in names:
        if name not in {home.queue for home in there}:
            there[partition(namespace, name)] = set()
    return {home: there[home] for home in sorted(there, key=lambda home: (home.queue, home.number))}, untold


def nothing_of(quaff: Quaff, homes: Mapping[Partition, set[bytes]], queues: str | None, untold: str) -> str:
    """What to say if nothing is stored of what is meant, as where a name was mistyped; else nothing.

    Args:
        quaff, homes, untold: as ``homes_of`` gives them.
        queues: as ``-Q`` has them.
    """
    if untold or any(homes.values()):
        return ""
    what = f"of {queues} " if queues else ""
    return f"nothing {what}is stored under the namespace {quaff.settings.namespace!r}"


def _check_there(names: Sequence[str], there: set[str], untold: str, namespace: str) -> None:
    """A queue that nobody has ever used is a slip of the pen."""
    from quaff.errors import ConfigurationError, did_you_mean

    for name in names:
        if name not in there and not untold:
            hint = did_you_mean(name, there) or " -A names an application with its queues."
            raise ConfigurationError(
                f"there is no queue {name!r}: the server has nothing of it in namespace {namespace!r}, and no task "
                f"of the application is in it.{hint}"
            )


def queue_of(app: str | None, name: str) -> Queue:
    """A queue that the application's tasks name, or of which the server has something.

    Raises:
        ConfigurationError: it is neither; no such application.
        ServerUnavailable: no server answers.
    """
    quaff = load_app(app)
    found = quaff.queue(name)
    if app is None or name not in quaff.queue_names():
        homes_in(quaff, name, told=app is not None)
    return found


def load_app(app: str | None) -> Quaff:
    """The application that is named, or one that knows no more than its settings.

    Raises:
        ConfigurationError: there is no such application.
    """
    from quaff.app import Quaff

    if app is None:
        return Quaff()
    from quaff.worker.loading import load

    return load(app)


def inspector_of(app: str | None, queues: str | None, words: Sequence[str] = ()) -> tuple[Quaff, Inspector]:
    """The application, and what looks into its queues: those named, or all that are known; errors as ``homes_of``.

    Args:
        words: of a filter. Where all are ids of jobs, these say which queues are meant, and nobody has to be asked.
    """
    from quaff.inspector import Inspector
    from quaff.model.ids import parse

    quaff = load_app(app)
    ids = [parse(word) for word in words] if queues is None else []
    if ids and all(ids):
        return quaff, Inspector(quaff, sorted({id.queue for id in ids if id}))
    return quaff, inspector_in(quaff, queues, told=app is not None)


def inspector_in(quaff: Quaff, queues: str | None, *, told: bool) -> Inspector:
    """What looks into the queues of an application; arguments and errors as of ``homes_in``."""
    return inspector_over(quaff, homes_in(quaff, queues, told=told)[0])


def inspector_over(quaff: Quaff, homes: Iterable[Partition]) -> Inspector:
    """What looks into the queues of these partitions."""
    from quaff.inspector import Inspector

    return Inspector(quaff, list(dict.fromkeys(home.queue for home in homes)))


def user_name(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """A callback for the name of a user of the server: as one word, which goes into a command that is to be pasted."""
    if name and not (len(name) <= _LONGEST_USER and name.isprintable() and " " not in name):
        raise click.BadParameter(f"{name[:40]!r} is no user's name: one word of {_LONGEST_USER} characters at most.")
    return name


def as_json(command: F) -> F:
    """The option that has a command print JSON."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)
