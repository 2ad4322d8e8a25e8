"""Signed and encrypted messages, values and definitions: good where they belong, and nowhere else."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from quaff.model import codec, message, schedule, value
from quaff.model.ids import JobId, new_raw, next_raw
from quaff.model.message import CorruptMessage, Message, Where
from quaff.model.schedule import Schedule
from quaff.model.sealing import BARE, BadSeal, Seals, derived
from quaff.model.source import Source

OLD, NEW, OTHER = b"the old key of this test", b"the new key of this test", b"somebody else's key"
HERE = Where("shop", JobId("mail", 0, new_raw()))
SIGNED = Seals([NEW], required=True)
ENCRYPTED = Seals([], [NEW], required=True)
BOTH = Seals([NEW], [NEW], required=True)
PLAIN = message.encode("send", ["a secret canary"], {"n": 1}, {message.EXPIRES: 5})
KEYED = message.encode_keyed("send", ["a secret canary"], {}, 7)

each_kind = pytest.mark.parametrize("seals", [SIGNED, ENCRYPTED, BOTH], ids=["signed", "encrypted", "both"])
each_message = pytest.mark.parametrize("data", [PLAIN, KEYED], ids=["plain", "keyed"])


def read(data: bytes, seals: Seals, where: Where = HERE) -> Message:
    """As a worker reads it."""
    return message.decode(data, seals=seals, where=where)


@each_kind
@each_message
def test_what_is_sealed_comes_back(data: bytes, seals: Seals) -> None:
    """S4: and the scripts see the same digest."""
    sealed = message.seal(data, seals, HERE)
    assert read(sealed, seals) == message.decode(data)
    assert message.digest(sealed) == message.digest(data)


@each_kind
@each_message
def test_no_bit_of_a_sealed_message_can_be_changed(data: bytes, seals: Seals) -> None:
    """S4: every bit flipped, and every length that is too short."""
    sealed = message.seal(data, seals, HERE)
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptMessage, message.NewerMessage)):
            read(bytes(flipped), seals)
    for length in range(len(sealed)):
        with pytest.raises(CorruptMessage):
            read(sealed[:length], seals)


@each_kind
@pytest.mark.parametrize(
    "where",
    [
        HERE._replace(namespace="other"),
        HERE._replace(job=HERE.job._replace(queue="other")),
        HERE._replace(job=HERE.job._replace(partition=1)),
        HERE._replace(job=HERE.job._replace(raw=new_raw())),
        HERE._replace(job=HERE.job._replace(raw=next_raw(HERE.job.raw))),
    ],
    ids=["namespace", "queue", "partition", "id", "another run"],
)
def test_a_message_is_good_for_no_other_job(where: Where, seals: Seals) -> None:
    """S4: swapped with another one, or moved, it is refused."""
    with pytest.raises(CorruptMessage, match="belongs"):
        read(message.seal(PLAIN, seals, HERE), seals, where)


def test_a_job_of_a_flow_may_run_again_as_another_one() -> None:
    """S4: its id is another one then, with the same end; no other id will do."""
    late = message.seal(PLAIN, SIGNED, HERE, late=True)
    again = HERE._replace(job=HERE.job._replace(raw=next_raw(HERE.job.raw)))
    assert read(late, SIGNED) == read(late, SIGNED, again)
    with pytest.raises(CorruptMessage):
        read(late, SIGNED, HERE._replace(job=HERE.job._replace(raw=new_raw())))


@each_message
def test_what_is_not_signed_is_refused_where_that_is_required(data: bytes) -> None:
    """S4: a signature cannot be taken off; elsewhere both kinds are taken, so that keys can be introduced."""
    with pytest.raises(CorruptMessage, match="REQUIRE_SIGNED"):
        read(data, SIGNED)
    assert read(data, Seals([NEW])) == message.decode(data)
    assert message.decode(message.seal(data, SIGNED, HERE)) == message.decode(data)


def test_a_taken_off_signature_does_not_make_an_encrypted_message_readable() -> None:
    """S4: how it is sealed is part of what is sealed."""
    sealed = message.seal(PLAIN, BOTH, HERE)
    stripped = sealed[:1] + b"\x02" + sealed[2 + 20 :]
    with pytest.raises(CorruptMessage, match="decrypted"):
        read(stripped, BOTH)


def test_keys_are_rotated() -> None:
    """S5: old, both, new: each reads what the one before and the one after wrote; without the old key it is closed."""
    stages = [Seals([OLD], [OLD]), Seals([OLD, NEW], [OLD, NEW]), Seals([NEW, OLD], [NEW, OLD]), Seals([NEW], [NEW])]
    for writer, reader in [*pairwise(stages), *pairwise(reversed(stages))]:
        assert read(message.seal(PLAIN, writer, HERE), reader) == message.decode(PLAIN)
    with pytest.raises(CorruptMessage, match=r"not known here \([0-9a-f]{8}\).*SIGNING_KEYS.*SECRET_KEY"):
        read(message.seal(PLAIN, stages[0], HERE), stages[-1])
    assert stages[1].digest_key == Seals([], [NEW]).digest_key == stages[3].digest_key
    assert stages[0].digest_key == stages[2].digest_key


def test_a_signature_of_one_purpose_is_none_of_another() -> None:
    """S4: the same bytes, bound to the same place, as a result and as a message."""
    for seals in (SIGNED, ENCRYPTED):
        for one, other in ((b"message", b"result"), (b"schedule", b"message"), (b"result", b"schedule")):
            with pytest.raises(BadSeal):
                seals.open(other, b"place", b"", seals.seal(one, b"place", b"", b"data"))


def test_nothing_of_an_encrypted_message_can_be_read() -> None:
    """S6: neither the task nor an argument; with a key to guess with, not even whether two are the same."""
    sealed = message.seal(message.encode_keyed("send", ["canary"], {}, 7, secret=BOTH.digest_key), BOTH, HERE)
    assert b"canary" not in sealed
    assert b"send" not in sealed
    assert message.digest(sealed) != message.digest(message.encode_keyed("send", ["canary"], {}, 7))
    assert message.seal(PLAIN, BOTH, HERE) != message.seal(PLAIN, BOTH, HERE)
    with pytest.raises(CorruptMessage, match="ENCRYPTION_KEYS"):
        message.decode(sealed)


@pytest.mark.parametrize("flow", ["", "mail-0-" + "ab" * 16])
@each_kind
def test_a_value_is_that_of_its_job(seals: Seals, flow: str) -> None:
    """S4, S6: each bit of it, and the id in it."""
    data = codec.encode({"a": "canary"})
    sealed = value.seal(data, seals, HERE.namespace, HERE.job, flow)
    assert value.unseal(sealed, seals, "shop", "mail", 0) == (data, HERE.job.raw, flow)
    assert value.unseal(data, Seals([NEW]), "shop", "mail", 0) == (data, None, None)
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSeal):
            value.unseal(bytes(flipped), seals, "shop", "mail", 0)
    for where in (("other", "mail", 0), ("shop", "other", 0), ("shop", "mail", 1)):
        with pytest.raises(BadSeal):
            value.unseal(sealed, seals, *where)
    with pytest.raises(BadSeal, match="REQUIRE_SIGNED"):
        value.unseal(data, seals, "shop", "mail", 0)


@each_kind
def test_a_schedule_is_the_one_of_its_name(seals: Seals) -> None:
    """S4: or somebody could have a worker sign whatever he likes. The same definition is the same bytes."""
    source = Source("shop", seals)
    made = Schedule(message=message.encode("send", [], {}), queue="mail", every_ms=1000)
    sealed = source.seal("mail", "each second", schedule.encode(made))
    assert sealed == source.seal("mail", "each second", schedule.encode(made))
    assert source.read("mail", "each second", sealed) == made
    for queue, name, data in (
        ("mail", "another", sealed),
        ("other", "each second", sealed),
        ("mail", "each second", schedule.encode(made)),
        ("mail", "each second", sealed[:-1]),
    ):
        with pytest.raises(ValueError, match=f"schedule '{name}' cannot be read"):
            source.read(queue, name, data)
    job = schedule.call_at("each second", made, 5000, source.jobs(made))
    assert read(job.message, seals, Where("shop", JobId("mail", 0, job.id))).task == "send"


def test_a_message_is_measured_before_it_is_decrypted_or_decoded() -> None:
    """S8: and before its signature is worked out: a limit costs nothing."""
    with pytest.raises(CorruptMessage, match="MAX_MESSAGE"):
        message.decode(message.encode("t", ["x" * 100], {}), most=100)
    large = message.seal(message.encode("t", ["x" * 100], {}), BOTH, HERE)
    with pytest.raises(CorruptMessage, match="MAX_MESSAGE"):
        message.decode(large, seals=BOTH, where=HERE, most=100)
    assert message.decode(large, seals=BOTH, where=HERE, most=len(large)).args == ["x" * 100]


def test_derived_keys_are_those_of_rfc_5869() -> None:
    """S4: HKDF-SHA256 with the salt ``quaff``, as the package ``cryptography`` has it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    for label in (b"sign message", b"encrypt result"):
        theirs = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"quaff", info=label).derive(NEW)
        assert derived(NEW, label) == theirs
    assert derived(NEW, b"a") != derived(NEW, b"b") != derived(OTHER, b"b")


def test_keys_are_shown_nowhere() -> None:
    """S17."""
    assert repr(BOTH) == "<Seals: 1 signing keys, 1 encryption keys>"
    assert not re.search(r"key of this test", repr(vars(BOTH)))


def test_who_has_no_keys_is_told_what_is_missing() -> None:
    """S5: a worker without keys reads what is signed as if it were not, and nothing that is encrypted."""
    assert read(message.seal(PLAIN, SIGNED, HERE), BARE) == message.decode(PLAIN)
    with pytest.raises(CorruptMessage, match="ENCRYPTION_KEYS"):
        read(message.seal(PLAIN, BOTH, HERE), BARE)
