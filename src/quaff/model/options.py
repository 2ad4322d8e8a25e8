"""Options of a task and of one call: resolved once, unknown names refused with the nearest known one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model.ids import NAME


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the jobs of a task are stored and run.

    Attributes:
        queue: the queue its jobs wait in.
        result_ttl: seconds its result is kept after the end; 0 keeps none; None takes RESULT_TTL.
        keep_none: False keeps no result of a function that returned None.
        key: for one call: the idempotency key; the same key and arguments is the same job.
    """

    queue: str = "default"
    result_ttl: float | None = None
    keep_none: bool = True
    key: str | None = None


_FIELDS = TaskOptions.__struct_fields__


def resolve(base: TaskOptions, given: dict[str, Any]) -> TaskOptions:
    """``base`` with the given options laid over it.

    Raises:
        ConfigurationError: an unknown option, or a value it cannot take.
    """
    for name in given:
        if name not in _FIELDS:
            raise ConfigurationError(
                f"unknown task option {name!r}.{did_you_mean(name, _FIELDS)} Known: {', '.join(_FIELDS)}."
            )
    values = {name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in given.items()}
    options = msgspec.structs.replace(base, **values)
    check_name("queue", options.queue)
    ttl, key = options.result_ttl, options.key
    if ttl is not None and (not isinstance(ttl, (int, float)) or ttl < 0):
        raise ConfigurationError(f"result_ttl={ttl!r}: give seconds >= 0 or a timedelta.")
    if key is not None and (not isinstance(key, str) or not key or len(key) > 1024):
        raise ConfigurationError(f"key={key!r}: give a text of 1 to 1024 characters.")
    return options


def check_name(what: str, name: object) -> str:
    """A queue's or task's name. Raises ConfigurationError for characters that keys, URLs and ACLs cannot hold."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"{what} name {name!r}: use 1 to 128 of the characters A-Z a-z 0-9 . _ -")
    return name
