"""Audits one partition while workers run: looks at all of it, looks again at what looks wrong, and sets it right.

What was read page by page is torn: a job that moved may be missing, or in two places. So it only gives suspects; each
of these is looked at again at one moment, and counts if it is wrong then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from quaff.audit.closeup import REACH, close_up, walk
from quaff.audit.flows import astray
from quaff.audit.lanes import becalmed, uncalled, unnumbered
from quaff.audit.limits import overdrawn
from quaff.audit.picture import KINDS, Picture, whole
from quaff.audit.rules import COUNTERS, NO_REMEDY, Finding, findings, miscounted
from quaff.store import pages
from quaff.store.keys import NAMES, Partition
from quaff.store.mending import correct, mend
from quaff.store.probe import Line
from quaff.store.transitions import Call

#: Suspects that are looked at again, and processes that may hold one; more is said to be unchecked.
_SUSPECTS, _PROCESSES = 10_000, 1000
#: Suspects that are few enough not to take another picture first, and how many pictures at most.
_FEW, _PICTURES = 100, 4
_READ = {"hash": "HLEN", "zset": "ZCARD", "list": "LLEN"}
_ABOUT_HOLDERS = frozenset({"no holder", "held twice", "not running", "no lease"})
_ABOUT_NAMES = {
    **dict.fromkeys(("unique key", "key twice"), ("uniq", "heirs", "lapses")),
    "schedule": ("sched_def", "sched_state", "sched_next", "sched_seen"),
}


@dataclass
class Audit:
    """One audit of one partition.

    Args:
        line: to the server.
        home: the partition.
        keys: all keys that are there under its prefix.
        max_crashes: that are too many.

    Attributes:
        unchecked: what could not be told, in words.
    """

    line: Line
    home: Partition
    keys: Iterable[bytes]
    max_crashes: int
    unchecked: list[str] = field(default_factory=list)

    def run(self) -> list[Finding]:
        """All that is wrong. Raises ServerUnavailable, StoreError."""
        pause = self._pause()
        found = [*self._of_keys(), *self._of_counters()]
        picture = walk(self.line, self.home)
        found += self._confirmed(picture)
        found += overdrawn(self.line, self.home, picture, self.unchecked)
        for look in (uncalled, becalmed, unnumbered, astray):
            # No second time a limit of which the wrong number is taken.
            told = {(each.name, each.subject) for each in found}
            found += [each for each in look(self.line, self.home, picture) if (each.name, each.subject) not in told]
        found += self._in_spite_of(pause, picture)
        return found

    # Keys and numbers, which can be seen at one moment

    def _of_keys(self) -> Iterator[Finding]:
        own = {self.home.key(name): name for name in NAMES}
        for key in sorted(set(self.keys) - own.keys()):
            yield Finding("foreign key", key, "it is none of the keys of a queue")
        replies = self.line.ask([(c, key) for key in own for c in ("PTTL", "TYPE")])
        if None in replies:
            self.unchecked.append(f"whether all of its keys are of their kind and stay: {self.line.refused}")
        for name, ttl, kind in zip(own.values(), replies[::2], replies[1::2], strict=True):
            if ttl is not None and ttl >= 0:
                yield Finding("ttl", name.encode(), f"it goes in {ttl / 1000:.0f} s, with all that is in it")
            if kind is not None and kind.decode() not in (KINDS[name], "none"):
                yield Finding("kind", name.encode(), f"it is a {kind.decode()} and has to be a {KINDS[name]}")

    def _of_counters(self) -> Iterator[Finding]:
        names = list(Picture._fields)
        commands = [(_READ[KINDS[name]], self.home.key(name)) for name in names]
        *sizes, numbers = pages.atomically(self.line, [*commands, ("HMGET", self.home.key("meta"), *COUNTERS)])
        if numbers is not None and None not in sizes:
            counted = {name: whole(text or b"0") for name, text in zip(COUNTERS, numbers, strict=True)}
            yield from miscounted(dict(zip(names, sizes, strict=True)), counted)

    # Jobs, processes and names

    def _confirmed(self, picture: Picture) -> list[Finding]:
        suspects = {(each.name, each.subject): each for each in findings(picture, self.max_crashes)}
        # What is on the move looks wrong in one picture, and seldom in the next one as well.
        for _ in range(_PICTURES if len(suspects) > _FEW else 0):
            again = {(each.name, each.subject) for each in findings(walk(self.line, self.home), self.max_crashes)}
            suspects = {key: each for key, each in suspects.items() if key in again}
            if len(suspects) <= _FEW:
                break
        if len(suspects) > _SUSPECTS:
            self.unchecked.append(f"{len(suspects) - _SUSPECTS} more things that look wrong: audit again")
        holders = {member[:8] for member in picture.held}
        marker, far = self._far(bool(suspects))
        found = [each for each in list(suspects.values())[:_SUSPECTS] if self._still(each, holders, far)]
        lost = [each for each in found if each.name == "no place"]
        # What was put in line since then may have moved further than what was looked at.
        if far and lost and self._position(marker) is None:
            self.unchecked.append(f"whether {len(lost)} jobs are in line, which grew too fast: audit again")
            found = [each for each in found if each.name != "no place"]
        return found

    def _far(self, needed: bool) -> tuple[bytes, set[bytes]]:
        """Who stands in a line so long that its middle is out of reach, and who came last before that was read."""
        key = self.home.key("ready")
        length, marker = self.line.ask([("LLEN", key), ("LINDEX", key, 0)])
        if not needed or not length or length <= 2 * REACH:
            return b"", set()
        return marker, set(pages.entries(self.line, key))

    def _position(self, id: bytes) -> int | None:
        (found,) = self.line.ask([("LPOS", self.home.key("ready"), id, "MAXLEN", REACH)])
        return found if isinstance(found, int) else None

    def _still(self, suspect: Finding, holders: set[bytes], far: set[bytes]) -> bool:
        before = self._look(suspect, holders, far)
        if before is None or suspect.name != "no holder":
            return before is not None
        # A process that nobody knew of may hold it: those that are known after this token was seen are all that can.
        now = self._look(suspect, holders, far)
        return now is not None and now.active == before.active

    def _look(self, suspect: Finding, holders: set[bytes], far: set[bytes]) -> Picture | None:
        """The close-up, if it shows the same."""
        subject, names = suspect.subject, _ABOUT_NAMES.get(suspect.name)
        if names:
            ids, more = suspect.also, [(name, subject) for name in names]
        elif len(subject) == 8:
            ids, more = (), [(name, subject) for name in ("claims", "lease", "done", "told")]
        else:
            ids, more = (subject, *suspect.also), []
        processes: list[bytes] = []
        if suspect.name in _ABOUT_HOLDERS:
            processes = list({*pages.scores(self.line, self.home.key("lease")), *holders})[:_PROCESSES]
        near = close_up(self.line, self.home, ids, processes, more, far)
        found = {(each.name, each.subject) for each in findings(near, self.max_crashes)}
        return near if (suspect.name, subject) in found else None

    # A paused queue

    def _pause(self) -> tuple[object, dict[bytes, bytes]]:
        asked = [("HGET", self.home.key("meta"), "paused"), ("LINDEX", self.home.key("audit"), 0)]
        state = pages.atomically(self.line, asked)
        if state[0] != b"0":
            return None, {}
        return state, pages.hash_fields(self.line, self.home.key("active"), values=True)

    def _in_spite_of(self, pause: tuple[object, dict[bytes, bytes]], picture: Picture) -> Iterator[Finding]:
        state, running = pause
        # Paused all the time, for whoever resumes and pauses is in the list of changes.
        if state is None or self._pause()[0] != state:
            return
        for id, token in picture.active.items():
            if running.get(id) != token:
                yield Finding("paused", id, "it was started while the queue is paused")

    # Repair

    def repair(self, found: Finding) -> list[Call[int]]:
        """The calls that set one finding right; none where there is no remedy, or it is not done by a script."""
        if found.name in ("unique key", "schedule", "limit", "flow"):
            what = found.name.removesuffix(" key")
            return [correct(self.home, what, found.subject, *found.also)]
        if found.name == "lane":
            return [correct(self.home, "lane", *found.also)]
        if found.name == "counter":
            return [correct(self.home, "enqueued", b"")] if found.subject == b"enqueued" else []
        if found.name == "ttl" or found.name in NO_REMEDY:
            return []
        if len(found.subject) == 8:
            return [correct(self.home, "process", found.subject)]
        processes = list(pages.scores(self.line, self.home.key("lease")))
        held = pages.scores(self.line, self.home.key("held"))
        holders = [member[:8] for member in held if member[8:] == found.subject]
        # Each once: the second of two holders lets go.
        some = list(dict.fromkeys([*holders, *processes]))[:_PROCESSES] if found.name != "token twice" else []
        forget = found.name == "crashes" or found.text.endswith("counts of nothing")
        return [
            mend(self.home, id, processes=some, forget_counts=forget)
            for id in (found.subject, *(found.also if found.name == "token twice" else ()))
        ]
