"""Findings for people and programs, set right where that is asked for."""

from __future__ import annotations

import msgspec

from quaff.audit.auditor import Audit
from quaff.audit.rules import INVARIANTS, NO_REMEDY, Finding
from quaff.model.ids import JobId
from quaff.store.client import Store


class Row(msgspec.Struct, frozen=True):
    """One finding.

    Attributes:
        invariant: the number of what is broken.
        name, text: what is the case, in a word and in a sentence.
        queue: the queue, ``#`` and the partition.
        subject: a job's id, or another name.
        remedy: what ``--repair`` does about it, or why there is nothing, and what to do.
        repaired: it was done.
    """

    invariant: int
    name: str
    queue: str
    subject: str
    text: str
    remedy: str
    repaired: bool


def report(store: Store, audit: Audit, found: list[Finding], *, repair: bool) -> list[Row]:
    """A row for each finding. Raises ServerUnavailable, StoreError."""
    home = audit.home
    rows: list[Row] = []
    # The counters last: what else is set right changes them.
    for each in sorted(found, key=lambda one: one.name == "counter"):
        number, remedy = INVARIANTS[each.name]
        repaired = False
        if repair and each.name == "ttl":
            repaired = audit.line.ask([("PERSIST", home.key(each.subject.decode()))]) == [1]
        elif repair:
            calls = audit.repair(each)
            repaired = bool(calls) and all(store.run_many(calls))
        subject = str(JobId(home.queue, home.number, each.subject)) if len(each.subject) == 16 else _text(each.subject)
        queue = f"{home.queue}#{home.number}"
        rows.append(Row(number, each.name, queue, subject, each.text, remedy or NO_REMEDY[each.name], repaired))
    return rows


def _text(name: bytes) -> str:
    return name.decode() if name.isascii() and name.decode().isprintable() else name.hex()
