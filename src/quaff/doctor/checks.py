"""What the facts mean: one check for each thing that may cost jobs. What is unknown is never taken for good."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from quaff.doctor.facts import Facts, Finding, Level
from quaff.model.durability import Durability
from quaff.model.sealing import Seals
from quaff.store.rights import ROLES

#: Seconds of difference between two clocks that nobody need care for, and of a round trip.
_CLOCK, _TRIP = 2.0, 0.01
#: The part of maxmemory that may be used without a word.
_ROOM = 0.75
#: The first release of each line that mends what a script could break out of (CVE-2025-49844); later lines have it.
_MENDED = {
    "redis": {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}


def _engine(facts: Facts) -> Finding:
    name = "valkey" if "valkey_version" in facts.info else "redis"
    version = facts.info.get("valkey_version") or facts.info.get("redis_version")
    if version is None:
        return Finding("engine", "unknown", "the server does not say what it is", "Allow this account INFO.")
    mode = facts.info.get("server_mode") or facts.info.get("redis_mode") or "in an unknown mode"
    text = f"{name.capitalize()} {version}, {mode}"
    numbers = [int(part) for part in re.findall(r"\d+", version)[:3]] + [0, 0, 0]
    line, patch = (numbers[0], numbers[1]), numbers[2]
    if line < (7, 0):
        return Finding(
            "engine", "danger", f"{text}: it does not know the scripts", "Upgrade to Valkey, or Redis 7 or later."
        )
    mended = _MENDED[name]
    if patch < mended.get(line, 0) or (line not in mended and line < max(mended)):
        return Finding(
            "engine",
            "warn",
            f"{text}: whoever may run scripts there may be able to run anything (CVE-2025-49844)",
            "Upgrade to its last release, unless your distribution has mended this one.",
        )
    return Finding("engine", "ok", text)


def _eviction(facts: Facts) -> Finding:
    policy, most = facts.setting("maxmemory-policy"), facts.setting("maxmemory")
    if facts.number("evicted_keys"):
        return Finding(
            "eviction",
            "danger",
            f"{facts.number('evicted_keys')} keys were evicted since this server started; with one of Quaff go jobs",
            "Set maxmemory-policy to noeviction, then run quaff audit.",
        )
    if policy is None or most is None:
        return Finding("eviction", "unknown", "the server does not tell maxmemory-policy", "It has to be noeviction.")
    if policy == "noeviction":
        return Finding("eviction", "ok", "noeviction: a full server refuses new jobs, and drops none")
    kind = (
        "any key"
        if policy.startswith("allkeys")
        else "keys with a TTL (Quaff's have none, unless somebody gives them one)"
    )
    if int(most):
        text = f"{policy}: at {_size(int(most))} the server drops {kind} instead of refusing new ones"
        return Finding("eviction", "danger", text, "Set maxmemory-policy to noeviction.")
    text = f"{policy}: as soon as maxmemory is set, the server drops {kind} when it is full"
    return Finding("eviction", "warn", text, "Set maxmemory-policy to noeviction.")


def _size(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB"


def _memory(facts: Facts) -> Finding:
    most, used = facts.setting("maxmemory"), facts.number("used_memory")
    if most is None or not used:
        return Finding("memory", "unknown", "the server does not tell how full it is", "Allow this account INFO.")
    if not int(most):
        return Finding("memory", "ok", f"{_size(used)} used, and no maxmemory: it may take all that its machine has")
    text = f"{_size(used)} of {_size(int(most))} used"
    if used >= int(most):
        return Finding(
            "memory", "danger", f"{text}: new jobs are refused (QueueFull)", "Start more workers, or raise maxmemory."
        )
    if used > int(most) * _ROOM:
        text += ": when it is full, new jobs are refused (QueueFull), and all else goes on"
        return Finding("memory", "warn", text, "Start more workers, bound queues by set_capacity, or raise maxmemory.")
    return Finding("memory", "ok", text)


_FSYNC: dict[str | None, tuple[Level, str, str]] = {
    "always": ("ok", "what was acknowledged survives a crash and a power cut", ""),
    "everysec": (
        "ok",
        "a crash of the server costs what it held back while the disk was flushed, a power cut the last two seconds",
        "",
    ),
    "no": (
        "warn",
        "a crash of the server costs nothing, a power cut what came in the last half minute or so",
        "Set appendfsync to everysec, or to always.",
    ),
    None: (
        "unknown",
        "a crash of the server costs nothing, a power cut as much as appendfsync allows, which is not told",
        "It should be everysec or always.",
    ),
}


def _persistence(facts: Facts) -> Finding:
    if "aof_enabled" not in facts.info:
        text = "the server does not tell if it keeps anything"
        return Finding("persistence", "unknown", text, "Allow this account INFO.")
    if facts.info.get("aof_last_write_status", "ok") != "ok":
        text = "the last write of its append-only file failed"
        return Finding("persistence", "danger", text, "Look into its log and its disk.")
    return _appended(facts) if facts.info["aof_enabled"] == "1" else _snapshots(facts)


def _appended(facts: Facts) -> Finding:
    fsync = facts.config["appendfsync"]
    level, text, remedy = _FSYNC.get(fsync, _FSYNC[None])
    delayed = facts.number("aof_delayed_fsync")
    if delayed and fsync == "everysec":
        text += f"; its disk was too slow for that {delayed} times, and then a crash may cost as much"
        level, remedy = "warn", "Give it a faster disk, or one that it need not share."
    return Finding("persistence", level, f"append-only file, appendfsync {fsync or 'unknown'}: {text}", remedy)


def _snapshots(facts: Facts) -> Finding:
    saves = facts.config["save"]
    if saves == "":
        text = "nothing is written to disk: a crash, a restart or a power cut costs every job"
        return Finding("persistence", "danger", text, "Set appendonly yes, and appendfsync everysec or always.")
    when = "" if saves is None else f" ({_schedule(saves)})"
    changes = facts.number("rdb_changes_since_last_save")
    text = f"no append-only file: a crash or a power cut costs all since the last snapshot{when}, now {changes} changes"
    if facts.info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Finding("persistence", "danger", f"{text}; that snapshot failed", "Look into its log and its disk.")
    return Finding("persistence", "warn" if saves else "unknown", text, "Set appendonly yes.")


def _schedule(saves: str) -> str:
    pairs = saves.split()
    return ", ".join(f"{n} changes in {s} s" for s, n in zip(pairs[::2], pairs[1::2], strict=False)) + " make one"


def _replicas(facts: Facts) -> Finding:
    role = facts.info.get("role")
    if role is None:
        return Finding("replicas", "unknown", "the server does not tell its role", "Allow this account INFO.")
    if role != "master":
        where = f"{facts.info.get('master_host')}:{facts.info.get('master_port')}"
        return Finding(
            "replicas", "danger", f"this is a replica of {where}, which takes no jobs", "Set QUAFF_URL to its primary."
        )
    count = facts.number("connected_slaves")
    if count == 0:
        return Finding("replicas", "ok", "a primary without replicas: there is nothing to fail over to")
    rows = [
        dict(part.split("=", 1) for part in facts.info.get(f"slave{n}", "").split(",") if "=" in part)
        for n in range(count)
    ]
    offset = facts.number("master_repl_offset")
    states = [f"{row.get('ip')}:{row.get('port')} {_behind(row, offset)}" for row in rows]
    text = f"{count} replicas: {', '.join(states)}; a failover costs what the one that takes over has not got"
    if any(row.get("state") != "online" for row in rows):
        return Finding("replicas", "warn", text, "Wait for the one that is not online, or look into its log.")
    least = facts.config["min-replicas-to-write"]
    if least == "0":
        remedy = (
            "With min-replicas-to-write 1 a primary that was cut off takes no more jobs that a failover would cost."
        )
        return Finding(
            "replicas", "warn", f"{text}; the primary does not wait for any (min-replicas-to-write 0)", remedy
        )
    return Finding(
        "replicas",
        "ok" if least else "unknown",
        text,
        "" if least else "min-replicas-to-write, which it does not tell, should be 1.",
    )


def _behind(row: dict[str, str], offset: int) -> str:
    if row.get("state") != "online":
        return str(row.get("state"))
    return f"{max(0, offset - int(row.get('offset', '0')))} bytes behind"


def durability(facts: Facts, asked: Sequence[Durability]) -> Finding:
    """Whether the server can confirm what the application asks for."""
    if not asked:
        return Finding("durability", "ok", "the application asks for none: what the primary has counts as sent")
    words = ", ".join(f'"{each}"' for each in asked)
    fsync, replicas = any(each.fsync for each in asked), max(each.replicas for each in asked)
    policy, there = facts.config["appendfsync"], facts.number("connected_slaves")
    if fsync and facts.info.get("aof_enabled") == "0":
        trouble, remedy = "it keeps no append-only file", "Set appendonly yes, and appendfsync always."
    elif fsync and policy not in ("always", None):
        trouble, remedy = f"with appendfsync {policy} nobody knows what is on its disk", "Set appendfsync always."
    elif facts.info.get("role") == "master" and there < replicas:
        trouble, remedy = f"it has {there} replicas", f"Give it {replicas}, or ask for less."
    elif fsync and policy is None:
        text = f"the application asks for {words}; the server does not tell appendfsync, so such calls are refused"
        return Finding("durability", "unknown", text, "Allow this account and those of producers +waitaof +config|get.")
    elif "role" not in facts.info:
        text = f"the application asks for {words}; the server does not tell its role and replicas"
        return Finding("durability", "unknown", text, "Allow this account INFO.")
    else:
        return Finding("durability", "ok", f"the application asks for {words}, which this server can confirm")
    return Finding(
        "durability", "danger", f"the application asks for {words}: {trouble}, so such calls are refused", remedy
    )


#: What there is to say, and to do, where messages that nobody has signed are taken: by applications without any keys,
#: and by those with some.
_TAKEN = {
    False: (
        "nothing is signed: whoever can write to this server can have any task run, with any arguments",
        "Set QUAFF_SIGNING_KEYS for all processes, or, in Flask and Quart, app.config['SECRET_KEY']; when what was "
        "sent before has ended, QUAFF_REQUIRE_SIGNED=1.",
    ),
    True: (
        "there are keys, and messages without a signature are taken all the same: whoever can write here can send some",
        "Set QUAFF_REQUIRE_SIGNED=1 as soon as all processes have the keys, and what was sent without has ended.",
    ),
}


def signing(seals: Seals, *, private: bool, known: bool) -> Finding:
    """Whether somebody who can write to the server can have jobs run that the application has not sent.

    Args:
        seals: the keys in force.
        private: nobody but its user can reach the server.
        known: the application is, and not only what the environment says of it.
    """
    if private:
        text = "only its user can enter the directory of the embedded server: nobody else can send anything"
        return Finding("signing", "ok", text)
    if seals.required:
        return Finding("signing", "ok", "what is neither signed nor encrypted with the application's keys is refused")
    if not known:
        text = "which messages are taken is for the application to say, and no task of any is known here"
        return Finding("signing", "unknown", text, "Name it: -A MODULE:OBJECT.")
    text, remedy = _TAKEN[seals.writes]
    return Finding("signing", "warn", text, remedy)


def tickets(lacking: str) -> list[Finding]:
    """Nothing, or that views cannot send; ``lacking``: what the application lacks, and what to do about it."""
    text = "a view that sends a job gets a ConfigurationError, and sends none"
    return [Finding("tickets", "danger", text, lacking)] if lacking else []


def _clock(facts: Facts) -> Finding:
    if facts.offset is None:
        return Finding("clock", "unknown", "the server does not tell its time", "Allow this account TIME.")
    direction = "ahead of" if facts.offset >= 0 else "behind"
    text = f"the server's clock is {abs(facts.offset):.3f} s {direction} this machine's"
    if abs(facts.offset) <= _CLOCK:
        return Finding("clock", "ok", text)
    return Finding("clock", "warn", f"{text}; only the server's counts for jobs", "Have both ask a time server (NTP).")


def _round_trip(facts: Facts) -> Finding:
    text = f"{facts.trip * 1000:.2f} ms"
    if facts.trip <= _TRIP:
        return Finding("round trip", "ok", text)
    return Finding(
        "round trip", "warn", f"{text}: each call of delay() takes as long", "Put the server next to the application."
    )


def _scripts(facts: Facts) -> Finding:
    if facts.loaded is None:
        return Finding(
            "scripts", "unknown", "the server does not tell which it knows", "Allow this account SCRIPT EXISTS."
        )
    text = f"{facts.loaded} of {len(ROLES['worker'])} in its memory; the others are sent when first needed"
    return Finding("scripts", "ok", text)


CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    _engine,
    _eviction,
    _memory,
    _persistence,
    _replicas,
    _clock,
    _round_trip,
    _scripts,
)
