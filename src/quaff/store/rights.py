"""What each kind of program has to be allowed on the server, read off the scripts that it calls: rules of ACLs."""

from __future__ import annotations

import re

from quaff.store.keys import NAMES
from quaff.store.scripts import Script, load

_ASKS = "lookup graph watch follow stats partitions brakes"
_SEES = "jobs listing series survey dumped"
_SENDING = "admit enqueue enqueue_routed spread plant advance"
#: The scripts of each role. A worker also does what its jobs may do: send others, cancel, signal, ask.
ROLES: dict[str, tuple[str, ...]] = {
    "producer": tuple(f"{_SENDING} grow cancel forget signal prioritize acquire leave {_ASKS}".split()),
    "dashboard": tuple(
        f"lookup graph stats partitions brakes blocks changes schedules asked holds recall {_SEES}".split()
    ),
    "operator": tuple(
        f"{_SENDING} cancel requeue rerun discard record prioritize pause purge limit capacity block schedule signal "
        f"forget blocks changes schedules mend correct request {_SEES} {_ASKS}".split()
    ),
    "worker": tuple(
        f"{_SENDING} grow cancel forget signal prioritize acquire leave {_ASKS} "
        "claim settle release reap sweep heartbeat holds asked declare fire schedules blocks note append step receive "
        "tally present dump alerts recall outgoing sent arrive returned requeue rerun discard record jobs".split()
    ),
}
#: What connections are opened and listened on with, and scripts loaded and called.
_CONNECTED = ("client|setname", "evalsha", "evalsha_ro", "ping", "script|load", "select")
#: What is asked of a server that a sentinel has named, and of the nodes of a cluster.
FOUND_BY: dict[str, tuple[str, ...]] = {"sentinel": ("ROLE",), "cluster": ("CLUSTER|SLOTS", "ASKING")}
#: What an auditor reads keys with; which keys there are at all only administrators see.
_AUDITS = (
    "exec hexists hget hlen hmget hscan lindex llen lpos lrange multi persist pttl type zcard zrangebylex"
    " zrangebyscore zscan zscore"
).split()
#: Keys on which each role listens, and waits without a script.
_HEARS = {
    "producer": ("watched", "followed"),
    "dashboard": (),
    "operator": ("watched", "followed"),
    "worker": ("watched", "followed", "stop", "outbox", "requests"),
}
_WAITS_ON = {"worker": ("wake",)}
#: Who sends jobs may wait for replicas. For ``fsync`` it takes CONFIG GET, which tells passwords: that is not for all.
_SENDS = ("producer", "operator", "worker")

_COMMAND = re.compile(r"redis\.call\('(\w+)'(?:, '(USAGE)')?")
_CHANNEL = re.compile(r"redis\.call\('PUBLISH', k\.(\w+)")


def rules(role: str, namespace: str) -> list[str]:
    """The rules of a role, to follow ``ACL SETUSER <name>``; they take away all that was allowed before.

    Args:
        role: one of ROLES.
        namespace: of the application.
    """
    scripts = [load(name) for name in ROLES[role]]
    written = {key for script in scripts if not script.reads for key in script.keys} | {*_WAITS_ON.get(role, ())}
    read = {key for script in scripts for key in script.keys} - written
    found = {command.lower() for commands in FOUND_BY.values() for command in commands}
    commands = {*_CONNECTED, *found, *(command for script in scripts for command in commands_of(script))}
    commands |= {"subscribe", "unsubscribe"} if _HEARS[role] else set()
    commands |= {"blpop"} if role in _WAITS_ON else set()
    if role == "operator":
        commands |= {*_AUDITS}
        read |= {*NAMES} - written
    commands |= {"wait"} if role in _SENDS else set()
    if not written:
        commands.discard("evalsha")
    return [
        *("reset", "on"),
        *(f"~{_pattern(namespace, key)}" for key in sorted(written)),
        *(f"%R~{_pattern(namespace, key)}" for key in sorted(read)),
        *(f"&{_pattern(namespace, key)}" for key in sorted(channels(role))),
        *(f"+{command}" for command in sorted(commands)),
    ]


def channels(role: str) -> set[str]:
    """The keys that are names of channels as well, on which a role speaks or listens."""
    return {channel for name in ROLES[role] for channel in _CHANNEL.findall(load(name).source)} | {*_HEARS[role]}


def commands_of(script: Script) -> set[str]:
    """The commands that a script calls, as ACL rules name them."""
    found = _COMMAND.findall(script.source)
    return {f"{command}|{sub}".lower() if sub else command.lower() for command, sub in found}


def _pattern(namespace: str, key: str) -> str:
    # No name has one of the characters that mean something in a pattern.
    return f"quaff:{{{namespace}/*}}:{key}"
