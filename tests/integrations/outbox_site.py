"""The shop of examples/sqlalchemy behind gunicorn, whose workers die by SIGKILL where a request says so.

It is gunicorn's configuration too: the relay runs in each of its workers.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "examples" / "sqlalchemy"))

import shop
from flask import Flask, request
from sqlalchemy import event

from quaff.sqlalchemy import Relay


def note(*lines: str) -> None:
    """Write them down, for the test and the other processes."""
    with open(os.environ["KILLS"], "a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def die(*where: str) -> None:
    """The end of this process, written down."""
    note(*where)
    os.kill(os.getpid(), signal.SIGKILL)


class MortalRelay(Relay):
    """Dies when the server has a job that was doomed and the database does not know of it yet, in whichever process."""

    def _deliver(self, rows: Sequence[Any]) -> None:
        super()._deliver(rows)
        written = Path(os.environ["KILLS"]).read_text().splitlines()
        sent = {row.job for row in rows}
        doomed = [words[1:] for line in written if (words := line.split())[0] == "doomed"]
        if ends := [end for number, job in doomed if job in sent and (end := f"publish {number}") not in written]:
            die(*ends)


def place(number: int) -> Any:
    """One order, and what the test wants to come of it."""
    fate = request.args["fate"]
    if fate == "fine":
        return shop.place_order(number)
    session = shop.db.session
    session.add(shop.Order(number=number))
    with shop.outbox(session):
        job = shop.ship.delay(number)
    session.flush()
    if fate == "rollback":
        session.rollback()
        return "rolled back", 409
    if fate == "flush":
        die(f"flush {number}")
    if fate == "commit":
        event.listen(session(), "after_commit", lambda _: die(f"commit {number}"))
    if fate == "publish":
        note(f"doomed {number} {job.id}")
    session.commit()
    return "committed", 202


def create_app() -> Flask:
    """The shop with that view."""
    app = shop.create_app()
    app.view_functions["place_order"] = place
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {}
    return app


served: Flask | None = None


def web() -> Flask:
    """For gunicorn, before it forks; no connection is open then."""
    global served  # noqa: PLW0603
    served = create_app()
    return served


def post_fork(server: Any, worker: Any) -> None:
    """A gunicorn hook: a thread does not outlive a fork."""
    import tests.integrations.outbox_site as site

    assert site.served is not None
    with site.served.app_context():
        MortalRelay(shop.outbox, shop.db.engine, every=0.2).start()
