"""Questions to a server that are no scripts: what it is, how it is set up, and what an account may do there.

An answer is never an error: what a server does not tell, because it does not know the command or this account has no
right to it, is None, and stays unknown for whoever asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from quaff.store.connect import Endpoint
from quaff.store.faults import LOST, Patience
from quaff.store.keys import Partition
from quaff.store.scripts import load

T = TypeVar("T")
Command = tuple[Any, ...]

#: What those who send jobs and wait for them call, and what a worker calls besides.
PRODUCER = "enqueue enqueue_routed plant grow lookup watch follow cancel signal graph forget recall".split()
_WORKING = "claim settle release heartbeat reap sweep holds asked note append step receive blocks acquire leave"
_BESIDES = "advance outgoing sent arrive returned fire declare"
WORKER = [*PRODUCER, *_WORKING.split(), *_BESIDES.split()]

#: The arguments after the key with which a command can be tried; of those not named here, none.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys("HDEL HEXISTS HGET HMGET HSTRLEN LINDEX LPUSH PUBLISH RPOP RPUSH ZMSCORE".split(), ("1",)),
    **dict.fromkeys("ZRANK ZREM ZSCORE".split(), ("1",)),
    **dict.fromkeys("HINCRBY HSET HSETNX LTRIM ZADD".split(), ("1", "1")),
    "BLPOP": ("1",),
    **dict.fromkeys("ZRANGEBYSCORE ZREVRANGEBYSCORE".split(), ("-inf", "+inf")),
    "ZRANGEBYLEX": ("-", "+"),
}
_CALLED = re.compile(r"redis\.call\('(\w+)'")


def ask(endpoint: Endpoint, commands: Sequence[Command], seconds: float) -> list[Any]:
    """The replies to commands, in one round trip on a connection of its own; None where there is an error instead.

    Raises:
        ServerUnavailable: no server answers within that many seconds.
    """

    def send(connection: Any, patience: Patience) -> list[Any]:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_reply(connection, patience) for _ in commands]

    return _connected(endpoint, seconds, send)


def round_trips(endpoint: Endpoint, seconds: float, count: int = 9) -> tuple[float, float | None]:
    """The median round trip and how far the server's clock is ahead of ours, in seconds; errors as ``ask``."""

    def send(connection: Any, patience: Patience) -> tuple[float, float | None]:
        found: list[tuple[float, float | None]] = []
        for _ in range(count):
            began, at = time.monotonic(), time.time()
            connection.send_command("TIME")
            reply = _reply(connection, patience)
            took = time.monotonic() - began
            # The quicker the answer, the nearer it is to the moment in the middle.
            found.append((took, reply and int(reply[0]) + int(reply[1]) / 1e6 - at - took / 2))
        found.sort(key=lambda each: each[0])
        return found[count // 2][0], found[0][1]

    return _connected(endpoint, seconds, send)


def _connected(endpoint: Endpoint, seconds: float, use: Callable[[Any, Patience], T]) -> T:
    patience = Patience(endpoint.where, seconds, harmless=True)
    while True:
        try:
            endpoint.revive(patience.left)
            connection = endpoint.connection(patience.left)
            try:
                connection.connect()
                return use(connection, patience)
            finally:
                connection.disconnect()
        except LOST as error:
            time.sleep(patience.after(error, sent=False))


def _reply(connection: Any, patience: Patience) -> Any:
    try:
        return connection.read_response(timeout=patience.left)
    except ResponseError:
        return None


def told(reply: Any) -> dict[str, str]:
    """The fields of a reply to INFO; empty where the server does not tell."""
    lines = (reply or b"").decode(errors="replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def setting(reply: Any) -> str | None:
    """The answer to CONFIG GET of one name."""
    return reply[1].decode(errors="replace") if reply and len(reply) > 1 else None


def script_exists() -> Command:
    """The command that asks for all scripts that a worker calls."""
    return ("SCRIPT", "EXISTS", *(load(name).sha for name in WORKER))


def trials(account: str, home: Partition, scripts: Sequence[str], besides: Sequence[str]) -> Iterator[Command]:
    """A dry run of each command that scripts use, on a key of that partition; nothing is executed."""
    key = home.key("wake")
    for name in scripts:
        script = load(name)
        yield ("ACL", "DRYRUN", account, "EVALSHA", script.sha, len(script.keys), *home.keys(script.keys))
    used = {command for name in scripts for command in _CALLED.findall(load(name).source)}
    for command in sorted(used | set(besides)):
        if command in ("TIME", "PING"):
            yield ("ACL", "DRYRUN", account, command)
        elif command == "MEMORY":
            yield ("ACL", "DRYRUN", account, command, "USAGE", key)
        elif command == "SCRIPT":
            yield ("ACL", "DRYRUN", account, command, "LOAD", "return 1")
        else:
            yield ("ACL", "DRYRUN", account, command, key, *_ARGUMENTS.get(command, ()))


def words(command: Command) -> str:
    """What a trial tries, for people."""
    if command[3] == "EVALSHA":
        return "EVALSHA"
    return f"{command[3]} {command[4]}" if command[3] in ("MEMORY", "SCRIPT") else command[3]
