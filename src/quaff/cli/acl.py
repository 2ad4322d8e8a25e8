"""``quaff acl``."""

from __future__ import annotations

import click

from quaff.cli.application import user_name

#: As in ``quaff.store.rights``, which would load all of Redis's client for a page of help.
_ROLES = ("producer", "worker", "dashboard", "operator")


@click.command(short_help="Print what a user of the server has to be allowed.")
@click.argument("role", type=click.Choice(_ROLES))
@click.option("-n", "--namespace", default="quaff", show_default=True, help="The application's NAMESPACE.")
@click.option("-u", "--user", default="", metavar="NAME", callback=user_name, help="The user's name. [quaff-ROLE]")
def acl(role: str, namespace: str, user: str) -> None:
    """Print the command that makes a user of Redis or Valkey who may do what ROLE has to do, and nothing else.

    The password is yours to put in: it stands as >PASSWORD. A producer sends jobs, cancels them and asks for
    them; a worker runs them; a dashboard only looks; an operator also pauses, blocks, purges, sends back and audits.
    """
    from quaff.model.ids import check_name
    from quaff.store.rights import rules

    check_name("namespace", namespace)
    reset, on, *others = rules(role, namespace)
    click.echo(" ".join(["ACL SETUSER", user or f"quaff-{role}", reset, on, ">PASSWORD", *others]))
