"""The filter language of commands and screens: ``state:failed task:mail.* error:Timeout since:2h``.

Words are separated by spaces, and all of them must hold. ``name:value`` with ``*`` and ``?`` for any text, several
values with commas between them, of which one must hold; ``"two words"`` in quotes. A word without a name is looked
for in the task, the id and the error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import msgspec

from quaff.errors import ConfigurationError, did_you_mean
from quaff.model import ids
from quaff.model.states import JobState
from quaff.model.times import duration

#: The names, and what of, for help and completion.
FIELDS: dict[str, str] = {
    "state": f"one of {', '.join(JobState)}",
    "queue": "the queue's name",
    "task": "the task's name",
    "id": "a job's id",
    "error": "the error's class, reason or a part of its text",
    "since": "not before: 30m, 2h, 7d ago, or 2026-01-31T12:00",
    "until": "not after, as since",
}
_WORD = re.compile(r'((?:"[^"]*"|[^\s"])+)')
_LONGEST = 2000


class Filter(msgspec.Struct, frozen=True):
    """What jobs are meant; an empty one means all.

    Attributes:
        states, queues, tasks, ids, errors: one of each must hold, where there are any.
        since, until: aware; of when a job has ended, is due, has begun or was sent: what its list is sorted by.
        words: texts that are all found in the task, the id or the error.
    """

    states: tuple[JobState, ...] = ()
    queues: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether a job has to be looked at, beyond where it is."""
        return bool(self.tasks or self.errors or self.since or self.until or self.words)

    def has_queue(self, name: str) -> bool:
        """Whether this queue is meant."""
        return not self.queues or any(fnmatchcase(name, pattern) for pattern in self.queues)

    def has(self, task: str | None, id: str, error: str, text: str, at: datetime | None) -> bool:
        """Whether a job is meant that is in one of the states and queues.

        Args:
            task: None where nobody knows it.
            error: the error's class and reason, with a space between them; text: its own.
            at: what its list is sorted by.
        """
        if self.tasks and not any(fnmatchcase(task or "", pattern) for pattern in self.tasks):
            return False
        if self.errors and not any(_is_error(each.lower(), error.lower(), text.lower()) for each in self.errors):
            return False
        if (self.since and (at is None or at < self.since)) or (self.until and (at is None or at > self.until)):
            return False
        whole = f"{task or ''} {id} {error} {text}".lower()
        return all(word.lower() in whole for word in self.words)


def _is_error(pattern: str, error: str, text: str) -> bool:
    return any(fnmatchcase(word, pattern) for word in error.split()) or fnmatchcase(text, f"*{pattern}*")


def parse(text: str, now: datetime | None = None) -> Filter:
    """A filter from its text.

    Args:
        now: aware; what ``since:2h`` is before.

    Raises:
        ConfigurationError: no such name or state, or no time; the text says which.
    """
    if len(text) > _LONGEST:
        raise ConfigurationError(f"a filter has {_LONGEST:,} characters at most, and this one {len(text):,}.")
    if text.count('"') % 2:
        raise ConfigurationError(f'filter {text!r}: a quote is not closed; write error:"two words".')
    found: dict[str, list[str]] = {}
    for match in _WORD.finditer(text):
        name, colon, value = match[1].partition(":")
        if not colon or '"' in name:
            found.setdefault("words", []).append(match[1].replace('"', ""))
            continue
        if name not in FIELDS:
            near = did_you_mean(name, FIELDS)
            raise ConfigurationError(f"filter {match[1]!r}: there is no {name}:.{near} There are {', '.join(FIELDS)}.")
        values = [each for each in value.replace('"', "").split(",") if each]
        if not values:
            raise ConfigurationError(f"filter {match[1]!r}: {name}: needs a value: {FIELDS[name]}.")
        found.setdefault(name, []).extend(values)
    return Filter(
        states=tuple(map(_state, found.get("state", ()))),
        queues=tuple(found.get("queue", ())),
        tasks=tuple(found.get("task", ())),
        ids=tuple(map(_id, found.get("id", ()))),
        errors=tuple(found.get("error", ())),
        since=_time("since", found, now or datetime.now(UTC)),
        until=_time("until", found, now or datetime.now(UTC)),
        words=tuple(found.get("words", ())),
    )


def _state(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        near = " Those shown as parked are queued." if name == "parked" else did_you_mean(name, map(str, JobState))
        raise ConfigurationError(f"there is no state {name!r}.{near} There are {', '.join(JobState)}.") from None


def _id(text: str) -> str:
    if ids.parse(text) is None:
        raise ConfigurationError(f"{text!r} is no job's id: that is <queue>-<partition>-<32 hex digits>.")
    return text


def _time(name: str, found: Mapping[str, list[str]], now: datetime) -> datetime | None:
    given = found.get(name)
    if not given:
        return None
    text = given[-1]
    readers: tuple[Callable[[], datetime], ...] = (
        lambda: now - timedelta(seconds=duration(name, text)),
        lambda: datetime.fromisoformat(text),
    )
    for read in readers:
        try:
            at = read()
        except (ValueError, ConfigurationError):
            continue
        return at.astimezone(UTC)
    raise ConfigurationError(f"{name}:{text} is no time: write {name}:2h, {name}:7d or {name}:2026-01-31T12:00.")
