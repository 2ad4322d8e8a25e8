"""Everything Quaff raises, drawn before it is built.

QuaffError
├── ConfigurationError          the application or its settings are wrong
├── EnqueueError                a job was not, or not certainly, stored
│   ├── ServerUnavailable       refused for certain: nothing was stored
│   ├── EnqueueUnknown          time ran out after sending: look at ``.id``, or call again with the same ``key=``
│   ├── DurabilityNotConfirmed  it is stored, and not known to be as sure as asked for
│   ├── QueueFull               the queue takes no new jobs now, or the server's memory is full
│   ├── TooManyQueues           jobs go to as many queues as there may be that no task names
│   ├── IdConflict              the same ``key=`` with other arguments
│   ├── DuplicateJob            another job holds the unique key (``on_conflict="raise"``)
│   ├── MessageTooLarge         the encoded call is over MAX_MESSAGE
│   ├── EncodeError             an argument (also a TypeError)
│   └── UnknownTask             a name nobody registered here
├── LimitReached                ``quaff.limit()`` lets nobody more in now
├── StepError                   a step, sleep, wait or iteration of a task is used wrongly
├── NoCurrentJob                ``current_job`` is asked where no job runs (also a RuntimeError)
├── SignalTimeout               no signal came within ``wait_for(timeout=)`` (also a TimeoutError)
├── StoreError                  the server answered with something no retry can mend
│   ├── NotAllowed              its user may not do that
│   └── ScriptFault             a script stopped half-way, at damaged data
└── JobError                    the answer about one job is not its value
    ├── JobNotFound             never existed, or record and tombstone are gone
    ├── JobFailed               it ran and failed; the reason and the traceback are data
    ├── JobCancelled            somebody, or the task itself, called it off
    ├── JobExpired              it had not begun by its ``expires=``
    ├── JobEnded                it takes no signals any more
    ├── TooManySignals          it has not taken those that it was sent before
    ├── ResultTimeout           not finished within ``timeout=``
    ├── StreamGap               the next values of a stream are kept no longer
    │   └── StreamRestarted     because the job runs again
    ├── ResultCorrupt           it ended; what is kept of its value is not what a worker wrote
    └── ResultExpired           it ended; the value is gone
        └── ResultDropped       because it is not kept (``result_ttl=0``), or somebody took it (``take()``)

A message says what, where, why and what to do next. ``code`` names its page in the docs (``docs/errors.md``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: The exit code of a program that has failed by our mistake, and what it says then, below the traceback.
BUG, BUG_TEXT = 70, "this is a bug in Quaff: please report it with the lines above."


class QuaffError(Exception):
    """The root of every error of this package."""

    code = "QF000"

    def __str__(self) -> str:
        return f"{super().__str__()} [{self.code}]"


class ConfigurationError(QuaffError):
    """The application, an option or a setting is wrong; nothing was sent."""

    code = "QF001"


class EnqueueError(QuaffError):
    """A job was not stored, or nobody can say whether it was.

    Attributes:
        jobs: for a bulk call, the handles of what had been stored before the error.
    """

    code = "QF010"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.jobs: list[object] = []


class ServerUnavailable(EnqueueError):
    """No server answered within DEADLINE and nothing was stored: safe to try again anywhere."""

    code = "QF011"


class EnqueueUnknown(EnqueueError):
    """The call was sent and no answer came within DEADLINE, or a script stopped at damaged data: it may be stored.

    Attributes:
        id: its id; ``quaff.job(id).state``, or ``quaff.flow(id).state``, tells later. A new call with the same ``key=``
            cannot double a job.
    """

    code = "QF012"

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class DurabilityNotConfirmed(EnqueueError):
    """The job is stored on the primary, and what ``durability=`` asks for was not confirmed within DEADLINE.

    Attributes:
        id: of the job or flow; of a bulk call that of the first job in doubt. It runs as any other. With ``key=`` the
            same call again waits once more, and stores nothing twice.
    """

    code = "QF022"

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class QueueFull(EnqueueError):
    """The queue has as many jobs as it may, or the server's memory is full; jobs that end make room.

    Attributes:
        retry_after: seconds to wait before the next try.
    """

    code = "QF013"

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyQueues(EnqueueError):
    """Jobs go to as many queues as there may be that no task names; nothing was sent."""

    code = "QF024"


class IdConflict(EnqueueError):
    """The same ``key=`` was used for this task with other arguments inside KEY_WINDOW."""

    code = "QF014"


class MessageTooLarge(EnqueueError):
    """The encoded call is larger than MAX_MESSAGE bytes."""

    code = "QF015"


class EncodeError(EnqueueError, TypeError):
    """An argument or a result is not of a kind that comes back as what it was."""

    code = "QF016"


class UnknownTask(EnqueueError):
    """No task of that name is registered in this application."""

    code = "QF017"


class DuplicateJob(EnqueueError):
    """A job that is ``Unique(on_conflict="raise")`` is there already; nothing was sent.

    Attributes:
        id: the one that is there.
    """

    code = "QF018"

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class LimitReached(QuaffError):
    """There is no room in a limit now (``with quaff.limit(...)``).

    Attributes:
        retry_after: seconds until there may be.
    """

    code = "QF019"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StepError(QuaffError):
    """A name that is used twice in one attempt, too many steps, or a cursor that does not fit its source."""

    code = "QF050"


class NoCurrentJob(QuaffError, RuntimeError):
    """``current_job`` was asked for something outside of a job, such as in a plain call of a task."""

    code = "QF054"


class SignalTimeout(QuaffError, TimeoutError):
    """The signal did not come within ``timeout=`` of ``wait_for``; each later attempt is told the same."""

    code = "QF051"


class StoreError(QuaffError):
    """The server refused for a reason that trying again does not mend (rights, a damaged key, an old version)."""

    code = "QF020"


class ScriptFault(StoreError):
    """A script was stopped half-way, by data of the wrong kind: what it had written before stays."""

    code = "QF025"


class NotAllowed(StoreError):
    """The user with whose name the server was asked has no right to that: the text has which one is missing."""

    code = "QF023"


class JobError(QuaffError):
    """The answer about one job is not its value.

    Attributes:
        id: the job's id.
    """

    code = "QF030"

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class JobNotFound(JobError, LookupError):
    """The job never existed, or both its record and its tombstone are gone."""

    code = "QF031"


class JobFailed(JobError):
    """The job ended as ``failed``. Exceptions are data: they are never rebuilt from the wire.

    Attributes:
        reason: ``error | timeout | poison | corrupt | undeliverable``.
        type: the exception's class name, for poison ``signal`` or ``exit``.
        message: the exception's text.
        traceback: the traceback as text, user frames last; empty where there is none.
    """

    code = "QF032"

    def __init__(self, id: str, reason: str, type: str, message: str, traceback: str = "") -> None:
        super().__init__(
            f"job {id} failed ({reason}): {type}: {message}" if type else f"job {id} failed ({reason}): {message}", id
        )
        self.reason = reason
        self.type = type
        self.message = message
        self.traceback = traceback


class JobEnded(JobError):
    """The job has ended: nobody would take the signal."""

    code = "QF052"


class TooManySignals(JobError):
    """The job was sent more, or larger, signals than are kept for one that has not taken them."""

    code = "QF053"


class ResultTimeout(JobError, TimeoutError):
    """The job had not ended within ``timeout=`` seconds; it goes on."""

    code = "QF033"


class ResultExpired(JobError):
    """The job ended and its result has been dropped (RESULT_TTL, or ``result_ttl=`` of the task)."""

    code = "QF034"


class ResultCorrupt(JobError):
    """The job ended, and its value cannot be read: it was changed, is not signed, or is sealed with an unknown key."""

    code = "QF040"


class ResultDropped(ResultExpired):
    """The job succeeded, and its result is not kept (``result_ttl=0``), or somebody has taken it (``job.take()``)."""

    code = "QF037"


class JobCancelled(JobError):
    """The job ended as ``cancelled``.

    Attributes:
        reason: what was given to ``cancel()`` or ``raise Cancel(...)``; empty where it is not kept any more.
    """

    code = "QF035"

    def __init__(self, id: str, reason: str = "") -> None:
        super().__init__(f"job {id} was cancelled" + (f": {reason}" if reason else ""), id)
        self.reason = reason


class JobExpired(JobError):
    """The job ended as ``expired``: no worker came to it before its ``expires=``, so it did not run."""

    code = "QF036"


class StreamGap(JobError):
    """Values of a stream that come next are gone: whoever reads them came too late, or was too slow.

    Attributes:
        position: of the first value that is still there: ``job.stream(start=error.position)`` goes on with it.
    """

    code = "QF038"

    def __init__(self, message: str, id: str, position: int) -> None:
        super().__init__(message, id)
        self.position = position


class StreamRestarted(StreamGap):
    """The job runs again (a retry, a crash), so what it gave before is worth nothing; its values begin anew.

    Attributes:
        position: of the first value of the new attempt: ``job.stream(start=error.position)`` goes on with it.
    """

    code = "QF039"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known word, or nothing."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
