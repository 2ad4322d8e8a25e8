"""Questions to a server that are no scripts: what it is, how it is set up, and what an account may do there.

An answer is never an error: what a server does not tell, because it does not know the command or this account has no
right to it, is None, and stays unknown for whoever asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import ExecAbortError, ResponseError, TryAgainError

from quaff.errors import ServerUnavailable
from quaff.store.connect import Endpoint
from quaff.store.faults import LOGIN_REFUSED, LOST, REDIRECTIONS, STALE, Patience, Trouble
from quaff.store.keys import Partition
from quaff.store.rights import ROLES, channels, commands_of
from quaff.store.scripts import load
from quaff.store.urls import Address

Command = tuple[Any, ...]

#: Commands without any.
_ALONE = frozenset(("ASKING", "PING", "ROLE", "TIME"))
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
        home: the partition that is asked about: on a cluster it is looked for at the node that has it.
        node: the one of a cluster that is asked.

    Attributes:
        refused: why the server has given no answer to the last command to which it gave none.
    """

    def __init__(
        self, endpoint: Endpoint, seconds: float = 5.0, *, home: Partition | None = None, node: Address | None = None
    ) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._home = home
        self._node = node
        self._connection: Any = None
        self._elsewhere: ResponseError | None = None
        self.refused: str = ""

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to commands, in one round trip; None where there is an error instead.

        Raises:
            ServerUnavailable: no server answers in time, or it lets nobody in with this password.
            StoreError: it refuses the connection for good.
        """
        patience = Patience(self._endpoint.where, self._seconds)
        while True:
            try:
                if self._connection is None:
                    self._endpoint.revive(patience.left)
                    self._connection = self._endpoint.connection(patience.left, self._owner())
                    self._connection.connect()
                self._connection.send_packed_command(self._connection.pack_commands(commands))
                replies = [self._reply(patience) for _ in commands]
                if self._elsewhere is None:
                    return replies
                raise self._elsewhere
            except LOGIN_REFUSED as error:
                self.close()
                raise ServerUnavailable(patience.refusal(error)) from None
            except (*LOST, ResponseError) as error:  # the latter in reply to the choice of a database, or to ROLE
                self.close()
                time.sleep(patience.after([Trouble(error, sent=False)], harmless=True))
            except BaseException:
                self.close()  # nobody may read the rest of its replies
                raise

    def _owner(self) -> Address | None:
        slots = self._endpoint.slots
        return self._node if slots is None or self._home is None else slots.owner(self._home.slot)

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        self._elsewhere = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _reply(self, patience: Patience) -> Any:
        try:
            return self._connection.read_response(timeout=patience.left)
        except ResponseError as error:
            if not isinstance(error, ExecAbortError):  # which says no more than that another one was refused
                self.refused = str(error)
            if self._home is not None and isinstance(error, (REDIRECTIONS, *STALE, TryAgainError)):
                self._elsewhere = error
                if self._endpoint.slots is not None:
                    self._endpoint.slots.doubtful = True
            return None


def lines(endpoint: Endpoint, seconds: float = 5.0) -> dict[str, Line]:
    """A line to the server, called nothing; of a cluster one to each primary, called by its address.

    Raises:
        ServerUnavailable: no node says who they are.
    """
    if endpoint.slots is None:
        return {"": Line(endpoint, seconds)}
    Line(endpoint, seconds).ask([("PING",)])
    return {f"{host}:{port}": Line(endpoint, seconds, node=(host, port)) for host, port in endpoint.slots.primaries()}


def round_trips(line: Line, count: int) -> tuple[float, float | None]:
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


def configured(reply: Any) -> dict[str, str]:
    """The settings in a reply to CONFIG GET; empty where the server does not tell."""
    texts = [each.decode(errors="replace") for each in reply or ()]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def script_exists() -> Command:
    """The command that asks for all scripts that a worker calls."""
    return ("SCRIPT", "EXISTS", *(load(name).sha for name in ROLES["worker"]))


def trials(account: str, home: Partition, role: str, besides: Sequence[str]) -> Iterator[Command]:
    """A dry run of each command that a role's scripts use, on a key of that partition; nothing is executed."""
    key, scripts = home.key("wake"), ROLES[role]
    for name in scripts:
        yield ("ACL", "DRYRUN", account, *load(name).head(home))
    called = {command for name in scripts for command in commands_of(load(name))}
    used = {command.partition("|")[0].upper() for command in called}
    for command in sorted(used | {command.partition("|")[0] for command in besides}):
        if command in _ALONE:
            yield ("ACL", "DRYRUN", account, command)
        elif command == "CLUSTER":
            yield ("ACL", "DRYRUN", account, command, "SLOTS")
        elif command == "MEMORY":
            yield ("ACL", "DRYRUN", account, command, "USAGE", key)
        elif command == "SCRIPT":
            yield ("ACL", "DRYRUN", account, command, "LOAD", "return 1")
        else:
            for name in channels(role) if command in ("PUBLISH", "SUBSCRIBE") else ("wake",):
                yield ("ACL", "DRYRUN", account, command, home.key(name), *_ARGUMENTS.get(command, ()))


def words(command: Command) -> str:
    """What a trial tries, for people."""
    if isinstance(command[3], bytes):
        return command[3].decode()
    return f"{command[3]} {command[4]}" if command[3] in ("CLUSTER", "MEMORY", "SCRIPT") else command[3]
