"""A shop of several sellers, with everything slow done by jobs. See README.md."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from flask import Flask, Response, session

from . import views
from .database import db
from .jobs import quaff
from .samples import init


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """The application; ``config`` is laid over its configuration, as tests do."""
    app = Flask(__name__)
    app.config.update(
        DATA=app.instance_path,  # database, pictures and mails
        MAX_CONTENT_LENGTH=100_000_000,
        SESSION_COOKIE_SAMESITE="Lax",  # no other site's form is sent with somebody's login
    )
    app.config.update(config or {})
    data = Path(app.config["DATA"])
    data.mkdir(parents=True, exist_ok=True)
    app.config.setdefault("SQLALCHEMY_DATABASE_URI", os.environ.get("DATABASE_URL", f"sqlite:///{data / 'shop.db'}"))
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or os.environ.get("SECRET_KEY") or kept_secret(data)

    db.init_app(app)
    quaff.init_app(app)
    app.register_blueprint(views.shop)
    app.register_blueprint(quaff.dashboard(auth=lambda request: "admin" if session.get("staff") else None))
    app.cli.add_command(init)
    app.after_request(with_policy)
    return app


def kept_secret(data: Path) -> str:
    """One for this machine, made at the first start: web application and workers need the same."""
    path = data / "secret"
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text()


def with_policy(response: Response) -> Response:
    """Scripts, styles and pictures are the shop's own; the dashboard has a stricter policy."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
    return response
