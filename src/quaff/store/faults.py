"""What can go wrong on the wire, and what each fault means: one table for all senders.

Four kinds (F27-F46 of the fault catalogue): *refused* (nothing was applied: try again until the deadline), *no answer*
(it may have been applied: send the very same call again), *broken* (no retry mends it), *half done* (a script stopped
at damaged data: no retry mends it, and what it had written stays).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from redis import exceptions as redis_errors

from quaff.errors import (
    ConfigurationError,
    NotAllowed,
    QuaffError,
    QueueFull,
    ScriptFault,
    ServerUnavailable,
    StoreError,
)

#: Replies that say "not now": the server refused before it began.
_REFUSED = (
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.TryAgainError,
    redis_errors.MasterDownError,
    redis_errors.NoScriptError,  # forgotten again between being told and called
    redis_errors.AskError,  # and MovedError, which is one
)
#: Replies to a login that cannot be right by itself after a while.
LOGIN_REFUSED = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)
#: What a server says to a long command, instead of asking for a password.
_NO_LOGIN = "Protocol error: unauthenticated"
_REFUSED_TEXTS = (
    _NO_LOGIN,
    "BUSY ",
    "MISCONF ",
    "NOREPLICAS ",
    "UNBLOCKED ",
    "max number of clients",
    "ERR max number of clients",
)

#: What a server says to the choice of a database, which only its own restart, or another URL, can change.
_NO_DATABASE = ("DB index is out of range", "SELECT is not allowed in cluster mode")

#: Replies to which redis-py gives the class of a broken connection.
_ANSWERS = (
    redis_errors.ResponseError,
    redis_errors.BusyLoadingError,
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
)

#: What Valkey and Redis say where a script may be called, and not all of its commands.
_NO_RIGHT = ("ACL failure in script", "The user executing the script can't")
#: What they say of an error inside a script; its own refusals have been told before.
_INSIDE = " script: "
_GRANT = "`quaff acl ROLE` prints what its user has to be allowed: a dashboard looks, an operator acts."
_HALF = "What the script had written before stays: `quaff audit` shows what does not fit together."
_LOG_IN = "Mend the user and the password in QUAFF_URL."
_TRUST = (
    "If it is your own, name the authority that signed it: rediss://…?ssl_ca_certs=/path/to/ca.pem; "
    "the host in the URL has to be one of its names."
)
#: What to do about a server that answers and will not; for the others its own words have to do.
_REMEDIES: dict[type[Exception], str] = {
    redis_errors.ReadOnlyError: "It is a replica: set QUAFF_URL to its primary.",
    redis_errors.BusyLoadingError: "Try again when it has loaded its data.",
    **dict.fromkeys(LOGIN_REFUSED, _LOG_IN),
}

#: Seconds that a try must have at least.
_SHORTEST = 0.05

#: Replies of a server that does not serve this any more: whoever goes on asking has to connect, or look around, anew.
STALE = (redis_errors.ReadOnlyError, redis_errors.ClusterDownError)
#: Replies that say who does.
REDIRECTIONS = redis_errors.AskError  # and MovedError, which is one

#: What a broken connection raises, on the way out or back; InvalidResponse is something else that listens there, and
#: ServerUnavailable an embedded server that does not start.
LOST = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.InvalidResponse,
    OSError,
    ServerUnavailable,
)


#: What only says that our own time was out.
_SILENCE = (redis_errors.TimeoutError, TimeoutError)


class NoAnswer(StoreError):
    """The call was sent and nobody knows whether it was applied. The same call may be sent again."""

    code = "QF021"


class Trouble(NamedTuple):
    """What kept a try from being answered; ``sent``: it may have been applied all the same."""

    error: Exception
    sent: bool


@dataclass(slots=True)
class Patience:
    """How long one call goes on trying.

    Args:
        where: the server as an error names it.
        seconds: the whole time, from now.

    Attributes:
        until: monotonic seconds, when that is over.
    """

    where: str
    seconds: float
    in_doubt: bool = False
    _telling: Exception | None = None
    until: float = field(init=False)
    _pause: float = 0.005

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds left, never less than a millisecond."""
        return max(0.001, self.until - time.monotonic())

    def after(self, troubles: Sequence[Trouble], *, harmless: bool) -> float:
        """Seconds to wait before the next try, with decorrelated jitter.

        Args:
            troubles: what the last one failed with.
            harmless: the calls change nothing, so that an unanswered one leaves no doubt.

        Raises:
            ServerUnavailable: time is out and nothing was applied; the text says what to do.
            NoAnswer: something may have been, and time is out, or no retry can tell.
            StoreError, NotAllowed, QueueFull, ConfigurationError: no retry mends this, and nothing was applied; where a
                right lacked in the middle of a script, the text of NotAllowed says so.
            ScriptFault: no retry mends this, and something may have been.
        """
        for error, sent in troubles:
            self.in_doubt = self.in_doubt or (sent and not harmless and not _answered(error))
        for error, _ in troubles:
            if not isinstance(error, LOST):
                self._sort_out(error)
            # The last try is cut short by the deadline: what the server said before it is why all of them failed.
            if self._telling is None or not isinstance(error, _SILENCE):
                self._telling = error
        assert self._telling is not None
        # A try that has no time for its answer would only leave a doubt.
        if time.monotonic() + self._pause + min(_SHORTEST, self.seconds / 10) >= self.until:
            if self.in_doubt:
                why = _short(self._telling)
                raise NoAnswer(f"no answer from {self.where} within {self.seconds:g} s ({why})") from None
            raise ServerUnavailable(self._away(self._telling)) from None
        self._pause = min(0.25, random.uniform(0.005, self._pause * 3))
        return self._pause

    def _sort_out(self, error: Exception) -> None:
        try:
            sort_out(error, self.where)
        except QuaffError as refused:
            if not self.in_doubt:
                raise
            # Of this try it is true. Whoever believes it of the call sends another job beside the one that is there.
            text = f"no answer from {self.where} to one try, and another failed: {refused.args[0]}"
            raise NoAnswer(text) from None

    def refusal(self, error: Exception) -> str:
        """What a login that is refused comes to."""
        return f"the server at {self.where} refuses: {_short(error)}. {_LOG_IN}"

    def _away(self, error: Exception) -> str:
        """What, where, why and what to do. What it means for a job, its sender knows."""
        why = _short(error)
        if str(error).startswith(_NO_LOGIN):
            return self.refusal(error)
        if _answered(error):
            remedy = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), "Try again later.")
            return f"the server at {self.where} answers, but refused for {self.seconds:g} s: {why}. {remedy}"
        if "CERTIFICATE_VERIFY_FAILED" in why:
            return f"the certificate of the server at {self.where} is not to be trusted: {why}. {_TRUST}"
        if self.where.startswith("embedded:"):
            remedy = "Quaff starts this server by itself: look into valkey.log there, or set QUAFF_URL to another one."
        elif self.where.startswith("rediss"):
            remedy = "Does it speak TLS on that port? redis:// is without. Else start it, or set QUAFF_URL."
        else:
            remedy = "Start the server there, or set QUAFF_URL; QUAFF_URL=embedded: needs none."
        return f"no Valkey or Redis answers at {self.where}: {why}. {remedy}"


def _answered(error: Exception) -> bool:
    return isinstance(error, _ANSWERS) or str(error).startswith(_REFUSED_TEXTS)


def sort_out(error: Exception, where: str) -> None:
    """Return if the reply says "not now"; raise what it means otherwise."""
    if isinstance(error, _REFUSED) or str(error).startswith(_REFUSED_TEXTS):
        return
    if isinstance(error, QuaffError):
        raise error
    if isinstance(error, redis_errors.OutOfMemoryError) or str(error).startswith("OOM "):
        raise QueueFull(f"{where} has no memory left for new jobs; running ones go on and free it") from None
    if str(error).startswith("QUAFFFULL "):
        seconds = float(str(error).split()[1])
        raise QueueFull(
            f"the queue at {where} has as many jobs as it may take (set_capacity): try again in {seconds:g} s, "
            "or start more workers",
            seconds,
        ) from None
    if str(error).startswith("QUAFFSCHEMA"):
        raise StoreError(
            f"this queue at {where} was changed by a later release of Quaff: upgrade this program"
        ) from None
    if any(words in str(error) for words in _NO_DATABASE):
        raise ConfigurationError(
            f"{where} has no such database ({error}): mend the number at the end of QUAFF_URL; most servers have 0 to "
            "15, a cluster only 0. Applications are kept apart by QUAFF_NAMESPACE."
        ) from None
    inside = any(words in str(error) for words in _NO_RIGHT)
    if inside or isinstance(error, redis_errors.NoPermissionError):
        half = f" {_HALF}" if inside else ""
        raise NotAllowed(f"{where} refused: {str(error).rstrip('.')}. {_GRANT}{half}") from error
    if _INSIDE in str(error):
        raise ScriptFault(
            f"{where} stopped a script half-way, and what it had written before stays: {error}. "
            "`quaff audit` shows what does not fit together"
        ) from error
    raise StoreError(f"{where} refused: {error}") from error


def _short(error: Exception) -> str:
    if str(error).startswith(_NO_LOGIN):
        return "Authentication required"
    text = str(error.args[0] if isinstance(error, QuaffError) else error).strip().rstrip(".")
    return text or type(error).__name__
