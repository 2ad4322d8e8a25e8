"""A shop whose orders and the jobs that ship them commit together, or not at all.

flask --app shop init               # the tables
flask --app shop relay              # sends what transactions have left in the outbox
flask --app shop quaff dev          # web application, worker and server
curl -X POST http://127.0.0.1:5000/orders/7
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, jsonify
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from quaff.flask import Quaff
from quaff.sqlalchemy import Outbox, Relay


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
quaff = Quaff()
outbox = Outbox(quaff, db.metadata)


class Order(Base):
    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)


class Shipment(Base):
    __tablename__ = "shipments"
    id: Mapped[int] = mapped_column(primary_key=True)
    order: Mapped[int] = mapped_column(ForeignKey("orders.number"))


@quaff.task(retries=5)
def ship(number: int) -> int:
    """Its order is there: it was committed before this was sent."""
    shipment = Shipment(order=number)
    db.session.add(shipment)
    db.session.commit()
    return shipment.id


def place_order(number: int) -> Any:
    """The order and its job are rows of one transaction."""
    db.session.add(Order(number=number))
    with outbox(db.session):
        job = ship.delay(number)
    db.session.commit()
    return jsonify(quaff.ticket(job)), 202


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY", "change me")
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE_URL", "sqlite:///shop.db")
    db.init_app(app)
    quaff.init_app(app)
    app.add_url_rule("/orders/<int:number>", view_func=place_order, methods=["POST"])
    app.cli.command("init")(db.create_all)

    @app.cli.command("relay")
    def relay() -> None:
        Relay(outbox, db.engine, every=0.2).run()

    return app
