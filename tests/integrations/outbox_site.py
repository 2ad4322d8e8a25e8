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


def die(where: str) -> None:
    """The end of this process, written down."""
    with open(os.environ["KILLS"], "a") as file:
        file.write(f"{where}\n")
    os.kill(os.getpid(), signal.SIGKILL)


class Fate:
    """What becomes of this process."""

    at_publish = False


class MortalRelay(Relay):
    """Dies when the server has the jobs and the database does not know of it yet."""

    def _deliver(self, rows: Sequence[Any]) -> None:
        super()._deliver(rows)
        if Fate.at_publish:
            die("publish")


def place(number: int) -> Any:
    """One order, and what the test wants to come of it."""
    fate = request.args["fate"]
    if fate == "fine":
        return shop.place_order(number)
    session = shop.db.session
    session.add(shop.Order(number=number))
    with shop.outbox(session):
        shop.ship.delay(number)
    session.flush()
    if fate == "rollback":
        session.rollback()
        return "rolled back", 409
    if fate == "flush":
        die("flush")
    if fate == "commit":
        event.listen(session(), "after_commit", lambda _: die("commit"))
    Fate.at_publish = fate == "publish"
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
