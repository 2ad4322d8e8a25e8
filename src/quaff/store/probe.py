"""Questions to a server that are no scripts: what it is, how it is set up, and what an account may do there.

An answer is never an error: what a server does not tell, because it does not know the command or this account has no
right to it, is None, and stays unknown for whoever asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import ResponseError

from quaff.store.connect import Endpoint
from quaff.store.faults import LOST, Patience, Trouble
from quaff.store.keys import Partition
from quaff.store.rights import ROLES, commands_of
from quaff.store.scripts import load

Command = tuple[Any, ...]

#: The arguments after the key with which a command can be tried; of those not named here, none.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys("HDEL HEXISTS HGET HMGET HSTRLEN LINDEX LPUSH PUBLISH RPOP RPUSH ZMSCORE".split(), ("1",)),
    **dict.fromkeys("ZRANK ZREM ZSCORE".split(), ("1",)),
    **dict.fromkeys("HINCRBY HSET HSETNX LTRIM ZADD".split(), ("1", "1")),
    "BLPOP": ("1",),
    **dict.fromkeys("ZRANGEBYSCORE ZREVRANGEBYSCORE".split(), ("-inf", "+inf")),
    "ZRANGEBYLEX": ("-", "+"),
}


class Line:
    """A connection of one's own for many questions, opened when first needed, and again when it breaks.

    Args:
        endpoint: the server.
        seconds: for one question, all tries together.
    """

    def __init__(self, endpoint: Endpoint, seconds: float = 5.0) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._connection: Any = None

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to commands, in one round trip; None where there is an error instead.

        Raises:
            ServerUnavailable: no server answers in time.
            StoreError: it refuses the connection for good.
        """
        patience = Patience(self._endpoint.where, self._seconds, harmless=True)
        while True:
            try:
                if self._connection is None:
                    self._endpoint.revive(patience.left)
                    self._connection = self._endpoint.connection(patience.left)
                    self._connection.connect()
                self._connection.send_packed_command(self._connection.pack_commands(commands))
                return [self._reply(patience) for _ in commands]
            except (*LOST, ResponseError) as error:  # the latter in reply to the choice of a database, or to ROLE
                self.close()
                time.sleep(patience.after([Trouble(error, sent=False)]))
            except BaseException:
                self.close()  # nobody may read the rest of its replies
                raise

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _reply(self, patience: Patience) -> Any:
        try:
            return self._connection.read_response(timeout=patience.left)
        except ResponseError:
            return None


def round_trips(line: Line, count: int = 9) -> tuple[float, float | None]:
    """The median round trip and how far the server's clock is ahead of ours, in seconds; errors as ``ask``."""
    found: list[tuple[float, float | None]] = []
    for _ in range(count):
        began, at = time.monotonic(), time.time()
        (reply,) = line.ask([("TIME",)])
        took = time.monotonic() - began
        # The quicker the answer, the nearer it is to the moment in the middle.
        found.append((took, reply and int(reply[0]) + int(reply[1]) / 1e6 - at - took / 2))
    found.sort(key=lambda each: each[0])
    return found[count // 2][0], found[0][1]


def told(reply: Any) -> dict[str, str]:
    """The fields of a reply to INFO; empty where the server does not tell."""
    lines = (reply or b"").decode(errors="replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def setting(reply: Any) -> str | None:
    """The answer to CONFIG GET of one name."""
    return reply[1].decode(errors="replace") if reply and len(reply) > 1 else None


def script_exists() -> Command:
    """The command that asks for all scripts that a worker calls."""
    return ("SCRIPT", "EXISTS", *(load(name).sha for name in ROLES["worker"]))


def trials(account: str, home: Partition, scripts: Sequence[str], besides: Sequence[str]) -> Iterator[Command]:
    """A dry run of each command that scripts use, on a key of that partition; nothing is executed."""
    key = home.key("wake")
    for name in scripts:
        yield ("ACL", "DRYRUN", account, *load(name).head(home))
    called = {command for name in scripts for command in commands_of(load(name))}
    used = {command.partition("|")[0].upper() for command in called}
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
    if isinstance(command[3], bytes):
        return command[3].decode()
    return f"{command[3]} {command[4]}" if command[3] in ("MEMORY", "SCRIPT") else command[3]
