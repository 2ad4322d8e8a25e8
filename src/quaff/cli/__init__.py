"""The commands. One group, three doors: ``quaff``, ``python -m quaff`` and ``flask quaff``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from quaff.errors import BUG, BUG_TEXT, ConfigurationError, QuaffError, ServerUnavailable, UnknownTask


class Group(click.Group):
    """Shows our errors as one message with an exit code, never as a traceback."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _printable():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _printable():
                return super().invoke(ctx)
        except QuaffError as error:
            click.echo(f"Error: {printable(str(error))}", err=True)
            sys.exit(next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1))
        except (click.ClickException, click.exceptions.Exit, click.Abort, EOFError, OSError):
            raise
        except Exception:  # noqa: BLE001  whatever it is, it is ours, and nobody else's exit code
            traceback.print_exc()
            click.echo(f"Error: {BUG_TEXT}", err=True)
            sys.exit(BUG)


#: Exit codes besides 0, 1 (it ran, and the thing failed) and Click's own 2; ``quaff server`` has 4, it runs already,
#: ``quaff audit`` 5, not all was checked.
_CODES = {ConfigurationError: 2, UnknownTask: 2, ServerUnavailable: 3}
#: Lines of an error, and characters of one.
_LINES, _LONGEST = 100, 2000


def printable(text: str) -> str:
    """An error's text, which may have names in it that somebody else made: line by line as it may be shown."""
    from quaff.cli.printing import plain

    lines = [plain(line) for line in text.split("\n")[:_LINES]]
    return "\n".join(
        line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}" for line in lines
    )


@contextmanager
def _printable() -> Iterator[None]:
    """Click says again what was typed, or pasted."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = printable(error.message)
        raise


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quaff")
def quaff() -> None:
    """A job queue on Redis and Valkey."""


def program() -> click.Group:
    """The group with all its commands."""
    from quaff.cli.acl import acl
    from quaff.cli.audit import audit
    from quaff.cli.calling import call
    from quaff.cli.completion import completion
    from quaff.cli.cron import cron
    from quaff.cli.dashboard import dashboard
    from quaff.cli.dev import dev
    from quaff.cli.doctor import doctor
    from quaff.cli.importing import import_
    from quaff.cli.jobs import jobs
    from quaff.cli.looking import info, queues, tasks, top
    from quaff.cli.metrics import healthcheck, metrics
    from quaff.cli.server import server
    from quaff.cli.steering import drain, pause, purge, resume
    from quaff.cli.worker import worker

    running = (dev, worker, server, dashboard)
    looking = (info, queues, tasks, top, jobs, cron)
    watching = (doctor, audit, metrics, healthcheck)
    for command in (*running, *looking, call, pause, resume, purge, drain, *watching, acl, import_, completion):
        quaff.add_command(command)
    return quaff


#: The object of the outermost context where the program is ``quaff``, and not one that has these commands among others.
ALONE = "quaff"


def main() -> None:
    """The program ``quaff``."""
    program()(prog_name="quaff", obj=ALONE)
