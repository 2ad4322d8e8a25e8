"""The tables."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """What all tables have in common."""


db = SQLAlchemy(model_class=Base)


class Account(Base):
    """Somebody who can log in: a seller, or staff, who may see the dashboard."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    password: Mapped[str]  # its hash
    staff: Mapped[bool] = mapped_column(default=False)


class Upload(Base):
    """Pictures that were handed in together, and the job that makes them smaller."""

    __tablename__ = "uploads"
    id: Mapped[int] = mapped_column(primary_key=True)
    seller_id: Mapped[int] = mapped_column(ForeignKey(Account.id))
    job: Mapped[str]
    products: Mapped[list[Product]] = relationship(back_populates="upload", order_by="Product.id")


class Product(Base):
    """Something to buy."""

    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    seller_id: Mapped[int] = mapped_column(ForeignKey(Account.id))
    upload_id: Mapped[int] = mapped_column(ForeignKey(Upload.id))
    name: Mapped[str]
    cents: Mapped[int]
    picture: Mapped[str]  # the name of its file
    state: Mapped[str] = mapped_column(default="new")  # then "ready", or "broken": that is no picture
    seller: Mapped[Account] = relationship()
    upload: Mapped[Upload] = relationship(back_populates="products")


class Order(Base):
    """One product for one customer."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id))
    email: Mapped[str]
    placed: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    product: Mapped[Product] = relationship()
