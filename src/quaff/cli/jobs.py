"""``quaff jobs``: find jobs, look at one, and do something to all that match."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from quaff.cli.application import application, as_json, inspector_of, load_app
from quaff.cli.printing import ago, counted, plain, put_json, put_table, took

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quaff.inspector import Inspector, Step
    from quaff.inspector.bulk import Action
    from quaff.inspector.shapes import JobDetail, JobPage, JobRow
    from quaff.model.progress import Progress

#: Of a list of jobs.
COLUMNS = ("ID", "STATE", "TASK", "WHEN", ">TRY", ">RAN", "WHAT")
_DONE = {"retry": "sent back", "cancel": "cancelled, or asked to stop", "discard": "deleted"}
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
_HELP = "FILTER: words such as state:failed task:mail.* queue:x error:Timeout since:2h id:…, or ids of jobs."


def _text(words: tuple[str, ...]) -> str:
    """A filter out of the words of a command line, which the shell has taken out of their quotes."""
    from quaff.model.ids import parse

    return " ".join(f"id:{word}" if parse(word) else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    if '"' in word or " " not in word:
        return word
    name, colon, value = word.partition(":")
    return f'{name}:"{value}"' if colon else f'"{word}"'


@click.group(short_help="Find jobs; retry, cancel or delete them.")
def jobs() -> None:
    """Find jobs, and do something to all that match a filter."""


@jobs.command("ls", short_help="List jobs.", epilog=_HELP)
@click.argument("filter", nargs=-1)
@application
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="Jobs in one page.")
@click.option("--cursor", help="What the page before has given.")
@as_json
def ls(
    filter: tuple[str, ...], app: str | None, queues: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List the jobs that match, a page at a time, the newest of a page first."""
    _, inspector = inspector_of(app, queues, filter)
    page = _by_time(inspector.jobs(_text(filter), limit=limit, cursor=cursor))
    if as_json:
        put_json(page)
        return
    put_table(COLUMNS, [_row(row) for row in page.jobs], "no such jobs" + (" so far" if page.cursor else ""))
    if page.cursor:
        click.echo(f"more: --cursor {page.cursor}", err=True)


def _by_time(page: JobPage) -> JobPage:
    """Its jobs in the order of their times, whatever their states and queues, which a page has one after the other."""
    import msgspec

    return msgspec.structs.replace(page, jobs=sorted(page.jobs, key=lambda row: row.at or _BEFORE_ALL, reverse=True))


def _row(row: JobRow) -> tuple[object, ...]:
    state = "parked" if row.parked else row.state
    error = f"{row.error or row.reason}: {row.message or ''}" if row.error or row.reason else row.arguments
    return row.id, state, row.task or "?", ago(row.at), row.attempt, took(row.seconds), error or ""


@jobs.command(short_help="All that is known of one job.")
@click.argument("id")
@application
@as_json
def show(id: str, app: str | None, queues: str | None, as_json: bool) -> None:
    """Show one job: its attempts, arguments, error and log."""
    _, inspector = inspector_of(app, queues, (id,))
    detail = inspector.job(id)
    if as_json:
        put_json(_document(detail))
        return
    info = detail.info
    for name, value in (
        ("id", info.id),
        ("state", "parked" if info.parked else info.state),
        ("queue", info.queue),
        ("task", info.task),
        ("arguments", detail.arguments),
        ("created", _time(info.created_at)),
        ("due", _time(info.scheduled_for)),
        ("ended", _time(info.ended_at)),
        ("waits for", info.waiting_for),
        ("flow", info.flow),
        ("progress", _progress(info.progress) if info.progress else None),
    ):
        if value is not None:
            click.echo(f"{name:10} {plain(value)}")
    click.echo()
    rows = [
        (each.number, each.outcome, _time(each.started_at), _ran(each), each.worker, each.pid or "", _why(each.error))
        for each in info.attempts
    ]
    put_table((">TRY", "OUTCOME", "STARTED", ">RAN", "WORKER", ">PID", "ERROR"), rows, "no attempts")
    if info.error and info.error.traceback:
        click.echo()
        for line in info.error.traceback.splitlines():
            click.echo(plain(line))
    for said in info.logs:
        click.echo(f"{_time(said.at)} {plain(said.level)} {plain(said.text)}")


def _document(detail: JobDetail) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(detail.info), "arguments": detail.arguments}


def _time(at: Any) -> str | None:
    return at.isoformat(timespec="milliseconds") if at else None


def _progress(said: Progress) -> str:
    return f"{said.done}{'' if said.total is None else f'/{said.total}'} {said.note}".rstrip()


def _ran(attempt: Any) -> str:
    began, ended = attempt.started_at, attempt.ended_at
    if not (began and ended):
        return "-"
    seconds = (ended - began).total_seconds()
    return took(seconds) if seconds else "< 1 ms"  # both are known to the millisecond


def _why(error: Any) -> str:
    return f"{error.type or error.reason}: {error.message}" if error else ""


@jobs.command(short_help="What happens to one job, as it happens.")
@click.argument("id")
@application
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds for all of it.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one document a line.")
def watch(id: str, app: str | None, queues: str | None, timeout: float | None, as_json: bool) -> None:
    """Follow one job to its end. Exit code 1 if it has not succeeded."""
    job = load_app(app).job(id)
    state = None
    for event in job.watch(timeout):
        if as_json:
            put_json(event)
            continue
        if event.kind == "log" and event.log:
            text = f"{event.log.level} {event.log.text}"
        elif event.kind == "progress" and event.progress:
            text = _progress(event.progress)
        elif event.state == state:
            continue
        else:
            text = str(event.state)
        state = event.state
        click.echo(f"{_time(event.at)} {plain(text)}")
    sys.exit(0 if job.state == "succeeded" else 1)


@jobs.command("stack", short_help="Where a running job is in its code.")
@click.argument("id")
@application
@click.option(
    "--timeout", default=10.0, show_default=True, type=click.FloatRange(min=0), help="Seconds to wait for it."
)
@as_json
def stack(id: str, app: str | None, queues: str | None, timeout: float, as_json: bool) -> None:
    """Ask the worker that runs a job for all stacks of its process: places and lines of code, no values.

    Exit code 1 if the job does not run, or its worker has not answered.
    """
    _, inspector = inspector_of(app, queues)
    if not inspector.ask_stack(id):
        click.echo(f"{plain(id)} does not run: quaff jobs show says how it stands", err=True)
        sys.exit(1)
    found = inspector.stack(id, timeout=timeout)
    if found is None:
        click.echo("its worker has not answered: the job has ended meanwhile, or the worker is cut off", err=True)
        sys.exit(1)
    if as_json:
        put_json(found)
        return
    click.echo(f"{_time(found.at)} worker {plain(found.worker)}, process {found.pid}\n")
    for line in found.text.splitlines():
        click.echo(plain(line))


def _acting(name: str, action: Action, words: str) -> None:
    @jobs.command(name, short_help=words, epilog=_HELP)
    @click.argument("filter", nargs=-1)
    @application
    @click.option("--all", "everything", is_flag=True, help="All of them, without a filter.")
    @click.option("-y", "--yes", is_flag=True, help="Do not ask.")
    @click.option("--json", "as_json", is_flag=True, help="For programs; needs --yes.")
    def command(
        filter: tuple[str, ...], app: str | None, queues: str | None, everything: bool, yes: bool, as_json: bool
    ) -> None:
        if not filter and not everything:
            raise click.UsageError("say which: a filter, ids of jobs, or --all.")
        if as_json and not yes:
            raise click.UsageError("--json asks nothing: add --yes.")
        _, inspector = inspector_of(app, queues, filter)
        _act(inspector, action, _text(filter), yes, as_json)

    command.help = f"{words} They are counted first, and it is done some at a time."


def _act(inspector: Inspector, action: Action, text: str, yes: bool, as_json: bool) -> None:
    found = inspector.matching(action, text)
    count = len(found.ids)
    more = f" (the first {count:,} of more)" if found.more else ""
    if not as_json:
        click.echo(f"{counted(count, 'job')} match{'es' if count == 1 else ''}{more}")
    if count and not yes:
        confirm(f"{action} them?")
    done = go_through(inspector.act(action, found.ids, reason="by quaff jobs cancel" if action == "cancel" else ""))
    if as_json:
        put_json({"matched": count, "done": done, "more": found.more})
    elif count:
        click.echo(f"{done:,} {_DONE[action]}")


def go_through(steps: Iterator[Step]) -> int:
    """Take them all, and tell whoever sits there how far it is; how many jobs were touched."""
    done = 0
    for step in steps:
        done = step.done
        if sys.stderr.isatty():
            click.echo(f"\r{step.seen:,} of {step.total:,}", nl=step.seen == step.total, err=True)
    return done


def confirm(question: str) -> None:
    """Ask; leave with 1 if the answer is no, and with 2 where nobody can be asked."""
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes.")
    click.confirm(question, abort=True)


_acting("retry", "retry", "Send failed jobs back to their queue.")
_acting("cancel", "cancel", "Call off jobs that wait; ask those that run to stop.")
_acting("rm", "discard", "Delete what is kept of failed jobs.")
