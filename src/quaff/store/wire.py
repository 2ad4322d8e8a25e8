"""What goes over one connection: calls, what is to confirm them, and the replies to both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quaff.model.durability import Durability
from quaff.store.assurance import Assured, behind, questions, refusal, understood
from quaff.store.errands import Errand
from quaff.store.faults import LOST, Patience
from quaff.store.transitions import Call

_pack: Callable[[Any], bytes] | None = None
with suppress(ImportError):  # the extra `speed`
    from hiredis import pack_command as _pack


def make_sure(connection: Any, errand: Errand, where: str, patience: Patience) -> None:
    """Ask who is at the other end whether it can confirm what is asked for, once for each time it is connected.

    Args:
        where: the server, for errors.

    Raises:
        ConfigurationError, ServerUnavailable: it cannot, and nothing was sent. Those of redis-py as ``send``.
    """
    asked = errand.durability
    if asked is None or asked in _confirmed(connection, connection._sock):
        return
    try:
        connection.send_packed_command(connection.pack_commands(questions(asked)))
        replies = [_or_error(connection, patience.left) for _ in questions(asked)]
        refused = refusal(asked, replies, where)
        if refused is not None:
            raise refused
    except BaseException:
        connection.disconnect()
        raise
    _confirmed(connection, connection._sock).add(asked)


async def amake_sure(connection: Any, errand: Errand, where: str) -> None:
    """As ``make_sure``, in a coroutine."""
    asked = errand.durability
    if asked is None or asked in _confirmed(connection, connection._writer):
        return
    try:
        await connection.send_packed_command(connection.pack_commands(questions(asked)))
        replies = [await _async_or_error(connection) for _ in questions(asked)]
        refused = refusal(asked, replies, where)
        if refused is not None:
            raise refused
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    _confirmed(connection, connection._writer).add(asked)


def commands(errand: Errand, seconds: float) -> list[tuple[Any, ...]]:
    """What an errand sends: a command for each call, what is to confirm it, and one before each if its slot moves."""
    if not errand.asking and errand.durability is None:
        return [call.command for call in errand.calls]
    several = [each for call in errand.calls for each in (call.command, *behind(call, seconds))]
    return [each for command in several for each in ((b"ASKING",), command)] if errand.asking else several


def send(connection: Any, errand: Errand, seconds: float = 0.0) -> None:
    """Send calls on one connection, whose replies ``receive`` has to read.

    Args:
        seconds: for all replies, where some of the calls have to be confirmed.

    Raises:
        ConnectionError, TimeoutError: of redis-py; the connection is closed then.
    """
    connection.send_packed_command(_packed(connection, commands(errand, seconds)))


def receive(connection: Any, errand: Errand, until: float) -> list[Any]:
    """Read the replies of these calls, loading a script that the server has forgotten.

    Args:
        until: monotonic seconds; by then all of them have to be there.

    Returns:
        A reply for each call as the server gave it; in the place of an error reply stands its ResponseError.

    Raises:
        ConnectionError, TimeoutError: of redis-py; the connection is closed then.
        ResponseError: the script could not be loaded.
    """
    if errand.asking or errand.durability is not None:
        replies = [_answer(connection, errand, call, until) for call in errand.calls]
    else:
        replies = [_reply(connection, until) for _ in errand.calls]
    for index in unknown_scripts(replies):
        connection.send_packed_command(_packed(connection, told_and_called(errand, index, until - time.monotonic())))
        told, replies[index] = _reply(connection, until), _answer(connection, errand, errand.calls[index], until)
        _check_told(told, replies[index])
    return replies


def _reply(connection: Any, until: float) -> Any:
    """One reply; an error is one, too."""
    left = until - time.monotonic()
    try:
        # Its own limit costs nothing, another one two system calls.
        if left > connection.socket_timeout * 0.99:
            return connection.read_response()
        return connection.read_response(timeout=max(0.001, left))
    except ResponseError as error:
        return error


def _answer(connection: Any, errand: Errand, call: Call[Any], until: float) -> Any:
    """The reply to one call, past those to what goes before and behind it."""

    def one() -> Any:
        # Also where asking is refused, the reply to the call itself comes after it.
        asked = _reply(connection, until) if errand.asking else None
        reply = _reply(connection, until)
        return asked if isinstance(asked, ResponseError) else reply

    if call.durability is None:
        return one()
    replies = [one()]
    with suppress(RedisTimeoutError):  # the job is stored by then
        for _ in behind(call, 0):
            replies.append(one())  # noqa: PERF401  those that came before time was up count
    return _noted(connection, understood(call, replies))


def told_and_called(errand: Errand, index: int, seconds: float) -> list[tuple[Any, ...]]:
    """The script of one call and the call itself, in one go: nobody has much time to make the server forget it."""
    source = errand.calls[index].script.source
    return [("SCRIPT", "LOAD", source), *commands(errand._replace(calls=[errand.calls[index]]), seconds)]


def _check_told(told: Any, reply: Any) -> None:
    """Raise why a script could not be loaded, if it is not there."""
    if isinstance(told, ResponseError) and isinstance(reply, NoScriptError):
        raise told


def _confirmed(connection: Any, line: Any) -> set[Durability]:
    """What the server at the other end of a line can confirm, as far as it was asked; another line, another server."""
    known: tuple[Any, set[Durability]] | None = getattr(connection, "confirmed", None)
    if known is None or known[0] is not line:
        known = connection.confirmed = (line, set())
    return known[1]


def _noted(connection: Any, answer: Any) -> Any:
    if isinstance(answer, Assured) and answer.lacking:
        connection.confirmed = None  # the next call looks again before it sends anything
    return answer


def _or_error(connection: Any, seconds: float) -> Any:
    try:
        return connection.read_response(timeout=seconds)
    except ResponseError as error:
        return error


async def _async_or_error(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _packed(connection: Any, commands: Sequence[tuple[Any, ...]]) -> Sequence[bytes]:
    """In pieces to send. redis-py looks at each argument once more: a twentieth of what a tiny job costs."""
    if _pack is None:
        pieces: Sequence[bytes] = connection.pack_commands(commands)
        return pieces
    return (b"".join(map(_pack, commands)),)


def unknown_scripts(replies: Sequence[Any]) -> list[int]:
    """Which calls the server answered with NOSCRIPT (restart, failover and SCRIPT FLUSH all make it forget)."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


async def exchange(connection: Any, errand: Errand, patience: Patience) -> list[Any]:
    """As ``send`` and ``receive``, in a coroutine; one that is cancelled closes the connection."""

    async def one() -> Any:
        # Also where asking is refused, the reply to the call itself comes after it.
        asked = await _async_or_error(connection) if errand.asking else None
        reply = await _async_or_error(connection)
        return asked if isinstance(asked, ResponseError) else reply

    async def answer(call: Call[Any]) -> Any:
        if call.durability is None:
            return await one()
        replies = [await one()]
        try:
            # A little less than the whole call has: when that is over nobody knows any more that the job is stored.
            async with asyncio.timeout(patience.left - min(0.02, patience.left / 8)):
                for _ in behind(call, 0):
                    replies.append(await one())  # noqa: PERF401  those that came before time was up count
        except TimeoutError:
            await connection.disconnect(nowait=True)
        return _noted(connection, understood(call, replies))

    try:
        await connection.send_packed_command(connection.pack_commands(commands(errand, patience.left)))
        replies = [await answer(call) for call in errand.calls]
        for index in unknown_scripts(replies):
            again = told_and_called(errand, index, patience.left)
            await connection.send_packed_command(connection.pack_commands(again))
            told, replies[index] = await _async_or_error(connection), await answer(errand.calls[index])
            _check_told(told, replies[index])
        return replies
    except (ResponseError, *LOST):
        raise
    except BaseException:
        # A cancelled coroutine leaves its reply on the wire; nobody may read it as the answer to another call.
        await connection.disconnect(nowait=True)
        raise
