"""``quaff audit``: does what the server holds add up?"""

from __future__ import annotations

import sys

import click

from quaff.cli.application import application, homes_of, nothing_of
from quaff.cli.printing import counted, plain, put_json

#: Nothing was found, and there is something that could not be looked at.
NOT_ALL = 5


@click.command(short_help="Look at the jobs: does what is stored add up?")
@application
@click.option("--repair", is_flag=True, help="Set right what is wrong.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def audit(app: str | None, queues: str | None, repair: bool, as_json: bool) -> None:
    """Check the invariants of each queue while workers run, and name what breaks one.

    Exit code 1 if something is wrong, also where it was repaired; 5 if nothing was found and not all could be checked.
    """
    from quaff.audit.auditor import Audit
    from quaff.audit.report import report
    from quaff.store.probe import Line

    quaff, homes, untold = homes_of(app, queues)
    store, rows = quaff.store, []
    unchecked = [f"keys that are no queue's, and partitions but the first: {untold}"] if untold else []
    for home, keys in homes.items():
        one = Audit(Line(store.endpoint, home=home), home, keys, quaff.settings.max_crashes)
        rows += report(store, one, one.run(), repair=repair)
        unchecked += [f"queue {home.queue}#{home.number}: {each}" for each in one.unchecked]
    if nothing := nothing_of(quaff, homes, queues, untold):
        click.echo(nothing, err=as_json)
    if as_json:
        put_json({"queues": len(homes), "findings": rows, "unchecked": unchecked})
    else:
        for row in rows:
            click.echo(f"I{row.invariant} {row.name}: {plain(row.subject)} (queue {row.queue}): {plain(row.text)}")
            click.echo(f"    {'repaired: ' if row.repaired else ''}{row.remedy}")
        for each in unchecked:
            click.echo(f"not checked: {plain(each)}")
        click.echo(
            f"{counted(len(homes), 'queue')}, {counted(len(rows), 'finding')}"
            + (", repaired where it can be" if rows and repair else "")
            + (", not all could be checked" if unchecked else "")
        )
    sys.exit(1 if rows else NOT_ALL if unchecked else 0)
