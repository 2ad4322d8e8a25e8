"""What is done by workers. Arguments are numbers of rows, never rows: a task reads what is there when it runs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from flask import session
from sqlalchemy import func, select

from quaff import EnqueueError, current_job, exponential
from quaff.flask import Quaff
from quaff.sqlalchemy import Outbox, Relay, enqueue_after_commit

from . import mails, pictures
from .database import Account, Order, Product, Upload, db

log = logging.getLogger(__name__)

quaff = Quaff(user=lambda: session.get("account"))
outbox = Outbox(quaff, db.metadata)


@quaff.task(queue="mail", retries=8, backoff=exponential(5, max=3600), timeout=30)
def confirm(order_id: int) -> None:
    """Tell the customer. The order is there: this was sent by the transaction that made it."""
    order = db.session.get_one(Order, order_id)
    mails.send(
        order.email,
        f"Your order {order.id}",
        f"{order.product.name} by {order.product.seller.name}, {order.product.cents / 100:.2f} €.\nThank you!\n",
    )


@quaff.task(queue="pictures", fair_by="{seller_id}", retries=2, timeout=600)
def make_thumbnails(seller_id: int, product_ids: list[int]) -> None:
    """The small pictures of an upload. Sellers take turns, so that nobody waits for another one's thousand.

    ``iterate`` tells the progress, and goes on where it was when a worker is restarted in the middle.
    """
    for product_id in current_job.iterate(product_ids):
        product = db.session.get_one(Product, product_id)
        product.state = "ready" if pictures.shrink(product.picture) else "broken"
        db.session.commit()


def offer(seller: Account, products: list[Product]) -> Upload:
    """Store an upload. Its job is sent after the commit, or it might look for rows that are not there yet."""
    upload = Upload(seller_id=seller.id, job="", products=products)
    db.session.add(upload)
    db.session.flush()  # gives all of them their numbers
    with enqueue_after_commit(db.session):
        upload.job = make_thumbnails.delay(seller.id, [product.id for product in products]).id
    db.session.commit()
    return upload


@quaff.cron("0 3 * * *", tz="Europe/Vienna")
@quaff.task(queue="reports")
def report_nightly() -> None:
    """A report for each seller, about the day before."""
    until = current_job.scheduled_for or datetime.now(UTC)  # None: somebody sent it by hand
    sellers = db.session.scalars(select(Account.id).where(~Account.staff).order_by(Account.id))
    report.map([(seller_id, until) for seller_id in sellers])


@quaff.task(queue="reports", retries=3, backoff=60)
def report(seller_id: int, until: datetime) -> None:
    """One seller's day."""
    seller = db.session.get_one(Account, seller_id)
    number, cents = db.session.execute(
        select(func.count(), func.coalesce(func.sum(Product.cents), 0))
        .select_from(Order)
        .join(Product)
        .where(Product.seller_id == seller_id, Order.placed >= until - timedelta(days=1), Order.placed < until)
    ).one()
    mails.send(seller.email, f"Your day until {until:%d %B, %H:%M}", f"{number} orders, {cents / 100:.2f} €.\n")


@quaff.every(60)
@quaff.task(queue="mail")
def empty_outbox() -> None:
    """Send what ``send_committed`` could not."""
    Relay(outbox, db.engine).send()


def send_committed() -> None:
    """Send at once what has just been committed.

    Whatever comes in between, the rows stay, and ``empty_outbox`` sends them: an order is never refused because the
    job server is away, and never goes without its confirmation because a process was killed.
    """
    try:
        Relay(outbox, db.engine).send()
    except EnqueueError as error:
        log.warning("the outbox has to wait: %s", error)
