"""A Flask application from a factory that counts what each attempt finds and leaves."""

from __future__ import annotations

import os
import time
from typing import Any

from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from quaff.flask import Quaff

db = SQLAlchemy()
quaff = Quaff()


def note(what: str) -> None:
    """A line that is whole, whoever else writes."""
    file = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what}\n".encode())
    os.close(file)


@quaff.task(timeout=2)
def work(number: int, fate: str) -> int:
    """It begins with an empty ``g`` and a session of its own, and leaves both in disorder."""
    note("attempt" if not hasattr(g, "owner") else "shared")
    g.owner = number
    db.session.execute(text("SELECT 1"))
    assert g.owner == number
    if fate == "raise":
        raise ValueError(fate)
    if fate == "hang":
        while True:
            time.sleep(0.01)
    return number


@quaff.task
def checked_out(_: int) -> int:
    """Connections that are in use in this process, once those of the other attempts are given back."""
    pool: Any = db.engine.pool
    count: int = pool.checkedout()
    return count


def create_app() -> Flask:
    """For the worker."""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "a key for tests, and long enough"
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"poolclass": QueuePool, "pool_size": 8, "max_overflow": 0}
    db.init_app(app)
    quaff.init_app(app)

    @app.teardown_appcontext
    def count(error: BaseException | None) -> None:
        if hasattr(g, "owner"):
            note("teardown")

    return app
