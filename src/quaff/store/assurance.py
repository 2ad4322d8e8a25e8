"""An enqueue that is confirmed by more than the primary's memory: what is sent behind it, and what the answers mean.

WAIT and WAITAOF speak of the last write of their own connection, and a job that is there already is no write: behind
the script goes one that happens in any case, and what covers it covers all that came before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from quaff.errors import ConfigurationError, DurabilityNotConfirmed
from quaff.model.durability import Durability
from quaff.store.transitions import Call

Command = tuple[Any, ...]

#: Milliseconds of a call's time that are left for the way back: a server looks at who waits ten times a second, and an
#: answer that comes too late on a busy machine says less than "not confirmed".
_BACK_MS = 300
_POLICY: Command = (b"CONFIG", b"GET", b"appendfsync")
_KEEP = "Nothing was sent. Ask for less, or"


class Assured(NamedTuple):
    """What the script has answered, what was asked for, and why that is not confirmed; empty where it is."""

    answer: Any
    asked: Durability
    lacking: str

    def check(self, what: str, id: str) -> None:
        """Raise DurabilityNotConfirmed for what is stored and not confirmed; ``what``: "job x is"."""
        if self.lacking and self.answer:
            text = f'{what} stored on the primary; durability="{self.asked}" is not confirmed: {self.lacking}.'
            raise DurabilityNotConfirmed(text, id)


def answer_of(found: Any, what: str, id: str) -> Any:
    """What the script has answered, whether or not it had to be confirmed. Raises as ``Assured.check``."""
    if not isinstance(found, Assured):
        return found
    found.check(what, id)
    return found.answer


def assured(call: Call[Any], durability: Durability) -> Call[Any]:
    """The same call, which is answered when its write is where it has to be, with an ``Assured``."""
    decode = call.decode
    return msgspec.structs.replace(
        call, durability=durability, decode=lambda found: found._replace(answer=decode(found.answer))
    )


def behind(call: Call[Any], seconds: float) -> list[Command]:
    """What goes behind the script in the same send; ``seconds``: all that is left to the call."""
    asked = call.durability
    if asked is None:
        return []
    ms = int(seconds * 1000)
    time = b"%d" % max(1, ms - min(_BACK_MS, ms // 4))
    touch = (b"HINCRBY", call.partition.key("meta"), b"enqueued", b"0")
    if asked.fsync:
        return [touch, (b"WAITAOF", b"1", b"%d" % asked.replicas, time), _POLICY]
    return [touch, (b"WAIT", b"%d" % asked.replicas, time)]


def understood(call: Call[Any], replies: Sequence[Any]) -> Any:
    """What comes of the replies to a script and to what was sent behind it, as far as they came in time."""
    answer, *rest = replies
    if call.durability is None or isinstance(answer, Exception):
        return answer
    return Assured(answer, call.durability, _lacking(call.durability, rest))


def _lacking(asked: Durability, replies: Sequence[Any]) -> str:
    refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if refused is not None:
        return f"the server said {refused}"
    if len(replies) < (3 if asked.fsync else 2):
        return "the server did not say in time"
    if not asked.fsync:
        return _too_few(replies[1], asked, "have it")
    local, replicas = replies[1]
    if _policy(replies[2]) != "always":
        return f"appendfsync is {_policy(replies[2])} by now"
    return "it is not on the primary's disk" if local < 1 else _too_few(replicas, asked, "have it on disk")


def _too_few(count: int, asked: Durability, what: str) -> str:
    return "" if count >= asked.replicas else f"{count} of {asked.replicas} replicas {what}"


def questions(asked: Durability) -> list[Command]:
    """What to ask a server on a new connection, before anything is sent that it could not confirm."""
    trial: list[Command] = [(b"WAITAOF", b"1", b"0", b"1"), _POLICY] if asked.fsync else [(b"WAIT", b"0", b"1")]
    return [(b"ROLE",), *trial]


def refusal(asked: Durability, replies: Sequence[Any], where: str) -> Exception | None:
    """Why nothing is to be sent to who answers so; an error of redis-py's where that may change by itself."""
    role, *trial = replies
    if isinstance(role, list) and role[0] != b"master":
        return ReadOnlyError("READONLY it is a replica")
    what = f'durability="{asked}": {where}'
    for reply in trial:
        if isinstance(reply, NoPermissionError):
            rights = "+waitaof +config|get" if asked.fsync else "+wait"
            return ConfigurationError(f"{what} does not tell this account. {_KEEP} allow it: {rights}.")
        if isinstance(reply, Exception) and not _says_never(reply):
            return reply
    if asked.fsync:
        told, policy = trial
        if isinstance(told, ResponseError) and "unknown command" in str(told):
            return ConfigurationError(f"{what} has no WAITAOF. {_KEEP} use Valkey, or Redis 7.2 or later.")
        if isinstance(told, ResponseError):
            return ConfigurationError(f"{what} keeps no append-only file. {_KEEP} set appendonly yes there.")
        if _policy(policy) != "always":
            # Valkey 9.1 says so under everysec, too, and has not: its disk is told up to a second later.
            return ConfigurationError(
                f"{what} has appendfsync {_policy(policy)}, under which nobody knows what is on its disk. {_KEEP} set "
                "it to always."
            )
    if isinstance(role, list) and len(role[2]) < asked.replicas:
        return ResponseError(f"NOREPLICAS it has {len(role[2])} of the {asked.replicas} replicas of durability=")
    return None


def _says_never(reply: Exception) -> bool:
    """Whether an error is about the server as it is set up, and not about this moment."""
    return "unknown command" in str(reply) or "appendonly is disabled" in str(reply)


def _policy(reply: Any) -> str:
    value: bytes = reply[1] if isinstance(reply, list) and len(reply) > 1 else b"unknown"
    return value.decode()
