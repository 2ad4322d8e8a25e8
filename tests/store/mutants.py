"""Scripts that say one thing otherwise: whoever looks at what they leave has to see it."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec.structs import replace

from quaff.store.scripts import Script, load
from quaff.store.transitions import Call
from tests.store.engine import Desk


def mutant(name: str, rule: str, instead: str) -> Script:
    """A script with something else in the place of a rule, which it says once."""
    script = load(name)
    assert script.source.count(rule) == 1, f"{name} no longer says {rule!r} once: what to change has to be said anew"
    source = script.source.replace(rule, instead)
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()
    return Script(name, source, sha, script.keys, script.reads)


def plant(desk: Desk, name: str, rule: str, instead: str) -> None:
    """From now on the desk sends that script so."""
    other, run = mutant(name, rule, instead), desk.store.run

    def send(call: Call[Any]) -> Any:
        return run(replace(call, script=other) if call.script.name == name else call)

    desk.store.run = send  # type: ignore[method-assign]
