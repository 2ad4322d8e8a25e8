"""The commands. One group, three doors: ``quaff``, ``python -m quaff`` and ``flask quaff``."""

from __future__ import annotations

import sys

import click

from quaff.errors import ConfigurationError, QuaffError, ServerUnavailable


class Group(click.Group):
    """Shows our errors as one message with an exit code, never as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except QuaffError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1))


_CODES = {ConfigurationError: 2, ServerUnavailable: 3}


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quaff")
def quaff() -> None:
    """A job queue on Redis and Valkey."""


def program() -> click.Group:
    """The group with all its commands."""
    from quaff.cli.acl import acl
    from quaff.cli.audit import audit
    from quaff.cli.dashboard import dashboard
    from quaff.cli.dev import dev
    from quaff.cli.doctor import doctor
    from quaff.cli.worker import worker

    for command in (dev, worker, dashboard, doctor, audit, acl):
        quaff.add_command(command)
    return quaff


def main() -> None:
    """The program ``quaff``."""
    program()(prog_name="quaff")
