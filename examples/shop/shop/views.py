"""The pages."""

from __future__ import annotations

from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, send_from_directory, session, url_for
from sqlalchemy import select
from werkzeug.security import check_password_hash
from werkzeug.wrappers import Response

from quaff import JobNotFound

from . import mails, pictures
from .database import Account, Order, Product, Upload, db
from .jobs import confirm, offer, outbox, quaff, send_committed

shop = Blueprint("shop", __name__)


@shop.get("/")
def index() -> str:
    """All products."""
    products = db.session.scalars(select(Product).where(Product.state == "ready").order_by(Product.id.desc()).limit(60))
    return render_template("index.html", products=products)


@shop.post("/orders")
def order() -> Response:
    """Place an order. It and its confirmation are rows of one transaction: both are there, or neither is."""
    product = db.get_or_404(Product, request.form.get("product", type=int))
    placed = Order(product=product, email=request.form["email"])
    db.session.add(placed)
    db.session.flush()  # gives it its number
    with outbox(db.session):
        confirm.delay(placed.id)
    db.session.commit()
    send_committed()
    flash(f"Thank you. A confirmation is on its way to {placed.email}.")
    return redirect(url_for("shop.index"), 303)


@shop.get("/uploads")
def uploads() -> str:
    """A seller's products, and the form for more."""
    seller = account()
    products = db.session.scalars(
        select(Product).where(Product.seller_id == seller.id).order_by(Product.id.desc()).limit(60)
    )
    return render_template("uploads.html", products=products)


@shop.post("/uploads")
def upload() -> Response:
    """Take pictures in."""
    seller = account()
    files = [file for file in request.files.getlist("pictures") if file.filename]
    if not files:
        abort(400, "no pictures")
    products = [
        Product(
            seller_id=seller.id,
            name=Path(file.filename or "").stem,
            cents=round(request.form.get("price", 0.0, float) * 100),
            picture=pictures.keep(file),
        )
        for file in files
    ]
    kept = offer(seller, products)
    return redirect(url_for("shop.progress", number=kept.id), 303)


@shop.get("/uploads/<int:number>")
def progress(number: int) -> str:
    """One upload, with a bar while it is worked on. The bar's URL is good for this seller alone."""
    seller = account()
    kept = db.get_or_404(Upload, number)
    if kept.seller_id != seller.id:
        abort(404)
    ticket: Any = None
    if any(product.state == "new" for product in kept.products):
        try:
            ticket = quaff.ticket(quaff.job(kept.job), user=seller.id)
        except JobNotFound:
            flash("These pictures have been given up. Please hand them in again.")
    return render_template("progress.html", upload=kept, ticket=ticket)


@shop.get("/pictures/<name>.jpg")
def picture(name: str) -> Response:
    """A small picture."""
    return send_from_directory(pictures.folder("small"), f"{name}.jpg")


@shop.get("/mails")
def sent() -> str:
    """For staff: what was sent."""
    if not account().staff:
        abort(403)
    paths = sorted(mails.folder().glob("*.eml"), key=lambda path: path.stat().st_mtime, reverse=True)
    found = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths[:50]]
    return render_template("mails.html", mails=found)


@shop.route("/login", methods=["GET", "POST"])
def login() -> str | Response:
    """Log in."""
    if request.method == "POST":
        found = db.session.scalar(select(Account).where(Account.name == request.form["name"]))
        if found is not None and check_password_hash(found.password, request.form["password"]):
            session.clear()
            session.update(account=found.id, name=found.name, staff=found.staff)
            return redirect(url_for("quaff_dashboard.overview" if found.staff else "shop.uploads"), 303)
        flash("That is not the name and password of an account.")
    return render_template("login.html")


@shop.post("/logout")
def logout() -> Response:
    """Log out."""
    session.clear()
    return redirect(url_for("shop.index"), 303)


def account() -> Account:
    """Who is logged in; others are sent to do that."""
    found = db.session.get(Account, session.get("account", 0))
    if found is None:
        abort(redirect(url_for("shop.login")))
    return found
