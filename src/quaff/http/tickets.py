"""Tickets: what a page is given of a job. The token in its URL is the job's id, signed: nobody can make one up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

from itsdangerous import BadSignature, URLSafeSerializer

from quaff.errors import ConfigurationError, JobNotFound
from quaff.flow import Flow
from quaff.job import Job

_SALT = "quaff.ticket"


class Ticket(TypedDict):
    """What a web page needs to follow a job; ``url`` is None where the status URL is switched off."""

    id: str
    state: str
    url: str | None


class Signer:
    """Makes and reads tokens.

    A token for a user is signed with a key that is derived from the user as well. It names nobody, and to everybody
    else it is a forgery like any other.

    Args:
        keys: the newest, last, signs; tokens signed with the older ones stay good.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        self._keys = [key.encode() if isinstance(key, str) else key for key in keys]

    def sign(self, id: str, user: object = None) -> str:
        """The token of a job; with ``user`` (any text or number), for that user only."""
        token = self._serializer(user).dumps(id)
        assert isinstance(token, str)
        return token

    def read(self, token: str, user: object = None) -> str:
        """The id in a token that ``user`` shows.

        Raises:
            JobNotFound: it was not signed here, or is another user's.
        """
        for whose in (None, user):
            try:
                id = self._serializer(whose).loads(token)
            except BadSignature:
                continue
            assert isinstance(id, str)
            return id
        raise JobNotFound("this is no token of this application, or it is somebody else's.", token)

    def _serializer(self, user: object) -> URLSafeSerializer:
        salt = _SALT if user is None else f"{_SALT}:{user}"
        return URLSafeSerializer(
            self._keys, salt=salt, signer_kwargs={"key_derivation": "hmac", "digest_method": sha256}
        )


def check_job(job: object) -> None:
    """Raise TypeError for what is no job: a page follows one."""
    if isinstance(job, Flow):
        raise TypeError(
            "ticket(): a page follows one job, and not a flow: give the one that it waits for, flow.job(name)."
        )
    if not isinstance(job, Job):
        raise TypeError(f"ticket(): {job!r} is no job: give what task.delay(...) returned, or quaff.job(id).")


def check_user(user: object, asks: object) -> None:
    """Raise ConfigurationError for a ticket for a user where nobody says, by ``asks``, which user it is that asks."""
    if user is not None and asks is None:
        raise ConfigurationError(
            f"ticket(user={user!r}): nobody could use it, since nothing says who is asking; add "
            'user=lambda: session.get("user_id") to Quaff(...), or user=lambda scope: ... to JobsApp(...).'
        )


def shared_key(path: Path) -> bytes:
    """The key in a file that only its owner can read; made once, whichever of several processes comes first."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(os.urandom(32).hex().encode())
            file.flush()
            os.fsync(descriptor)
        # A link, unlike a rename, fails where another process was first, and shows the file only when it is whole.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    return path.read_bytes()
