"""``flask --app shop init``: the tables, three accounts and some products to look at."""

from __future__ import annotations

import colorsys
import io

import click
from flask.cli import with_appcontext
from PIL import Image, ImageDraw
from sqlalchemy import select
from werkzeug.datastructures import FileStorage
from werkzeug.security import generate_password_hash

from . import pictures
from .database import Account, Product, db
from .jobs import offer

WARES = {
    "ann": ["Teapot", "Vase", "Bowl", "Jug", "Plate", "Cup", "Lamp", "Tile", "Candlestick", "Sugar bowl"],
    "bob": ["Chair", "Stool"],
}


@click.command("init")
@click.option("--password", default="demo", show_default=True, help="Of all three accounts.")
@with_appcontext
def init(password: str) -> None:
    """Make the tables; if they are empty also accounts and products."""
    db.create_all()
    if db.session.scalar(select(Account.id).limit(1)):
        return
    for name in ("staff", *WARES):
        hashed = generate_password_hash(password)
        db.session.add(Account(name=name, email=f"{name}@example.com", password=hashed, staff=name == "staff"))
    db.session.commit()
    for number, (name, wares) in enumerate(WARES.items()):
        seller = db.session.scalars(select(Account).where(Account.name == name)).one()
        products = [
            Product(seller_id=seller.id, name=ware, cents=1990 + 500 * each, picture=pictures.keep(drawn(number, each)))
            for each, ware in enumerate(wares)
        ]
        offer(seller, products)
    click.echo(f"Log in as staff, ann or bob, with the password {password!r}.")


def drawn(shape: int, number: int) -> FileStorage:
    """A picture of something."""
    red, green, blue = (int(255 * part) for part in colorsys.hls_to_rgb(number / 10, 0.6, 0.5))
    image = Image.new("RGB", (800, 600), (244, 240, 232))
    draw = ImageDraw.Draw(image)
    (draw.ellipse, draw.rectangle)[shape]((250, 125, 550, 475), fill=(red, green, blue))
    file = io.BytesIO()
    image.save(file, "JPEG")
    file.seek(0)
    return FileStorage(file)
