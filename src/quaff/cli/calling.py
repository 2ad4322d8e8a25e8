"""``quaff call``: one call of a task."""

from __future__ import annotations

import sys
from typing import Any

import click

from quaff.cli.application import load_app
from quaff.cli.printing import plain, put_json
from quaff.errors import ConfigurationError, JobError


def _arguments(given: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """``'[1, 2]'`` and ``name=value``; a value is JSON, or else a text. Raises ConfigurationError."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for place, text in enumerate(given):
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(value)
        elif place == 0 and isinstance(listed := _value(text), list):
            args = listed
        else:
            raise ConfigurationError(f"{text!r}: give the arguments as a JSON list, then name=value.")
    return args, kwargs


def _value(text: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


@click.command(short_help="Send one job.")
@click.argument("task")
@click.argument("arguments", nargs=-1)
@click.option("-A", "--app", required=True, metavar="MODULE:OBJECT", help="The application; a factory is called.")
@click.option("--queue", help="Another queue than its own.")
@click.option("--delay", type=click.FloatRange(min=0), help="Seconds until it may start.")
@click.option("--wait", is_flag=True, help="Wait for its end, and print its result as JSON.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def call(
    task: str,
    arguments: tuple[str, ...],
    app: str,
    queue: str | None,
    delay: float | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Send a job: quaff call -A app mail.send '[7]' subject=hello

    ARGUMENTS are a JSON list, then name=value, where a value is JSON or else a text. Exit code 1 if it fails.
    """
    quaff = load_app(app)
    args, kwargs = _arguments(arguments)
    options: dict[str, Any] = {name: value for name, value in (("queue", queue), ("delay", delay)) if value is not None}
    found = quaff.find_task(task)
    try:
        job = found.options(**options).delay(*args, **kwargs)
    except TypeError as error:
        # The text names the task; a code of its own would stand beside this one.
        raise ConfigurationError(str(error.args[0])) from None
    if not wait:
        put_json({"id": job.id, "state": "queued"}) if as_json else click.echo(job.id)
        return
    if not as_json:
        click.echo(job.id, err=True)
    try:
        value = job.result(timeout)
    except JobError as error:
        if as_json:
            put_json({"id": job.id, "state": job.state, "error": str(error)})
        else:
            click.echo(f"Error: {plain(error)}", err=True)
        sys.exit(1)
    put_json({"id": job.id, "state": "succeeded", "value": value} if as_json else value)
