"""Mails, as files in a folder. With ``smtplib`` instead of ``write_bytes`` they go out."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

from flask import current_app

from quaff import current_job


def folder() -> Path:
    """Where they are."""
    path = Path(current_app.config["DATA"]) / "mails"
    path.mkdir(exist_ok=True)
    return path


def send(to: str, subject: str, text: str) -> None:
    """Send a mail, from a job. A job that runs twice sends the same one, by its id, and not a second one."""
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{current_job.id}@example.com>"
    message.set_content(text)
    (folder() / f"{current_job.id}.eml").write_bytes(bytes(message))
