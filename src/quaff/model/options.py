"""Options of a task and of one call: resolved once, unknown names refused with the nearest known one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model.ids import NAME
from quaff.model.retry import Policy, policy


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the jobs of a task are stored and run.

    Attributes:
        queue: the queue its jobs wait in.
        result_ttl: seconds its result is kept after the end; 0 keeps none; None takes RESULT_TTL.
        keep_none: False keeps no result of a function that returned None.
        retry: when a failed attempt is followed by another one.
        key: for one call: the idempotency key; the same key and arguments is the same job.
    """

    queue: str = "default"
    result_ttl: float | None = None
    keep_none: bool = True
    retry: Policy = Policy()
    key: str | None = None


#: What a task can set and what one call can: the others would have no effect there.
_OF_RETRIES = ("retries", "backoff", "retry_on", "give_up_on")
_OF_TASKS, _OF_CALLS = ("queue", "result_ttl", "keep_none", *_OF_RETRIES), ("queue", "key")

#: Seconds. A tombstone has room for 13 digits of milliseconds.
LONGEST = 100 * 365 * 24 * 3600


def resolve(base: TaskOptions, given: dict[str, Any], *, call: bool = False) -> TaskOptions:
    """``base`` with the given options laid over it, those of a task or of one ``call``.

    Raises:
        ConfigurationError: an unknown option, or a value it cannot take.
    """
    known, others = (_OF_CALLS, _OF_TASKS) if call else (_OF_TASKS, _OF_CALLS)
    for name in given:
        if name not in known:
            owner = "the task: @quaff.task" if call else "one call: task.options"
            hint = f" It belongs to {owner}({name}=...)." if name in others else did_you_mean(name, known)
            raise ConfigurationError(f"unknown option {name!r}.{hint} Known here: {', '.join(known)}.")
    retry = {name: given[name] for name in _OF_RETRIES if name in given}
    values = {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in given.items()
        if name not in retry
    }
    if retry:
        values["retry"] = policy(retry)
    options = msgspec.structs.replace(base, **values)
    check_name("queue", options.queue)
    ttl, key = options.result_ttl, options.key
    if ttl is not None and (type(ttl) not in (int, float) or not 0 <= ttl <= LONGEST):
        raise ConfigurationError(f"result_ttl={ttl!r}: give seconds from 0 to {LONGEST}, or a timedelta.")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 1024 and _is_utf8(key)):
        raise ConfigurationError(f"key={key!r}: give a text of 1 to 1024 characters that UTF-8 can hold.")
    return options


def check_name(what: str, name: object) -> str:
    """A queue's or task's name. Raises ConfigurationError for characters that keys, URLs and ACLs cannot hold."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"{what} name {name!r}: use 1 to 128 of the characters A-Z a-z 0-9 . _ -")
    return name


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
