"""``quaff import``: what waits in the queues of another library becomes jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from quaff.cli.application import as_json, load_app
from quaff.cli.jobs import confirm
from quaff.cli.printing import plain, put_json, put_table
from quaff.errors import ConfigurationError

if TYPE_CHECKING:
    from quaff.importing.moving import Move, Report, Row

#: As in ``quaff.importing.peers``, which would load all of it for a page of help.
_PEERS = ("celery", "rq", "dramatiq", "huey")


@click.command("import", short_help="Move what waits in Celery, RQ, Dramatiq or Huey.")
@click.argument("library", type=click.Choice(_PEERS))
@click.argument("redis_url")
@click.option("-A", "--app", required=True, metavar="MODULE:OBJECT", help="The application; a factory is called.")
@click.option("-m", "--map", "names", multiple=True, metavar="THEIRS=OURS", help="A task that has another name here.")
@click.option("-Q", "--queues", metavar="A,B", help="Only these queues of theirs. [all]")
@click.option("--prefix", default="", help="Celery's global_keyprefix, or the namespace of Dramatiq's broker.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@as_json
def import_(
    library: str,
    redis_url: str,
    app: str,
    names: tuple[str, ...],
    queues: str | None,
    prefix: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Move what waits in the queues of another library: quaff import celery redis://localhost -A app

    Stop its workers first. All is counted, then moved a hundred at a time: each message is stored as a job, then
    removed from its queue, so that this can be broken off and repeated. What cannot be moved is listed and stays. Exit
    code 1 if something stays.
    """
    from quaff.importing.moving import Move
    from quaff.importing.peers import peer
    from quaff.importing.theirs import Theirs

    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: add --yes or --dry-run.")
    wanted = None if queues is None else [each.strip() for each in queues.split(",")]
    move = Move(load_app(app), Theirs(redis_url), library, peer(library, prefix), _renamed(names), wanted)
    found, aside = move.count(), move.aside()
    if not as_json:
        _show(found, aside)
    done = None
    if found.ready and not dry_run:
        if not yes:
            confirm("move them?")
        done = _run(move, found.ready)
    if as_json:
        put_json(_document(done or found, found, aside))
    elif done:
        click.echo(f"{done.moved:,} moved{f', {done.left:,} stay' if done.left else ''}")
        if done.taken:
            click.echo(
                f"{done.taken:,} of them were taken by a worker of {library} meanwhile: these run twice", err=True
            )
    sys.exit(1 if (done or found).left else 0)


def _renamed(names: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in names]
    for theirs, equals, ours in pairs:
        if not (theirs and equals and ours):
            raise ConfigurationError(f"--map {theirs}{equals}{ours}: say --map THEIRS=OURS.")
    return {theirs: ours for theirs, _, ours in pairs}


def _show(found: Report, aside: dict[str, int]) -> None:
    rows = [
        (row.queue, row.name, count, f"{row.task} in {row.to}" if row.task else "stays", row.why)
        for row, count in sorted(found.rows.items(), key=lambda each: _order(each[0]))
    ]
    put_table(("QUEUE", "NAME", ">WAIT", "TO", "WHY"), rows, "nothing waits there")
    for what, count in aside.items():
        click.echo(f"besides, {count:,} {plain(what)}")
    if rows:
        click.echo(f"{found.ready:,} can be moved, {found.left:,} stay")


def _order(row: Row) -> tuple[Any, ...]:
    return bool(row.why), row.queue, row.name, row.to or "", row.why


def _run(move: Move, total: int) -> Report:
    from quaff.importing.moving import Report

    report = Report()
    for report in move.run():
        if sys.stderr.isatty():
            click.echo(f"\r{report.moved:,} of {total:,}", nl=False, err=True)
    if sys.stderr.isatty():
        click.echo(err=True)
    return report


def _document(done: Report, found: Report, aside: dict[str, int]) -> dict[str, Any]:
    import msgspec

    rows = sorted(done.rows.items(), key=lambda each: _order(each[0]))
    return {
        "waiting": found.ready + found.left,
        "ready": found.ready,
        "left": done.left,
        "moved": done.moved,
        "taken": done.taken,
        "rows": [{**msgspec.to_builtins(row), "count": count} for row, count in rows],
        "aside": aside,
    }
