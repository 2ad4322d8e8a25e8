"""Signed and encrypted bytes: nothing is believed that somebody with access to the server has made up or changed.

A sealed text is ``how(1)``, then for a signed one ``key id(4) tag(16)``, then for an encrypted one ``key id(4)
salt(16)`` and what AES-256-GCM made of the rest. The tag is HMAC-SHA256, cut to 16 bytes, over all else, over what
stands before the sealed text, and over where it belongs: so it is good there and nowhere else. A key of its own is
derived from each key that is given (HKDF, RFC 5869) for each purpose, and for each encrypted text another one, so that
no nonce comes twice.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import Any

from quaff.errors import ConfigurationError

#: What a text is for: a signature of one is none of another.
MESSAGE, RESULT, SCHEDULE = b"message", b"result", b"schedule"
_PURPOSES = (MESSAGE, RESULT, SCHEDULE)

_SIGNED, _ENCRYPTED, _LATE = 1, 2, 4
_KID, _TAG, _SALT = 4, 16, 16
_NOTHING = b"\x00"


class BadSeal(ValueError):
    """A text that was changed, belongs elsewhere, or is sealed with a key that is not known here."""


def derived(key: bytes, label: bytes) -> bytes:
    """32 bytes that belong to a key and a label; whoever has them knows neither the key nor those of another label."""
    secret = hmac.digest(b"quaff", key, "sha256")
    return hmac.digest(secret, label + b"\x01", "sha256")


def place_of(namespace: str, queue: str, number: int) -> bytes:
    """A partition, as what belongs to it is bound to it; no name has a ``#``, a ``/`` or a zero byte."""
    return f"{namespace}/{queue}#{number}".encode()


class Seals:
    """The keys of an application. Of each ring the first seals, and all are good to open.

    Args:
        signing, encryption: keys, the newest first; with none nothing is signed, or encrypted.
        required: refuse what is neither signed nor encrypted.

    Attributes:
        writes: whether anything is done to what is written.
        checks: whether anything is looked at in what is read, so that it makes a difference where it belongs.
        digest_key: for digests of arguments, which would otherwise tell a guess from another; empty without encryption.

    Raises:
        ConfigurationError: keys to encrypt with, and the package ``cryptography`` is not there.
    """

    def __init__(
        self, signing: Sequence[bytes] = (), encryption: Sequence[bytes] = (), *, required: bool = False
    ) -> None:
        self._signing = {derived(key, b"signing key id")[:_KID]: _keys(key, b"sign ") for key in signing}
        self._encryption = {derived(key, b"encryption key id")[:_KID]: _keys(key, b"encrypt ") for key in encryption}
        self._signer, self._encrypter = next(iter(self._signing), b""), next(iter(self._encryption), b"")
        self._cipher = _aes() if encryption else None
        self.required = required
        self.writes: bool = bool(signing or encryption)
        self.checks: bool = self.writes or required
        # The oldest, so that a new key in front changes no digest.
        self.digest_key: bytes = derived(encryption[-1], b"digest") if encryption else b""

    def seal(self, purpose: bytes, where: bytes, head: bytes, data: bytes, *, late: bool = False) -> bytes:
        """``data``, sealed.

        Args:
            purpose: MESSAGE, RESULT or SCHEDULE.
            where: what it is bound to.
            head: what will stand before it, in clear.
            late: a mark that ``is_late`` tells of before it is opened.
        """
        how = bytes([_SIGNED * bool(self._signer) | _ENCRYPTED * bool(self._encrypter) | _LATE * late])
        if self._cipher is not None:
            master = self._encryption[self._encrypter][purpose]
            # A schedule is declared again and again, and has to be the same then.
            salt = hmac.digest(master, where + data, "sha256")[:_SALT] if purpose is SCHEDULE else os.urandom(_SALT)
            key = hmac.digest(master, salt, "sha512")
            data = self._encrypter + salt + self._cipher(key[:32]).encrypt(key[32:44], data, how + head + where)
        if not self._signer:
            return how + data
        tag = hmac.digest(self._signing[self._signer][purpose], b"".join((where, head, how, data)), "sha256")
        return b"".join((how, self._signer, tag[:_TAG], data))

    def open(self, purpose: bytes, where: bytes, head: bytes, sealed: bytes) -> bytes:
        """What ``seal`` was given. Who has no keys to verify with reads what is signed as if it were not.

        Raises:
            BadSeal: it is not what was sealed for that place, or by nobody that is known here.
        """
        how = sealed[:1]
        bits = how[0] if how else 0xFF
        if bits > _SIGNED | _ENCRYPTED | _LATE:
            raise BadSeal("it is sealed in no way that is known here")
        data, sure = sealed[1:], False
        if bits & _SIGNED:
            kid, tag, data = data[:_KID], data[_KID : _KID + _TAG], data[_KID + _TAG :]
            if self._signing:
                key = self._signing.get(kid)
                if key is None:
                    raise BadSeal(_strange("signed", "SIGNING_KEYS, or in Flask SECRET_KEY", kid))
                wanted = hmac.digest(key[purpose], b"".join((where, head, how, data)), "sha256")[:_TAG]
                if not hmac.compare_digest(tag, wanted):
                    raise BadSeal(
                        "its signature is wrong: it was changed, or belongs to another job, queue or namespace"
                    )
                sure = True
        if bits & _ENCRYPTED:
            kid, salt, data = data[:_KID], data[_KID : _KID + _SALT], data[_KID + _SALT :]
            keys = self._encryption.get(kid)
            if keys is None or self._cipher is None:
                raise BadSeal(_strange("encrypted", "ENCRYPTION_KEYS", kid))
            data, sure = self._decrypted(keys[purpose], salt, data, how + head + where), True
        if self.required and not sure:
            raise BadSeal(UNSIGNED)
        return data

    def _decrypted(self, master: bytes, salt: bytes, data: bytes, beside: bytes) -> bytes:
        assert self._cipher is not None
        key = hmac.digest(master, salt, "sha512")
        try:
            clear: bytes = self._cipher(key[:32]).decrypt(key[32:44], data, beside)
        except Exception as error:  # InvalidTag, or ValueError for a text too short to have one
            raise BadSeal("it cannot be decrypted: it was changed, or belongs elsewhere") from error
        return clear

    def __repr__(self) -> str:
        return f"<Seals: {len(self._signing)} signing keys, {len(self._encryption)} encryption keys>"


UNSIGNED = "it is not signed, and only what is signed is taken here (REQUIRE_SIGNED)"


def is_late(sealed: bytes) -> bool:
    """The mark that ``seal`` was given."""
    return bool(sealed and sealed[0] & _LATE)


def _strange(what: str, setting: str, kid: bytes) -> str:
    return (
        f"it is {what} with a key that is not known here ({kid.hex()}): the same keys have to be in {setting} of every"
        " process, and an old one until nothing is left that it has sealed"
    )


def _keys(key: bytes, label: bytes) -> dict[bytes, bytes]:
    return {purpose: derived(key, label + purpose) for purpose in _PURPOSES}


def _aes() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigurationError(
            "ENCRYPTION_KEYS needs the package cryptography, which is not installed: pip install 'quaff[crypto]'."
        ) from None
    return AESGCM


#: Without any keys.
BARE = Seals()
