"""``manage.py quaff …``: the same commands for a Django project."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Literal

import click
from django.core.management.base import BaseCommand, CommandParser

from quaff.cli import program

_APPLICATION = "quaff.django:application"


class Command(BaseCommand):
    """All of ``quaff``, for this project."""

    help = (
        "Run and look after the jobs of this project: manage.py quaff worker -p 4. manage.py quaff -- --help has all."
    )
    requires_system_checks: list[str] | tuple[str, ...] | Literal["__all__"] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND ...")

    def handle(self, *args: Any, **options: Any) -> None:
        here = Path(sys.argv[0]).resolve().parent
        # For the processes that a worker starts; this one has it from its own start.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(here), os.environ.get("PYTHONPATH"))))
        web = f"{sys.executable} {sys.argv[0]} runserver --noreload"
        words = [word for word in options["arguments"] if word != "--"] or ["--help"]
        group = program()
        group.main(words, prog_name="manage.py quaff", default_map=_defaults(group, {"app": _APPLICATION, "web": web}))


def _defaults(group: click.Group, values: dict[str, str]) -> dict[str, Any]:
    """For each command, and those below it, what its options are if nobody says otherwise."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found[name] = _defaults(command, values)
        else:
            options = {option.name for option in command.params}
            found[name] = {option: value for option, value in values.items() if option in options}
    return found
