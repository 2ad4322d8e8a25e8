"""What the shop does, with its jobs: nothing is mocked, and nothing has to run beside these tests."""

from __future__ import annotations

import io
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from shop import jobs, pictures
from shop.database import Product, Upload, db

from quaff import ServerUnavailable
from quaff.testing import Kit


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(file, "PNG")
    return file.getvalue()


def visitor(app: Flask, name: str) -> FlaskClient:
    """A browser, with somebody logged in."""
    client = app.test_client()
    assert client.post("/login", data={"name": name, "password": "demo"}).status_code == 303
    return client


def hand_in(client: FlaskClient, *contents: bytes) -> str:
    """Upload pictures; the URL of the page with the bar."""
    files = [(io.BytesIO(content), f"thing {number}.png") for number, content in enumerate(contents)]
    answer = client.post("/uploads", data={"price": "12.50", "pictures": files})
    assert answer.status_code == 303, answer.text
    return answer.location


def mails(app: Flask) -> list[tuple[str, str, str]]:
    """What was sent: to whom, about what, and the text."""
    found = [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in Path(app.config["DATA"]).glob("mails/*.eml")
    ]
    return sorted((mail["To"], mail["Subject"], mail.get_content()) for mail in found)


@pytest.fixture
def product(app: Flask, quaff_jobs: Kit) -> int:
    """The number of something to buy, of ann's."""
    hand_in(visitor(app, "ann"), picture())
    quaff_jobs.run_all()
    return 1


def test_who_orders_gets_a_confirmation(app: Flask, quaff_jobs: Kit, product: int) -> None:
    app.test_client().post("/orders", data={"product": product, "email": "eve@example.com"})
    quaff_jobs.assert_enqueued(jobs.confirm, args=(1,), queue="mail")
    assert mails(app) == []
    quaff_jobs.run_all()
    [(to, subject, text)] = mails(app)
    assert (to, subject) == ("eve@example.com", "Your order 1")
    assert "thing 0 by ann" in text


def test_an_order_that_comes_to_nothing_sends_nothing(app: Flask, quaff_jobs: Kit, product: int) -> None:
    with app.app_context(), jobs.outbox(db.session):
        jobs.confirm.delay(1)
        db.session.rollback()
        jobs.send_committed()
    quaff_jobs.refute_enqueued(jobs.confirm)


def test_an_order_stands_while_the_job_server_is_away(
    app: Flask, quaff_jobs: Kit, product: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its confirmation is sent within a minute."""

    def refuse(_: object) -> None:
        raise ServerUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(jobs.Relay, "send", refuse)
        answer = app.test_client().post("/orders", data={"product": product, "email": "eve@example.com"})
    assert answer.status_code == 303
    quaff_jobs.refute_enqueued(jobs.confirm)
    quaff_jobs.run_for(70)
    assert [to for to, _, _ in mails(app)] == ["eve@example.com"]


def test_a_mail_that_is_sent_twice_is_the_same_mail(app: Flask, quaff_jobs: Kit, product: int) -> None:
    app.test_client().post("/orders", data={"product": product, "email": "eve@example.com"})
    [job] = [each for each in quaff_jobs.run_all() if each.info().task.endswith("confirm")]
    job.requeue()
    quaff_jobs.run_all()
    assert len(mails(app)) == 1


def test_pictures_are_made_smaller_and_the_page_can_follow(app: Flask, quaff_jobs: Kit) -> None:
    client = visitor(app, "ann")
    page = hand_in(client, picture(), picture(), b"no picture")
    url = client.get(page).text.partition('data-job="')[2].partition('"')[0]
    assert client.get(url).get_json()["state"] == "queued"
    quaff_jobs.run_all()
    told = client.get(url).get_json()
    assert told["state"] == "succeeded"
    assert told["progress"]["done"] == told["progress"]["total"] == 3
    assert visitor(app, "bob").get(url).status_code == 404
    with app.app_context():
        assert [product.state for product in db.session.get_one(Upload, 1).products] == ["ready", "ready", "broken"]
        name = db.session.get_one(Product, 1).picture
        with Image.open(pictures.folder("small") / f"{name}.jpg") as small:
            assert small.size == (320, 240)


def test_a_seller_with_many_uploads_does_not_keep_another_one_waiting(app: Flask, quaff_jobs: Kit) -> None:
    ann, bob = visitor(app, "ann"), visitor(app, "bob")
    for _ in range(4):
        hand_in(ann, picture())
    hand_in(bob, picture())
    order = [job.info().id for job in quaff_jobs.run_all()]
    with app.app_context():
        assert order.index(db.session.get_one(Upload, 5).job) <= 1


def test_each_seller_has_a_report_every_night(app: Flask, quaff_jobs: Kit, product: int) -> None:
    app.test_client().post("/orders", data={"product": product, "email": "eve@example.com"})
    quaff_jobs.perform(jobs.report_nightly)
    quaff_jobs.run_all()
    reports = [mail for mail in mails(app) if mail[1].startswith("Your day")]
    assert [(to, text.strip()) for to, _, text in reports] == [
        ("ann@example.com", "1 orders, 12.50 €."),
        ("bob@example.com", "0 orders, 0.00 €."),
    ]


def test_the_dashboard_is_for_staff(app: Flask, quaff_jobs: Kit) -> None:
    assert visitor(app, "staff").get("/quaff/").status_code == 200
    assert visitor(app, "ann").get("/quaff/").status_code == 403
    assert app.test_client().get("/quaff/").status_code == 403
