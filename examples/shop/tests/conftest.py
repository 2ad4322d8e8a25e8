"""An application of its own for each test, with its data in a folder that goes afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from shop import create_app
from shop.database import Account, db
from werkzeug.security import generate_password_hash


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """The shop, with two sellers and somebody of the staff; ``quaff_jobs`` finds it by this name."""
    app = create_app({"DATA": str(tmp_path), "SECRET_KEY": "of the tests", "TESTING": True})
    with app.app_context():
        db.create_all()
        for name in ("staff", "ann", "bob"):
            password = generate_password_hash("demo", "pbkdf2:sha256:1")
            db.session.add(Account(name=name, email=f"{name}@example.com", password=password, staff=name == "staff"))
        db.session.commit()
    return app
